"""The server's certificate of an installation with the development CA: what it names, and another one for the same key.

A client believes a host by the names in its certificate, so a device that is reached by another name or address needs
another certificate. The key stays, so that one file is replaced, at once: a host that is started or reloaded meanwhile
finds the old pair or the new one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tlsrt.config.files import owner_of, read_bounded, replace
from tlsrt.errors import ConfigError

if TYPE_CHECKING:  # a setting of the schema is checked here
    from tlsrt.config.schema import Config

MAX_PEM_BYTES = 1 << 18
NAMES_MAX = 64
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?={_LABEL})(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_THIS_MACHINE = "localhost"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class ServerCertificate(NamedTuple):
    """What a server certificate says."""

    names: tuple[str, ...]  # host names and addresses, in its order
    issuer: str
    begins: datetime
    ends: datetime


class Renewed(NamedTuple):
    """A certificate that was replaced."""

    path: Path
    certificate: ServerCertificate
    is_seal_needed: bool  # its names are others than those that the boot token measured


def check_name(name: str) -> str:
    """Return a host name in lower case (RFC 1123) or an address in its usual form; ConfigError for anything else."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    found = name.lower().rstrip(".")
    if not _HOST.fullmatch(found) or re.fullmatch(r"[0-9.]+", found):
        raise ConfigError(f"{name[:80]!r} is no name of a host: use one like kettle.local, or an address like 10.1.1.1")
    return found


def read_server_certificate(path: Path) -> ServerCertificate:
    """Return what the first certificate of a PEM file says. Raises ConfigError."""
    from cryptography import x509  # slow to import

    try:
        certificate = x509.load_pem_x509_certificate(read_bounded(path, MAX_PEM_BYTES, "the server certificate"))
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            names = x509.SubjectAlternativeName([])
        hosts = [str(name.value) for name in names if isinstance(name, (x509.DNSName, x509.IPAddress))]
        return ServerCertificate(
            tuple(hosts), certificate.issuer.rfc4514_string(), certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )  # fmt: skip
    except (ValueError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType):
        raise ConfigError(f"the server certificate {path} is not a PEM certificate: put a right one there") from None


def reachable_names(names: Sequence[str], host: str) -> list[str]:
    """Return by what clients may reach a door that listens on `host`, the best for other machines first.

    A name that a resolver knows outlives an address. Names of this machine only (localhost) come last, and not at all
    where the door listens on one other address.
    """
    if _is_local(host):
        return [host]
    far = [name for name in names if not _is_local(name)]
    far.sort(key=_is_address)
    if host in _EVERYWHERE:
        return [*far, _EVERYWHERE[host]]
    return [name for name in far if not _is_address(name)] + [host]


def renew_server_certificate(
    config: Config, names: Sequence[str], now: datetime, *, drop: Sequence[str] = ()
) -> Renewed:
    """Replace the server certificate by one of the development CA for the same key, valid for 397 days from now.

    It names what the present one does and `names`, without those of `drop`. Raises ConfigError, also where another CA
    has issued the present one.
    """
    from tlsrt.config import pki

    door = config.door
    present = read_server_certificate(door.certificate)
    if door.client_ca_key is None:
        raise ConfigError(
            f"cannot renew {door.certificate}: the configuration names no door.client_ca_key; "
            "get a certificate from its issuer, put it there, and reload"
        )
    authorities = read_bounded(door.client_ca, MAX_PEM_BYTES, "the CA")
    _refuse_replaced(read_bounded(door.certificate, MAX_PEM_BYTES, "the server certificate"), authorities)
    ca = pki.Issued(
        authorities,
        read_bounded(door.client_ca_key, MAX_PEM_BYTES, "the CA's key"),
    )
    dropped = set(map(check_name, drop))
    for name in dropped.difference(present.names):
        raise ConfigError(f"cannot drop {name}: the certificate names {', '.join(present.names) or 'nothing'}")
    wanted = tuple(name for name in dict.fromkeys((*present.names, *map(check_name, names))) if name not in dropped)
    if not wanted:
        raise ConfigError("cannot drop every name: the certificate has to name one at least")
    if len(wanted) > NAMES_MAX:
        raise ConfigError(f"cannot name {len(wanted)} hosts in one certificate: at most {NAMES_MAX}")
    pem = pki.renew_server(
        ca,
        read_bounded(door.certificate, MAX_PEM_BYTES, "the server certificate"),
        read_bounded(door.key, MAX_PEM_BYTES, "the server's key"),
        wanted,
        now,
    )
    replace(door.certificate, pem, 0o644, owner_of(door.certificate))
    return Renewed(door.certificate, read_server_certificate(door.certificate), wanted != present.names)


def _refuse_replaced(certificate: bytes, authorities: bytes) -> None:
    """Refuse while one CA takes the place of another: clients that know the former one would be refused."""
    from tlsrt.config import pki

    first, *others = pki.split_pem(authorities)
    if not pki.is_issued_by(certificate, first) and any(pki.is_issued_by(certificate, one) for one in others):
        raise ConfigError(
            "the CA is being replaced, and the present certificate is of the former one: once each client has a new "
            "bundle, `tlsrt-supervisor certificate replace-ca --finish` issues one of the new CA"
        )


def days_left(certificate: ServerCertificate, now: datetime) -> int:
    """Return for how many whole days it is valid; below 0 if it has ended."""
    return (certificate.ends - now) // timedelta(days=1)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_local(name: str) -> bool:
    if not _is_address(name):
        return name == _THIS_MACHINE or name.endswith(f".{_THIS_MACHINE}")
    return ipaddress.ip_address(name).is_loopback
