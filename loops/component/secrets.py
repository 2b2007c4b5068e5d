"""The secrets of one component in its process: sealed until the authority's key has come. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from tlsrt.config.secrets import SecretId, open_secret
from tlsrt.errors import ConfigError, MisuseError

REQUIRED: Final = object()  # no default


class ComponentSecrets:
    """What a component asked for by name, and what is set of it."""

    def __init__(
        self, component: str, names: Sequence[str], sealings: Mapping[str, Mapping[int, bytes]],
        optional: Collection[str] = (),
    ) -> None:  # fmt: skip
        self._component = component
        self._names = tuple(names)
        self._optional = frozenset(optional)  # those of the names that it starts without
        self._sealings = sealings
        self._values: dict[str, bytes] = {}
        self._problems: dict[str, str] = {}
        self._is_test = False

    def __repr__(self) -> str:
        return f"ComponentSecrets({self._component!r}, {self._names!r})"

    @classmethod
    def of_values(cls, component: str, values: Mapping[str, bytes]) -> ComponentSecrets:
        """Return secrets that are open, as a test gives them."""
        made = cls(component, [*values], {})
        made._is_test = True  # what is not given is not set, and may be optional
        made._values.update(values)
        return made

    def take_key(self, install_id: bytes, version: int, key: bytes) -> None:
        """Open what this key has sealed; the key is not kept. What cannot be opened is told by `problem`."""
        for name in self._names:
            sealed = self._sealings.get(name, {}).get(version)
            if name in self._values or sealed is None:
                continue
            try:
                self._values[name] = open_secret(key, SecretId(install_id, self._component, name, version), sealed)
            except ConfigError as error:
                self._problems[name] = str(error)

    def problem(self) -> str:
        """Return why the component cannot start, "" if it has all that it asks for."""
        for name in self._names:
            if name not in self._values and (name not in self._optional or name in self._problems):
                return self._problems.get(name) or (
                    f"there is no secret {name}: set it with `tlsrt-supervisor secret set {self._component} {name}`; "
                    f"`tlsrt-supervisor secret make {self._component} {name}` draws one that is not shown"
                )
        return ""

    def is_of_another_key(self) -> bool:
        """Tell whether something is set that the key which came has not sealed: master_key was rotated meanwhile."""
        return any(
            name not in self._values and name not in self._problems and self._sealings.get(name) for name in self._names
        )

    def value(self, name: str, default: object = REQUIRED) -> object:
        """Return a secret, or the default for an optional one that is not set.

        Raises MisuseError for one that the component did not ask for, and for one that is not set, without a default.
        """
        if name not in self._values and (name in self._optional or self._is_test):
            if default is not REQUIRED:
                return default
            if name in self._optional:
                raise MisuseError(
                    f"{self._component}: the secret {name} is optional and not set: give a default, "
                    f"self.secret({name!r}, None)"
                )
        if name not in self._values:
            asked = ", ".join(self._names) or "none"
            raise MisuseError(
                f"{self._component} asks for no secret {name!r} (it asks for {asked}): put it under needs"
            )
        return self._values[name]
