"""Certificate revocation lists of the client CAs (RFC 5280, section 5). Pure.

Fails closed: a client whose CA has no list here, or one that is past its nextUpdate, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography.x509 import Certificate, CertificateRevocationList, load_der_x509_crl, load_pem_x509_crl

from tlsrt.errors import ConfigError, PeerError

_PEM = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.S)
_WARN_SHARE = 4  # a warning from the last quarter of a list's life on, and ...
_WARN_AT_LEAST = timedelta(hours=24)  # ... at least so long before its end


class RevocationLists:
    """One list for each client CA."""

    def __init__(self, lists: Sequence[CertificateRevocationList]) -> None:
        self._lists = {one.issuer.public_bytes(): one for one in lists}

    def check(self, certificate: Certificate, wall: int) -> None:
        """Raise PeerError if a certificate is revoked, or if that cannot be known; `wall` is ms."""
        found = self._lists.get(certificate.issuer.public_bytes())
        if found is None:
            raise PeerError("crl_missing")
        if _end(found) <= _time(wall):
            raise PeerError("crl_stale")
        if found.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            raise PeerError("certificate_revoked")

    def check_time(self, wall: int) -> None:
        """Raise ConfigError for a list that has ended."""
        for one in self._lists.values():
            if _end(one) <= _time(wall):
                raise ConfigError(f"a list in door.crl ended on {_end(one):%Y-%m-%d %H:%M} UTC: get a newer one")

    def warnings(self, wall: int) -> list[str]:
        """Return a sentence for each list that has ended or ends soon."""
        now, sentences = _time(wall), list[str]()
        for one in self._lists.values():
            end, begin = _end(one), one.last_update_utc
            when = f"{end:%Y-%m-%d %H:%M} UTC"
            if end <= now:
                sentences.append(f"the revocation list of the client CA ended on {when}: every client is refused")
            elif end - now < max((end - begin) / _WARN_SHARE, _WARN_AT_LEAST):
                sentences.append(f"the revocation list of the client CA ends on {when}: then every client is refused")
        return sentences


def parse_revocation_lists(data: bytes, authorities: Sequence[Certificate]) -> RevocationLists:
    """Return the lists in a file, PEM or one in DER. Raise ConfigError if they are not of these CAs, or one is missing.

    Several PEM lists may stand in one file.
    """
    pieces = _PEM.findall(data)
    try:
        lists = [load_pem_x509_crl(piece) for piece in pieces] if pieces else [load_der_x509_crl(data)]
    except ValueError:
        raise ConfigError("door.crl holds no certificate revocation list: name a file in PEM or DER") from None
    for authority in authorities:
        mine = [one for one in lists if one.issuer == authority.subject]
        if not mine:
            name = authority.subject.rfc4514_string()
            raise ConfigError(f"door.crl has no list of the client CA {name}: add it, else its clients are refused")
        for one in mine:
            if not _is_signed(one, authority):
                raise ConfigError(
                    "a list in door.crl is not signed by the client CA whose name it has: get a right one"
                )
            if one.next_update_utc is None:
                raise ConfigError("a list in door.crl has no nextUpdate, and would be good for ever: make it with one")
    return RevocationLists(lists)


def _is_signed(one: CertificateRevocationList, authority: Certificate) -> bool:
    try:
        return one.is_signature_valid(authority.public_key())  # type: ignore[arg-type]  # DSA and others: TypeError
    except (TypeError, ValueError):
        return False


def _end(one: CertificateRevocationList) -> datetime:
    end = one.next_update_utc
    assert end is not None  # parse_revocation_lists has looked
    return end


def _time(wall: int) -> datetime:
    return datetime.fromtimestamp(wall / 1000, UTC)
