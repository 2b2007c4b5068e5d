"""`tlsrt-supervisor honeypot`: list decoys, plant canaries, and test their detection."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

from tlsrt.command_line.table import Document
from tlsrt.config.canaries import NUMBERS, STATE_CANARY, canary_client, canary_token, text_of
from tlsrt.config.files import read_bounded, write_new
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, InvalidArgument, NotFound
from tlsrt.sandbox.apply.root_filesystem import CANARY, CANARY_BYTES
from tlsrt.supervisor.cli.exchange import config_of

CA_FILE_MAX = 1 << 16
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def decoys(arguments: argparse.Namespace) -> Document:
    """Return what the configuration lays out as decoys."""
    config = config_of(arguments)
    decoys = config.deception
    return {
        "components": list(decoys.components),
        "methods": [f"{address} {method}" for address, method in decoys.methods],
        "paths": list(decoys.paths),
        "files": [CANARY, str(config.state_dir / STATE_CANARY), *map(str, decoys.files)] if decoys.watch_files else [],
        "endpoint": f"{decoys.endpoint.host} port {decoys.endpoint.port}" if decoys.endpoint else None,
        "tokens": NUMBERS,
        "clients": NUMBERS,
    }


def decoy_lines(answer: Document) -> list[str]:
    numbers = f"0 to {NUMBERS - 1}: `honeypot plant"
    rows = [(kind, name) for kind in ("component", "method", "path", "file") for name in answer[f"{kind}s"]]
    rows += [("endpoint", answer["endpoint"])] if answer["endpoint"] else []
    rows += [("token", f"{numbers} token FILE` writes one"), ("client", f"{numbers} client FILE` writes a bundle")]
    return [f"{kind:<10} {name}" for kind, name in rows]


def plant(arguments: argparse.Namespace) -> Document:
    """Write a canary into a new file."""
    path: Path = arguments.path
    if not 0 <= arguments.number < NUMBERS:
        raise InvalidArgument(f"--number is from 0 to {NUMBERS - 1}, not {arguments.number}")
    config = config_of(arguments)
    if os.path.lexists(path):
        raise ConfigError(f"{path} exists, and a canary never overwrites: name another file")
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent}: make it, or name another file")
    if arguments.kind == "file":
        write_new(path, os.urandom(CANARY_BYTES), 0o600)
    elif arguments.kind == "token":
        root, _ = _root(config)
        write_new(path, f"TLSRT_TOKEN={text_of(canary_token(root, arguments.number))}\n".encode(), 0o600)
    else:
        _plant_client(path, arguments.name, arguments.number, config)
    return {"kind": arguments.kind, "number": arguments.number, "file": str(path)}


def plant_lines(answer: Document) -> list[str]:
    kind, path = answer["kind"], answer["file"]
    if kind == "file":
        return [
            f"wrote {path}, which looks like a key: add it to `deception: files` of the configuration, seal, and start",
            "from then on every read of it, also by a backup, is reported as event `decoy_touched`",
        ]
    return [
        f"wrote {path}: canary {kind} {answer['number']}; note the number, no list of them is kept",
        "move it to where an intruder would look; its use is reported as event `decoy_touched`",
    ]


def test_lines(answer: Document) -> list[str]:
    if not answer["heard"]:
        return []
    return [f"detected after {answer['took_ms']} ms: a test access to a decoy and to a canary file"]


def test_unmet(answer: Document) -> list[str] | None:
    return None if answer["heard"] else [str(answer["problem"])]


def _root(config: Config) -> tuple[bytes, bytes]:
    """Return the root of the canaries, and the public issuer key, which a bundle names."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from tlsrt.config import key_schedule
    from tlsrt.config.init import key_in_force

    master, version = key_in_force(config)
    prk = key_schedule.extract(config.install_id, master)
    issuer = Ed25519PrivateKey.from_private_bytes(key_schedule.issuer_seed(prk, version))
    return key_schedule.canary_root(prk), issuer.public_key().public_bytes_raw() + version.to_bytes(4, "big")


def _plant_client(path: Path, name: str, number: int, config: Config) -> None:
    """Write a bundle with a valid certificate for a client that does not exist."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509 import load_pem_x509_certificates

    from tlsrt.config import pki
    from tlsrt.config.bundle import VERSION, Bundle, write_bundle
    from tlsrt.supervisor.authority.clients.ca import pinned_ca, read_ca_key

    _check_name(name, config)
    source = config.door.client_ca_key
    if source is None:
        raise ConfigError("a canary client needs a certificate: name door.client_ca_key in the configuration, and seal")
    authorities = load_pem_x509_certificates(read_bounded(config.door.client_ca, CA_FILE_MAX, "door.client_ca"))
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        ca = read_ca_key(descriptor, authorities)
    finally:
        os.close(descriptor)
    if ca is None:
        raise ConfigError(f"{source} is empty: name the CA's key as door.client_ca_key")
    root, issuer = _root(config)
    key = canary_client(root, number)
    authority = ca.certificate_of(authorities)
    now = datetime.now(UTC)
    ends = min(now + pki.LEAF_LIFE, authority.not_valid_after_utc)
    certificate = pki.sign_client(authority, ca.key, config.install_id, name, key.public_key(), now, ends)
    chain = load_pem_x509_certificates(read_bounded(config.door.certificate, CA_FILE_MAX, "door.certificate"))
    try:
        trusted = pinned_ca(chain, authorities, authority)
    except NotFound as error:
        raise ConfigError(error.message) from None
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    reach = _EVERYWHERE.get(config.door.host, config.door.host)
    write_bundle(
        path,
        Bundle(
            VERSION, config.install_id, name, reach, config.door.port, reach, trusted.public_bytes(Encoding.PEM),
            certificate.public_bytes(Encoding.PEM), secret, issuer[:32], int.from_bytes(issuer[32:], "big"),
        ),
    )  # fmt: skip


def _check_name(name: str, config: Config) -> None:
    import re

    from tlsrt.config.setting import NAME as PATTERN
    from tlsrt.config.setting import NAME_SAYS

    if not re.fullmatch(PATTERN, name):
        raise ConfigError(f"{name!r} is no client name: it must be {NAME_SAYS}")
    if any(client.name == name for client in config.clients):
        raise ConfigError(f"{name} is a client of this host: give the canary another --name")
