"""Client registry: names, rights and certificates of enrolled clients. Pure; kept in the state.

A client that the configuration lists is none of these, and wins where both have a name. A revoked client stays listed,
and none of its certificates is known any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tlsrt.config.access import MAY, PolicyRule
from tlsrt.config.setting import NAME
from tlsrt.errors import ConfigError

CLIENT = "client"
CLIENTS_MAX = 4096
RULES_MAX = 64
METHODS_MAX = 256
CERTIFICATES_MAX = 4  # the one in use, and those that were issued and not used yet
PENDING_MAX = CERTIFICATES_MAX - 1  # several processes of one client may renew at once, and one of them is the faster
TTL_LEAST_MS = 60_000
TTL_MOST_MS = 397 * 86_400_000  # browsers take 398 days and no second more; a certificate begins a little before now
FINGERPRINT_BYTES = 32
_NAME = re.compile(NAME)
_TARGET = re.compile(rf"(?:\*|{NAME})/(?:\*|{NAME})")
_METHOD = re.compile(r"\*|[A-Za-z_][A-Za-z0-9_]{0,63}")

Rule = tuple[str, tuple[str, ...]]  # target, methods


@dataclass(frozen=True, slots=True)
class Certified:
    """What is kept of a certificate: SHA-256 of its DER, serial number in hex, end (wall, ms)."""

    fingerprint: bytes
    serial: str
    ends: int


@dataclass(frozen=True, slots=True)
class Enrolled:
    """One client. The first certificate is the one in use. Times are wall time in ms; `revoked` is 0 if it is not."""

    name: str
    rules: tuple[Rule, ...]
    http: bool
    ttl_ms: int
    added: int
    certificates: tuple[Certified, ...] = ()
    revoked: int = 0
    may: tuple[str, ...] = ()  # of MAY; never together with http

    @property
    def subject(self) -> str:
        return f"{CLIENT}/{self.name}"

    @property
    def policy(self) -> tuple[PolicyRule, ...]:
        return tuple(PolicyRule(self.subject, target, methods) for target, methods in self.rules)


class Registry:
    """All of them, over the map that the state keeps. `listed` are the configuration's names."""

    def __init__(self, clients: dict[str, Enrolled], listed: Iterable[str]) -> None:
        self._clients = clients
        self._listed = frozenset(listed)
        self._by_fingerprint: dict[bytes, str] = {}
        self.changes = 0  # how often a client was put or removed
        for client in clients.values():
            self._index(client)

    def get(self, name: str) -> Enrolled | None:
        """Return a client, revoked or not."""
        return self._clients.get(name)

    def is_listed(self, name: str) -> bool:
        """Tell whether the configuration has a client of that name."""
        return name in self._listed

    def living(self, subject: str) -> Enrolled | None:
        """Return the enrolled client of a subject, unless it is revoked or the configuration lists it."""
        name = subject.removeprefix(f"{CLIENT}/")
        client = self._clients.get(name) if subject != name and name not in self._listed else None
        return client if client is not None and not client.revoked else None

    def name_of(self, fingerprint: bytes) -> str | None:
        """Return whose certificate that is."""
        name = self._by_fingerprint.get(fingerprint)
        return name if name is not None and self.living(f"{CLIENT}/{name}") is not None else None

    def may_use_http(self, subject: str) -> bool:
        """Tell whether a client was enrolled for HTTP."""
        client = self.living(subject)
        return client is not None and client.http

    def may(self, subject: str, what: str) -> bool:
        """Tell whether a client may lock or unlock the host."""
        client = self.living(subject)
        return client is not None and what in client.may and not client.http

    def policy_of(self, subject: str) -> tuple[PolicyRule, ...]:
        """Return the lines that a client was enrolled with."""
        client = self.living(subject)
        return client.policy if client is not None else ()

    def put(self, client: Enrolled) -> None:
        """Add a client, or replace the one of that name."""
        self.changes += 1
        before = self._clients.get(client.name)
        if before is not None:
            self._forget(before)
        self._clients[client.name] = client
        self._index(client)

    def remove(self, name: str) -> None:
        """Forget a client."""
        self.changes += 1
        client = self._clients.pop(name, None)
        if client is not None:
            self._forget(client)

    def shadowed(self) -> list[str]:
        """Return the names that the configuration has taken since."""
        return [client.name for client in self if client.name in self._listed and not client.revoked]

    def __iter__(self) -> Iterator[Enrolled]:
        return iter([self._clients[name] for name in sorted(self._clients)])

    def __len__(self) -> int:
        return len(self._clients)

    def _index(self, client: Enrolled) -> None:
        if not client.revoked:
            self._by_fingerprint.update((each.fingerprint, client.name) for each in client.certificates)

    def _forget(self, client: Enrolled) -> None:
        for each in client.certificates:
            self._by_fingerprint.pop(each.fingerprint, None)


