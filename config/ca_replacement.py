"""Another CA in the place of the one of an installation: what its files hold then.

Theory of operation. The key of a CA that is lost certifies nothing any more, so what it has issued is kept as it is:
the door goes on with its certificate, and shows beside it one in which the new CA certifies the former one (RFC 5280,
3.2, a cross-certificate). So a client whose bundle has the former CA believes the door as before, and one whose bundle
has the new CA alone does, too. `client_ca` holds both, the new one first: the door lets both kinds of clients in. To
finish, the door's certificate is issued by the new CA, and the former one is dropped: bundles with it are useless then.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from enum import Enum
from pathlib import Path

from tlsrt.config import pki
from tlsrt.config.files import read_bounded
from tlsrt.config.schema import Config
from tlsrt.config.server_certificate import MAX_PEM_BYTES, read_server_certificate
from tlsrt.errors import ConfigError


class Replacement(Enum):
    """How a CA is replaced."""

    BOTH = "both"  # the former one is believed, too, until it is finished
    DISTRUST = "distrust"  # the former one is believed no more, as its key may be stolen
    FINISH = "finish"  # no new one: the former ones are dropped


def ca_key_of(config: Config) -> Path:
    """Return where the key of the CA is, or was. Raises ConfigError for a host that has none."""
    if config.door.client_ca_key is None:
        raise ConfigError(
            f"{config.path} names no door.client_ca_key: write `client_ca_key: ca.key` there, and run this again; with "
            "a CA of your own, put its files there"
        )
    return config.door.client_ca_key


def is_key_whole(config: Config) -> bool:
    """Tell whether the key of the first CA is where it belongs, so that nothing is lost."""
    with suppress(ConfigError):
        key = read_bounded(ca_key_of(config), MAX_PEM_BYTES, "the CA's key")
        return any(pki.is_key_of(key, one) for one in _authorities(config))
    return False


def replaced(config: Config, how: Replacement, now: datetime) -> Mapping[Path, bytes]:
    """Return the new content of the files of the CA and of the door's certificate. Raises ConfigError."""
    door, present = config.door, _authorities(config)
    certificate = read_bounded(door.certificate, MAX_PEM_BYTES, "the server certificate")
    server_key = read_bounded(door.key, MAX_PEM_BYTES, "the server's key")
    issuer = next((one for one in present if pki.is_issued_by(certificate, one)), None)
    if issuer is None:
        raise ConfigError(
            f"{door.certificate} was not issued by a CA in {door.client_ca}: this replaces the development CA only; "
            "get certificates of another CA from it, put them there, seal, and reload"
        )
    names = read_server_certificate(door.certificate).names
    if how is Replacement.FINISH:
        return _finished(config, present, certificate, server_key, now)
    made = pki.make_next_ca(config.install_id, now)
    files = {ca_key_of(config): made.key_pem}
    if how is Replacement.DISTRUST:
        served = pki.reissue_server(made, certificate, server_key, names, now)
        return {**files, door.client_ca: made.certificate_pem, door.certificate: served}
    kept = [one for one in present if not pki.has_ended(one, now)]
    if issuer not in kept:
        raise ConfigError("the CA has ended, so no client believes it any more: say --distrust")
    shown = pki.split_pem(certificate)[0] + pki.certify_ca(made, issuer, now)
    return {**files, door.client_ca: made.certificate_pem + b"".join(kept), door.certificate: shown}


def _finished(
    config: Config, present: list[bytes], certificate: bytes, server_key: bytes, now: datetime
) -> Mapping[Path, bytes]:
    door = config.door
    if len(present) == 1 and pki.is_issued_by(certificate, present[0]):
        raise ConfigError(f"there is nothing to finish: {door.client_ca} has one CA")
    key = read_bounded(ca_key_of(config), MAX_PEM_BYTES, "the CA's key")
    if not pki.is_key_of(key, present[0]):
        raise ConfigError(
            f"{ca_key_of(config)} is not the key of the first CA in {door.client_ca}: put the right one there"
        )
    ca = pki.Issued(present[0], key)
    names = read_server_certificate(door.certificate).names
    return {door.client_ca: present[0], door.certificate: pki.reissue_server(ca, certificate, server_key, names, now)}


def _authorities(config: Config) -> list[bytes]:
    return pki.split_pem(read_bounded(config.door.client_ca, MAX_PEM_BYTES, "the client CA"))
