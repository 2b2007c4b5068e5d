"""Namespaces of a service that keeps things by name: who may read and write in each, and how much it may hold. Pure.

Each caller has a namespace of its own, called by its address (`external/login`), in which it may do everything. Any
other one, and that of another caller, is open only to whom the option `namespaces` names. The store and the secrets
service share this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from tlsrt import Denied, Failed, InvalidArgument, Length, Range

Right = Literal["read", "write"]
RIGHTS: tuple[Right, ...] = ("read", "write")
Space = Annotated[str, Length(130, 1)] | None  # a namespace as a parameter; None: that which the service takes then
MostBytes = Annotated[int, Range(0, 1 << 40)] | None
MostKeys = Annotated[int, Range(0, 10_000_000)] | None
Callers = Annotated[tuple[str, ...], Length(64)]
NAMED_MOST = 256  # namespaces that an operator names
_NAME_MOST = 64
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
_ANY = "*"


@dataclass(frozen=True)
class Namespace:
    """What the operator says of one namespace; a caller is an address, `*` stands for a whole side of it."""

    read: Annotated[Callers, "Who may read in it."] = ()
    write: Annotated[Callers, "Who may write in it; it takes `read` to read."] = ()
    max_bytes: Annotated[MostBytes, "Bytes of all values in it."] = None
    max_keys: Annotated[MostKeys, "Names in it."] = None

    def __post_init__(self) -> None:
        for caller in (*self.read, *self.write):
            if not _is_address(caller, wild=True):
                raise ValueError(f"{caller!r} is no caller: write client/NAME or LOOP/NAME, with * for a whole side")


@dataclass(frozen=True)
class Quota:
    """How much one namespace may hold; None: as much as the service."""

    max_bytes: int | None
    max_keys: int | None

    def check(self, namespace: str, held_bytes: int, held_keys: int, more_bytes: int, more_keys: int) -> None:
        """Raise Failed, in one sentence, if so much more is too much. What gets smaller always fits."""
        where = f"namespace {namespace!r}" if namespace else "the shared namespace"
        if more_keys > 0 and self.max_keys is not None and held_keys + more_keys > self.max_keys:
            raise Failed(
                f"{where} holds {held_keys} names and may hold {self.max_keys}: delete some, or raise max_keys"
            )
        if more_bytes > 0 and self.max_bytes is not None and held_bytes + more_bytes > self.max_bytes:
            raise Failed(
                f"{where} holds {held_bytes} bytes and may hold {self.max_bytes}, so {more_bytes} more do not fit: "
                "delete something, or raise max_bytes"
            )


def check_named(named: Mapping[str, Namespace]) -> None:
    """Raise ValueError for a name of the option `namespaces` that none can have."""
    if len(named) > NAMED_MOST:
        raise ValueError(f"namespaces: at most {NAMED_MOST}")
    for name in named:
        if not is_namespace(name):
            raise ValueError(f"namespaces: {name!r} is no name: write a-z, 0-9, _ and -, or the address of a caller")


def is_namespace(name: str) -> bool:
    """Tell whether a namespace may be called so."""
    return _is_word(name) or _is_address(name, wild=False)


class Namespaces:
    """The namespaces of one service. `service` is its address, for sentences."""

    def __init__(self, service: str, named: Mapping[str, Namespace], of_each: Quota) -> None:
        self._service = service
        self._named = dict(named)
        self._of_each = of_each

    def open(self, caller: str, namespace: str | None, right: Right) -> str:
        """Return the namespace that a caller means. Raises Denied if it has no such right there, InvalidArgument."""
        name = caller if namespace is None else namespace
        if name == caller:
            return name
        if not is_namespace(name):
            raise InvalidArgument("namespace: expected a-z, 0-9, _ and -, or the address of a caller")
        if not self.allows(caller, name, right):
            raise Denied(  # the same whether it exists or not
                f"{caller} may not {right} in namespace {name!r}: the operator may name it there under `{right}`, in "
                f"the option namespaces of {self._service}"
            )
        return name

    def allows(self, caller: str, namespace: str, right: Right) -> bool:
        """Tell whether a caller has a right in a namespace."""
        if namespace == caller:
            return True
        known = self._named.get(namespace)
        if known is None:
            return False
        return any(_matches(pattern, caller) for pattern in (known.read if right == "read" else known.write))

    def quota(self, namespace: str) -> Quota:
        """Return how much a namespace may hold."""
        known = self._named.get(namespace)
        if known is None:
            return self._of_each
        return Quota(
            self._of_each.max_bytes if known.max_bytes is None else known.max_bytes,
            self._of_each.max_keys if known.max_keys is None else known.max_keys,
        )


def _matches(pattern: str, caller: str) -> bool:
    sides = pattern.split("/"), caller.split("/")
    return len(sides[0]) == len(sides[1]) and all(one in (_ANY, each) for one, each in zip(*sides, strict=True))


def _is_word(text: str) -> bool:
    return 0 < len(text) <= _NAME_MOST and _LETTERS.issuperset(text)


def _is_address(text: str, *, wild: bool) -> bool:
    sides = text.split("/")
    return len(sides) == 2 and all(_is_word(side) or (wild and side == _ANY) for side in sides)
