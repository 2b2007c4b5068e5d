"""Which telephones there are, and who may ring whom: the options of external/sip."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from tlsrt import ConfigError, Length, Range

TELEPHONES = 64
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_ADDRESS = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}(?:/[a-z0-9][a-z0-9_.-]{0,63})?")
_PLACE = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:]{2,45}\]):([0-9]{1,5})")
Targets = Annotated[tuple[str, ...], Length(64)]


@dataclass(frozen=True, kw_only=True)
class TelephoneOptions:
    """A telephone, or a telephone system, that is known by a password or by its certificate."""

    rings: Annotated[Targets, "Whom it may ring: components as third/door, and numbers of external/calls."] = ()
    rung_by: Annotated[Targets, "Who may ring it: external/calls, third/door, client/anna."] = ()
    certificate: Annotated[str, Length(95), "SHA-256 of its certificate, in hex: then it takes no password."] = ""
    md5: Annotated[bool, "It proves its password by MD5, as it cannot do SHA-256 (RFC 8760)."] = False
    place: Annotated[str, Length(280), "HOST:PORT where it takes calls, for one that does not register."] = ""
    user: Annotated[str, Length(64), "What is rung at `place`; its name, if empty."] = ""
    calls: Annotated[int, Range(1, 256), "At once."] = 4

    def __post_init__(self) -> None:
        if self.certificate and not re.fullmatch(r"[0-9a-f]{64}", self.fingerprint):
            raise ValueError("certificate: write the SHA-256 of the certificate, 64 hexadecimal digits")
        if self.place and not _PLACE.fullmatch(self.place):
            raise ValueError(f"place: {self.place[:80]!r} is no HOST:PORT")
        for name in (*self.rings, *self.rung_by):
            if not _ADDRESS.fullmatch(name):
                raise ValueError(f"{name[:80]!r} is no address as third/door, and no number")
        if person := next((name for name in self.rings if name.startswith("client/")), ""):
            raise ValueError(f"rings: {person!r}: write the number of external/calls that rings this person")

    @property
    def fingerprint(self) -> str:
        """The digest of its certificate, without colons."""
        return self.certificate.replace(":", "").lower()


@dataclass(frozen=True)
class SipOptions:
    """Options of the bridge."""

    telephones: Annotated[dict[str, TelephoneOptions], Length(TELEPHONES), "By name, as they log in."] = field(
        default_factory=dict[str, TelephoneOptions]
    )
    numbers: Annotated[dict[str, str], Length(256), "What is dialled, and whom it rings: {'12': third/door}."] = field(
        default_factory=dict[str, str]
    )
    realm: Annotated[str, Length(64, 1), "What telephones show with the question for a password."] = "tlsrt"
    lowest_tls: Annotated[Literal["1.2", "1.3"], "The lowest version of TLS."] = "1.3"
    ring_s: Annotated[float, Range(1, 600), "How long it rings, seconds."] = 60.0
    silent_s: Annotated[float, Range(1, 3600), "A call with no sound for so long is ended, seconds."] = 30.0
    connections: Annotated[int, Range(1, 512), "At once; a quarter of one address."] = 128
    calls: Annotated[int, Range(1, 256), "At once, of all telephones."] = 32

    def __post_init__(self) -> None:
        for name in self.telephones:
            if not _NAME.fullmatch(name):
                raise ValueError(f"telephones: {name[:80]!r} is no name: write a-z, 0-9, _ and -")
        for number, target in self.numbers.items():
            if not re.fullmatch(r"[0-9A-Za-z*#+_.-]{1,64}", number) or not _ADDRESS.fullmatch(target):
                raise ValueError(f"numbers: {number[:64]!r}: {target[:64]!r} is no number with an address")
        known = [one.fingerprint for one in self.telephones.values() if one.certificate]
        if len(known) != len(set(known)):
            raise ValueError("telephones: two have the same certificate")

    def target_of(self, dialled: str) -> str:
        """Return whom a number, or an address as third.door, rings."""
        return self.numbers.get(dialled) or (dialled if "/" in dialled else dialled.replace(".", "/", 1))


def passwords_of(secret: bytes | None, telephones: dict[str, TelephoneOptions]) -> dict[str, str]:
    """Return the passwords by telephone, from lines `NAME PASSWORD`. Raises ConfigError."""
    found: dict[str, str] = {}
    for number, line in enumerate((secret or b"").decode("utf-8", "replace").splitlines(), 1):
        name, _, password = line.strip().partition(" ")
        if not name or name.startswith("#"):
            continue
        if name not in telephones:
            raise ConfigError(f"the secret passwords names {name[:32]!r} in line {number}, the options do not")
        if len(password.strip()) < 12:
            raise ConfigError(f"the secret passwords: the one of {name} has fewer than 12 characters")
        if telephones[name].certificate:
            raise ConfigError(f"the secret passwords: {name} is known by its certificate: take its line out")
        found[name] = password.strip()
    for name, telephone in telephones.items():
        if name not in found and not telephone.certificate and not telephone.place:
            raise ConfigError(f"{name} can prove nothing: give it a line in the secret passwords, or a certificate")
    return found
