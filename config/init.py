"""`init` makes everything a host needs in one folder, `seal` renews its boot token.

init writes all or nothing: into a folder of its own that is renamed at the end, or, where the folder exists, file by
file, none of which may exist before, and all of which go again when one fails.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from tlsrt.command_line.hint import command_line
from tlsrt.config import key_schedule
from tlsrt.config.boot_token import (
    MAX_TOKEN_BYTES,
    BootToken,
    check_boot_token,
    make_boot_token,
    parse_boot_token_untrusted,
)
from tlsrt.config.bundle import VERSION, Bundle, encode_bundle
from tlsrt.config.bytecode import write_bytecode
from tlsrt.config.differences import BYTECODE, listed
from tlsrt.config.door import DoorConfig
from tlsrt.config.files import as_config_error, owner_of, read_bounded, replace, sync_folder, write_new
from tlsrt.config.import_path import bytecode_folder, is_checkout
from tlsrt.config.issuer_chain import NO_SEAL_RECORD, Chain, SealRecord
from tlsrt.config.json_schema import json_schema
from tlsrt.config.key_providers import check_master_key, newest_version, open_master_key, read_master_key
from tlsrt.config.key_rotation import only_one
from tlsrt.config.load import load_config
from tlsrt.config.measure import measure
from tlsrt.config.schema import Config
from tlsrt.config.server_certificate import check_name
from tlsrt.config.setting import keys_of
from tlsrt.config.template import NOTHING_LACKING, MissingLayer, Places, config_text
from tlsrt.errors import ConfigError

MOUNT_LAYER = "mount_namespace"
FOLDERS = ("state", "run", "log")
FILES = {
    "tlsrt.yaml": "the configuration, with comments",
    "tlsrt.schema.json": "its schema, for editors",
    "master.key": "the root of every key: keep a copy in a safe place, it cannot be made again",
    "boot.token": "what was sealed: code, configuration and certificate names",
    "ca.key": "the key of the development CA: the authority enrols clients with it; keep a copy in a safe place",
    "ca.crt": "the development CA",
    "server.key": "the server's key",
    "server.crt": "the server's certificate",
    "admin.tlsrt": "the bundle of the client admin: keep it secret",
}
_PUBLIC = ("tlsrt.yaml", "tlsrt.schema.json", "ca.crt", "server.crt")


def initialise(
    directory: Path, *, host: str, port: int, now: datetime, names: Sequence[str] = (),
    lacking: MissingLayer = NOTHING_LACKING, places: Places | None = None,
) -> list[str]:  # fmt: skip
    """Make a new installation in `directory` and return the lines to print; never overwrites. Raises ConfigError.

    `names` are host names and addresses by which clients on other machines reach it. `lacking` says what this host
    cannot give: the caller has found out, the operator may disagree. `places` are those of state, sockets and
    logs, which are beside the configuration otherwise.
    """
    _check_door(host, port)
    door = _Door(host, port, tuple(dict.fromkeys(map(check_name, names))))
    if os.path.lexists(directory):
        if not directory.is_dir():
            raise ConfigError(f"{directory} exists and is not a folder: choose another place")
        _refuse_existing(directory)
        _fill(directory, door, now, lacking, places)
    else:
        _make_whole(directory, door, now, lacking, places)
    return _report(directory, lacking, places)


def seal(config: Config, known: SealRecord = NO_SEAL_RECORD, *, older_state: int = 0) -> int:
    """Renew the boot token for the host as it is now and return the new seal number. Raises ConfigError.

    The number is one above that of the present token and above the one that is `known` from the authority's state,
    which counts when the token is lost; so it is with the version of master_key. With `older_state`, the number that
    the audit log knows, the next start accepts an older state of the authority.
    """
    with only_one(config):
        return _seal(config, known, older_state)


def _seal(config: Config, known: SealRecord, older_state: int) -> int:
    present = _present_token(config.boot_token)
    version, chain = _version(config, present, known)
    key = _master_key(config, version)
    number = max(present.seal if present else 0, known.seal) + 1
    write_bytecode(config, _vouched_bytecode(config, present))
    made = make_boot_token(_boot_key(config, key), number, measure(config), version, chain, older_state)
    token = made.encode()
    check_master_key(key, token)
    owner = owner_of(config.boot_token) if present else None
    replace(config.boot_token, token, _mode_of(config.boot_token), owner)
    return number


def _mode_of(token: Path) -> int:
    """Return the mode of the boot token, which is no secret: one that a service's user may read stays so."""
    try:
        return 0o644 if os.stat(token).st_mode & 0o004 else 0o600
    except OSError:
        return 0o600


