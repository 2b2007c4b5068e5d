"""Configuration of access: the clients outside, and the policy, which says who may call what."""

from __future__ import annotations

from dataclasses import dataclass, field

from tlsrt.config.setting import IDENTIFIER, NAME, boolean, listing, text

_SIDE = rf"(?:\*|{NAME})/(?:\*|{NAME})"
POLICY_LINE = rf"{_SIDE} *-> *{_SIDE}"  # as YAML has it
METHOD = text("A method.", pattern=IDENTIFIER, says="a method name", most=64)


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """`source -> target: [methods]`. `*` stands for a whole name, never for a part of one."""

    source: str  # "third/console", "client/admin", "third/*", "client/*"
    target: str  # "secondary/store", "secondary/*", "*/*"
    methods: tuple[str, ...]  # ("*",) means all


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
