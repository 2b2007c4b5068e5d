"""Configuration of access: the clients outside, and the policy, which says who may call what. Pure.

A pattern is `owner/name` where `*` stands for a whole owner or a whole name: `client/*`, `third/*`, `*/*`. What several
lines allow adds up. A subject with any right to a target may also call its `describe`, to learn how.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tlsrt.config.setting import IDENTIFIER, NAME, boolean, listing, text

_SIDE = rf"(?:\*|{NAME})/(?:\*|{NAME})"
POLICY_LINE = rf"{_SIDE} *-> *{_SIDE}"  # as YAML has it
ANY = "*"
DESCRIBE = "describe"
METHOD = text("A method.", pattern=IDENTIFIER, says="a method name", most=64)

Rights = Mapping[str, tuple[str, ...]]  # target: methods


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """`source -> target: [methods]`. `*` stands for a whole name, never for a part of one."""

    source: str  # "third/console", "client/admin", "third/*", "client/*"
    target: str  # "secondary/store", "secondary/*", "*/*"
    methods: tuple[str, ...]  # ("*",) means all


def matches(pattern: str, address: str) -> bool:
    """Tell whether `pattern` names `address`; both are `owner/name`."""
    pattern_owner, _, pattern_name = pattern.partition("/")
    owner, _, name = address.partition("/")
    return pattern_owner in (ANY, owner) and pattern_name in (ANY, name)


def rights_of(subject: str, policy: Iterable[PolicyRule], components: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return target -> methods for one subject; `("*",)` is all of them.

    No subject gets a key to itself by a wildcard: only a line that names the same address on both sides gives that.
    `describe` is allowed on every target that the subject holds any right to.
    """
    found: dict[str, set[str]] = {}
    for rule in policy:
        if not rule.methods or not matches(rule.source, subject):
            continue
        for target in components:
            itself = target == subject and not rule.source == rule.target == subject
            if not itself and matches(rule.target, target):
                found.setdefault(target, {DESCRIBE}).update(rule.methods)
    return {target: (ANY,) if ANY in methods else tuple(sorted(methods)) for target, methods in sorted(found.items())}


def _fingerprint(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


MAY = ("lock", "unlock", "operate")  # what a client may do with the whole host


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """A client outside that may open sessions."""

    name: str
    fingerprint: bytes = field(
        metadata=text(
            "SHA-256 of its certificate (DER), in hex.",
            pattern=r"[0-9a-fA-F]{2}(?::?[0-9a-fA-F]{2}){31}",
            says="64 hex digits in quotes (SHA-256 of the certificate)",
            parse=_fingerprint,
            example=f'"{"0f" * 32}"',
        )
    )
    http: bool = field(
        default=False,
        metadata=boolean(
            "It may use HTTP. Primary then holds its session's keys: a captured Primary can act as this client."
        ),
    )
    may: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "What it may do with the whole host: lock and unlock it, by a signed challenge, and operate it: then one "
            "word that only an attack uses, such as the name of a decoy, is a warning. Not together with http.",
            text("`tlsrt lock`, `tlsrt unlock`, or to operate the host.", choices=MAY),
            len(MAY),
            example="[lock, unlock, operate]",
        ),
    )