class _Door(NamedTuple):
    """Where the door listens, and what else its certificate names."""

    host: str
    port: int
    names: tuple[str, ...]


def _check_door(host: str, port: int) -> None:
    setting = keys_of(DoorConfig)["host"].setting
    if not re.fullmatch(setting.pattern, host):
        raise ConfigError(
            f"the host must be {setting.says}, not {host!r}: for a name by which clients reach it, use --name"
        )
    if not 1 <= port <= 65535:
        raise ConfigError(f"the port must be from 1 to 65535, not {port}")


def _refuse_existing(directory: Path) -> None:
    for name in (*FILES, *FOLDERS):
        if os.path.lexists(directory / name):
            raise ConfigError(f"{directory / name} exists, and init never overwrites: nothing was written")


def _make_whole(
    directory: Path, door: _Door, now: datetime, lacking: MissingLayer, places: Places | None
) -> None:  # fmt: skip
    with as_config_error("make the folder", directory.parent):
        directory.parent.mkdir(parents=True, exist_ok=True)
    with as_config_error("write", directory):
        folder = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        _fill(folder, door, now, lacking, places)
        with as_config_error("write", directory):
            os.rename(folder, directory)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    sync_folder(directory.parent)


def _fill(
    directory: Path, door: _Door, now: datetime, lacking: MissingLayer, places: Places | None
) -> None:  # fmt: skip
    made: list[Path] = []
    try:
        for name in () if places else FOLDERS:
            with as_config_error("write", directory / name):
                os.mkdir(directory / name, 0o700)
            made.append(directory / name)
        for name, data in _contents(door, now, lacking, places).items():
            write_new(directory / name, data, 0o644 if name in _PUBLIC else 0o600)
            made.append(directory / name)
        if places or any(
            waiver.layer == MOUNT_LAYER for waiver in lacking.waivers
        ):  # then the uids of loops come this way
            os.chmod(directory, 0o755 if places else 0o711)
        config = load_config(directory / "tlsrt.yaml")
        write_bytecode(config)
        token = make_boot_token(_boot_key(config, _master_key(config)), 1, measure(config))
        write_new(config.boot_token, token.encode(), 0o644 if places else 0o600)
        made.append(config.boot_token)
        sync_folder(directory)
    except BaseException:
        shutil.rmtree(bytecode_folder(directory / "tlsrt.yaml"), ignore_errors=True)
        for path in reversed(made):
            with suppress(OSError):  # the first error is the one to report
                os.rmdir(path) if path.name in FOLDERS else os.unlink(path)
        raise


def _contents(
    door: _Door, now: datetime, lacking: MissingLayer, places: Places | None
) -> dict[str, bytes]:  # fmt: skip
    from tlsrt.config import pki  # x509 is slow to import, and seal does without

    host, port, names = door
    install_id, master_key = secrets.token_bytes(16), secrets.token_bytes(32)
    ca = pki.make_ca(install_id, now)
    server = pki.issue_server(ca, install_id, host, now, names)
    admin = pki.issue_client(ca, install_id, "admin", now)
    text = config_text(
        install=install_id.hex(),
        host=host,
        port=port,
        fingerprint=pki.fingerprint(admin.certificate_pem).hex(),
        checkout=is_checkout(),
        lacking=lacking,
        places=places,
    )
    reach = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    issuer = _issuer_public(install_id, master_key)
    bundle = Bundle(
        VERSION,
        install_id,
        "admin",
        reach,
        port,
        reach,
        ca.certificate_pem,
        admin.certificate_pem,
        admin.key_pem,
        issuer,
    )
    return {
        "tlsrt.yaml": text.encode(),
        "tlsrt.schema.json": json.dumps(json_schema(), indent=2).encode() + b"\n",
        "master.key": master_key,
        "ca.key": ca.key_pem,
        "ca.crt": ca.certificate_pem,
        "server.key": server.key_pem,
        "server.crt": server.certificate_pem,
        "admin.tlsrt": encode_bundle(bundle),
    }


