"""Sentences for certificates that were refused for their time, and whose clock to check. Pure.

Every certificate begins five minutes before it is made, so a clock that is a little behind refuses none.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from tlsrt.errors import ConfigError, Rejected

_NOT_BEGUN = "not yet valid"  # in OpenSSL's words for X509_V_ERR_CERT_NOT_YET_VALID
_RECENT = timedelta(days=2)  # a clock that is behind by more is seen by other means


def server_refused(detail: str, where: str, now: datetime, otherwise: str) -> ConfigError:
    """Return the error for a server whose certificate OpenSSL does not take; `detail` is what it says."""
    if _NOT_BEGUN not in detail:
        return ConfigError(otherwise)
    return ConfigError(
        f"the certificate of the server at {where} has not begun yet by the clock of this machine, {_text(now)}: "
        "check this clock; if it is right, that of the server"
    )


def client_refused(own: bytes, detail: str, where: str, now: datetime) -> Rejected:
    """Return the error for a server that does not take our certificate, DER; `detail` is its alert."""
    from cryptography.x509 import load_der_x509_certificate  # slow to import, for what seldom happens

    certificate = load_der_x509_certificate(own)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    refused = f"the server at {where} does not accept this bundle's certificate ({detail})"
    if now < begins:
        return Rejected(
            f"{refused}: it has not begun yet by the clock of this machine, {_text(now)}, but does at {_text(begins)}: "
            "check the clocks of this machine and of the server"
        )
    if now >= ends:
        return Rejected(f"{refused}: it ended at {_text(ends)}: get a new bundle from the host")
    if now - begins < _RECENT:
        return Rejected(f"{refused}: if it has not begun there, at {_text(begins)}, check the clock of the server")
    return Rejected(refused)


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