def with_certificate(client: Enrolled, certified: Certified, pending: int = 1) -> Enrolled:
    """Return a client with a new certificate beside the one in use. Of those never used only so many stay."""
    return replace(client, certificates=(*client.certificates[:pending], certified))


def in_use(client: Enrolled, fingerprint: bytes) -> Enrolled:
    """Return a client that has used this certificate: a newer one ends those before it."""
    place = next((n for n, each in enumerate(client.certificates) if each.fingerprint == fingerprint), 0)
    return replace(client, certificates=client.certificates[place:]) if place else client


def checked_rules(rules: object, targets: Iterable[str]) -> tuple[Rule, ...]:
    """Return rules as they are kept. Raise ConfigError for what is none, or names no component of this host."""
    known = list(targets)
    if not isinstance(rules, list | tuple) or not 0 < len(rules) <= RULES_MAX:
        raise ConfigError(f"give a client 1 to {RULES_MAX} rules: --allow 'secondary/store: [get, put]'")
    found: dict[str, set[str]] = {}
    for rule in rules:
        target, methods = _rule(rule)
        owner, _, name = target.partition("/")
        if not any(owner in ("*", a.partition("/")[0]) and name in ("*", a.partition("/")[2]) for a in known):
            raise ConfigError(f"there is no component {target} on this host: there is {', '.join(sorted(known)[:20])}")
        found.setdefault(target, set()).update(methods)
    return tuple((target, ("*",) if "*" in methods else tuple(sorted(methods))) for target, methods in found.items())


def _rule(rule: object) -> Rule:
    target, methods = rule if isinstance(rule, list | tuple) and len(rule) == 2 else ("", ())
    is_target = isinstance(target, str) and _TARGET.fullmatch(target) is not None
    listed = methods if isinstance(methods, list | tuple) and len(methods) <= METHODS_MAX else ()
    if is_target and listed and all(isinstance(method, str) and _METHOD.fullmatch(method) for method in listed):
        return target, tuple(listed)
    raise ConfigError("a rule is LOOP/COMPONENT and methods: --allow 'secondary/store: [get, put]'")


def is_client_name(name: object) -> bool:
    """Tell whether this can be a client's name."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


# In the state


def encode_registry(clients: Mapping[str, Enrolled]) -> list[list[object]]:
    """Return the clients as msgpack takes them."""
    return [
        [
            each.name, [[target, list(methods)] for target, methods in each.rules], each.http, each.ttl_ms, each.added,
            [[one.fingerprint, one.serial, one.ends] for one in each.certificates], each.revoked,
            list(each.may),
        ]
        for each in clients.values()
    ]  # fmt: skip


def decode_registry(items: Any) -> dict[str, Enrolled]:
    """Return the clients in what was unpacked. Raise ConfigError for anything that `encode_registry` does not make."""
    found: dict[str, Enrolled] = {}
    for item in items:
        if isinstance(item, list) and len(item) == 7:  # as it was before clients could be let lock and unlock
            item = [*item, []]
        if not isinstance(item, list) or list(map(type, item)) != [str, list, bool, int, int, list, int, list]:
            raise ConfigError("not a client")
        name, rules, http, ttl_ms, added, certificates, revoked, may = item
        if len(may) > len(MAY) or not all(word in MAY for word in may) or len(set(may)) < len(may) or (may and http):
            raise ConfigError("not a client")
        if not is_client_name(name) or name in found or len(certificates) > CERTIFICATES_MAX:
            raise ConfigError("not a client")
        kept = tuple(_certified(one) for one in certificates)
        found[name] = Enrolled(name, tuple(map(_rule, rules)), http, ttl_ms, added, kept, revoked, tuple(may))
    return found


def _certified(item: object) -> Certified:
    if isinstance(item, list) and list(map(type, item)) == [bytes, str, int] and len(item[0]) == FINGERPRINT_BYTES:
        return Certified(*item)
    raise ConfigError("not a certificate")