def _issuer_public(install_id: bytes, master_key: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = key_schedule.issuer_seed(key_schedule.extract(install_id, master_key), 1)
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def key_in_force(config: Config) -> tuple[bytes, int]:
    """Return master_key as the next start would take it, and its version. Raises ConfigError."""
    present = _present_token(config.boot_token)
    version = present.key_version if present else 1
    return _master_key(config, version), version


def _vouched_bytecode(config: Config, present: BootToken | None) -> bytes | None:
    """Return the digest of the byte code that the boot token vouches for, if it is one of the key in force."""
    if present is None:
        return None
    try:
        check_boot_token(_boot_key(config, _master_key(config, present.key_version)), present, present.entries, 0)
    except ConfigError:
        return None
    return present.entries.get(BYTECODE)


def sealed_bytecode(config: Config) -> bytes | None:
    """Return the digest of the byte code that was sealed, None for none. No key is read, so nothing vouches for it."""
    present = _present_token(config.boot_token)
    return present.entries.get(BYTECODE) if present is not None else None


def changes(config: Config) -> list[str] | None:
    """Return a line for everything that a seal would accept, None without a boot token to compare with."""
    present = _present_token(config.boot_token)
    if present is None:
        return None
    return listed(present.entries, measure(config))


def changed_names(config: Config) -> list[str] | None:
    """Return the names of everything that a seal would accept, None without a boot token to compare with."""
    present = _present_token(config.boot_token)
    if present is None:
        return None
    found = measure(config)
    before = present.entries
    names = sorted(name for name in before.keys() | found.keys() if before.get(name) != found.get(name))
    return [name for name in names if name != BYTECODE or name in found]  # without it a start is slower, and the same


def _boot_key(config: Config, master_key: bytes) -> bytes:
    return key_schedule.boot_mac_key(key_schedule.extract(config.install_id, master_key))


def _master_key(config: Config, version: int = 1) -> bytes:
    descriptor = open_master_key(config.master_key, {0, os.geteuid()}, version)
    try:
        return read_master_key(descriptor)
    finally:
        os.close(descriptor)


def _present_token(path: Path) -> BootToken | None:
    if not os.path.lexists(path):
        return None
    try:
        return parse_boot_token_untrusted(read_bounded(path, MAX_TOKEN_BYTES, "the boot token"))
    except ConfigError:
        return None  # damaged, which seal mends


def _version(config: Config, present: BootToken | None, known: SealRecord) -> tuple[int, Chain]:
    """Return the version of master_key to seal with, and the issuer chain that leads to it."""
    chains = [known.succession, present.succession if present else ()]
    version = max(known.key_version, present.key_version if present else 0)
    if config.master_key.provider != "file":
        version = 1
    elif not version:
        version = newest_version(config.master_key)
    return version, next((chain for chain in chains if chain and chain[-1].new.version == version), ())


def _report(directory: Path, lacking: MissingLayer, places: Places | None) -> list[str]:
    lines = [f"wrote {directory / name}: {what}" for name, what in FILES.items()]
    if places is None:
        lines.append(f"made {directory}/state, run and log")
    if places is not None:
        lines.append(f"next: {command_line('tlsrt-supervisor', 'install', '--now')}")
        return [*lines, *_waived(lacking)]
    named = [] if directory == Path("var") and os.geteuid() != 0 else ["--config", directory / "tlsrt.yaml"]
    lines.append(f"next: {command_line('tlsrt-supervisor', 'start', *named)}")
    if is_checkout():
        lines.append("this is a development checkout: measure is warn, so changed code starts and is reported")
    return [*lines, *_waived(lacking)]


def _waived(lacking: MissingLayer) -> list[str]:
    return [
        f"this host cannot give {waiver.layer} ({waiver.reason}): it is waived, and {waiver.voids}"
        for waiver in lacking.waivers
    ]
