"""`init` makes everything a host needs in one folder, `seal` renews its boot token.

init writes all or nothing, none of which may exist before; see `staged_init.py`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tlsrt.command_line.hint import command_line
from tlsrt.config import key_schedule
from tlsrt.config.acceptance import Acceptance, check_acceptance, versions_in
from tlsrt.config.boot_token import (
    MAX_TOKEN_BYTES,
    BootToken,
    check_boot_token,
    make_boot_token,
    parse_boot_token_untrusted,
)
from tlsrt.config.bundle import VERSION, Bundle, encode_bundle
from tlsrt.config.bytecode import write_bytecode
from tlsrt.config.config_drop_ins import config_drop_in_folder
from tlsrt.config.differences import BYTECODE, listed
from tlsrt.config.door import DoorConfig
from tlsrt.config.drop_ins import drop_in_folder
from tlsrt.config.files import as_config_error, owner_of, read_bounded, replace, token_mode, write_new
from tlsrt.config.import_path import bytecode_folder, is_checkout
from tlsrt.config.issuer_chain import NO_SEAL_RECORD, Chain, SealRecord
from tlsrt.config.json_schema import json_schema
from tlsrt.config.key_providers import check_master_key, newest_version, read_for_command
from tlsrt.config.key_rotation import only_one
from tlsrt.config.load import load_config
from tlsrt.config.measure import measure, measure_bytecode
from tlsrt.config.publishers import NO_TRUST, Trust
from tlsrt.config.remove_tree import remove_tree
from tlsrt.config.schema import Config
from tlsrt.config.server_certificate import check_name
from tlsrt.config.setting import keys_of
from tlsrt.config.staged_init import CONFIGURATION, complete, folder_of, staging
from tlsrt.config.template import NOTHING_LACKING, MissingLayer, Places, config_text
from tlsrt.config.tpm_keys import sealed_place
from tlsrt.errors import ConfigError

EVERYTHING = Acceptance()
MOUNT_LAYER = "mount_namespace"
FOLDERS = ("state", "run", "log")
FILES = {
    CONFIGURATION: "the configuration, with comments",
    "tlsrt.schema.json": "its schema, for editors",
    "master.key": "the root of every key: keep a copy in a safe place, it cannot be made again",
    "boot.token": "what was sealed: code, configuration and certificate names",
    "ca.key": "the key of the development CA: the authority enrols clients with it; keep a copy in a safe place",
    "ca.crt": "the development CA",
    "server.key": "the server's key",
    "server.crt": "the server's certificate",
    "admin.tlsrt": "the bundle of the client admin: keep it secret",
}
_COMMAND = "tlsrt-supervisor"
_PUBLIC = (CONFIGURATION, "tlsrt.schema.json", "ca.crt", "server.crt")


def initialise(
    directory: Path, *, host: str, port: int, now: datetime, names: Sequence[str] = (),
    lacking: MissingLayer = NOTHING_LACKING, places: Places | None = None, if_missing: bool = False,
) -> list[str]:  # fmt: skip
    """Make a new installation in `directory` and return the lines to print; never overwrites. Raises ConfigError.

    With `if_missing` a host that is there, whole, is no error. One that was ended before is completed, if all of it
    was written, or made anew.

    `names` are host names and addresses by which clients on other machines reach it. `lacking` says what this host
    cannot give: the caller has found out, the operator may disagree. `places` are those of state, sockets and
    logs, which are beside the configuration otherwise.
    """
    _check_door(host, port)
    door = _Door(host, port, tuple(dict.fromkeys(map(check_name, names))))
    mode = 0o755 if places else 0o711 if any(one.layer == MOUNT_LAYER for one in lacking.waivers) else None
    with folder_of(directory):
        if complete(directory):
            return [f"an `init` in {directory} was interrupted before, and was completed", *_next(directory, places)]
        if if_missing and os.path.lexists(directory / CONFIGURATION):
            _check_there(directory / CONFIGURATION)
            return [f"{directory / CONFIGURATION} is there, so nothing was written"]
        _refuse_existing(directory)
        if mode is not None:
            with as_config_error("write", directory):
                os.chmod(directory, mode)  # the service, or the uids of loops, come this way
        with staging(directory) as folder:
            _fill(folder, door, now, lacking, places)
    return _report(directory, lacking, places)


def seal(config: Config, known: SealRecord = NO_SEAL_RECORD, *, older_state: int = 0) -> int:
    """Renew the boot token for the host as it is now and return the new seal number. Raises ConfigError."""
    return seal_named(config, known, EVERYTHING, older_state=older_state).number


class Sealed(NamedTuple):
    """A renewed boot token: its number, a line for each release that was verified, and for all that it accepts anew."""

    number: int
    verified: list[str]
    accepted: list[str]


def seal_named(config: Config, known: SealRecord, asked: Acceptance, *, older_state: int = 0) -> Sealed:
    """Renew the boot token.

    The number is one above that of the present token and above the one that is `known` from the authority's state,
    which counts when the token is lost; so it is with the version of master_key. With `older_state`, the number that
    the audit log knows, the next start accepts an older state of the authority. Raises ConfigError, also for what is
    not `asked`.
    """
    with only_one(config):
        return _seal(config, known, asked, older_state)


def _seal(config: Config, known: SealRecord, asked: Acceptance, older_state: int) -> Sealed:
    present = _present_token(config.boot_token)
    vouched, trust = _in_force(config, present, known)
    version, chain = _version(config, present, known)
    key = _master_key(config, version)
    number = max(present.seal if present else 0, known.seal) + 1
    found = measure(config)  # once: what is said, checked and sealed is the same, whatever changes meanwhile
    accepted = listed(present.entries, found) if present is not None else []
    if trust.publishers or not asked.is_all:  # before any byte code is made of it
        _check(config, vouched, trust, asked, found)
    write_bytecode(config, vouched.entries.get(BYTECODE) if vouched else None)
    found.pop(BYTECODE, None)
    if (bytecode := measure_bytecode(config)) is not None:
        found[BYTECODE] = bytecode
    lines = _check(config, vouched, trust, asked, found)
    after = trust.after(config.publishers, versions_in(found))
    made = make_boot_token(_boot_key(config, key), number, found, version, chain, older_state, after)
    token = made.encode()
    check_master_key(key, token)
    owner = owner_of(config.boot_token) if present else None
    replace(config.boot_token, token, token_mode(config.boot_token), owner)
    return Sealed(number, lines, accepted)


def _check(
    config: Config, vouched: BootToken | None, trust: Trust, asked: Acceptance, found: Mapping[str, bytes]
) -> list[str]:  # fmt: skip
    if vouched is None and not asked.is_all and not trust.publishers:
        raise ConfigError(
            f"there is no boot token of this key at {config.boot_token}, or an older one was put back: run `seal` "
            "without --accept"
        )
    return check_acceptance(vouched.entries if vouched else None, found, trust, asked, datetime.now(UTC).date())


def trust_in_force(config: Config, known: SealRecord) -> Trust:
    """Return whose releases are accepted: as it was sealed, else as the configuration says. Raises ConfigError."""
    return _in_force(config, _present_token(config.boot_token), known)[1]


def _in_force(config: Config, present: BootToken | None, known: SealRecord) -> tuple[BootToken | None, Trust]:
    """Return the boot token that vouches for this host, and whose releases are accepted.

    One that is older than what the authority has seen was put back: only its highest versions count.
    """
    token = _vouched(config, present)
    if token is not None and token.seal >= known.seal:
        return token, token.trust
    return None, Trust({}, token.trust.highest if token is not None else {}).after(config.publishers, {})


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
    """Refuse what init would overwrite; byte code of a host that is gone is made anew. Raises ConfigError."""
    for name in (*FILES, *FOLDERS):
        if os.path.lexists(directory / name):
            raise _exists(directory / name)
    bytecode = bytecode_folder(directory / CONFIGURATION)
    if os.path.lexists(bytecode):
        if bytecode.is_symlink() or not bytecode.is_dir():
            raise _exists(bytecode)
        with as_config_error("remove", bytecode):
            remove_tree(bytecode)


def _exists(path: Path) -> ConfigError:
    return ConfigError(f"{path} exists, and init never overwrites: nothing was written")


def _fill(directory: Path, door: _Door, now: datetime, lacking: MissingLayer, places: Places | None) -> None:
    for name in () if places else FOLDERS:
        with as_config_error("write", directory / name):
            os.mkdir(directory / name, 0o700)
    for name, data in _contents(door, now, lacking, places).items():
        write_new(directory / name, data, 0o644 if name in _PUBLIC else 0o600)
    config = load_config(directory / CONFIGURATION)
    write_bytecode(config)
    found = measure(config)
    trust = NO_TRUST.after({}, versions_in(found))
    token = make_boot_token(_boot_key(config, _master_key(config)), 1, found, trust=trust)
    write_new(config.boot_token, token.encode(), 0o644 if places else 0o600)


def _check_there(path: Path) -> None:
    """Refuse a host of which a file is missing that its configuration names. Raises ConfigError."""
    config = load_config(path)
    door = config.door
    named = (config.master_key.path, door.certificate, door.key, door.client_ca, door.client_ca_key)
    for one in named:
        if one is not None and not os.path.lexists(one) and not os.path.lexists(sealed_place(one)):
            raise ConfigError(f"{path} is there, but not {one}, which it names: put it back from your backup")
    if not os.path.lexists(config.boot_token):
        raise ConfigError(f"{path} is there, but no boot token: run `tlsrt-supervisor seal`")


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
        CONFIGURATION: text.encode(),
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


def _vouched(config: Config, present: BootToken | None) -> BootToken | None:
    """Return the boot token if it is one of the key in force."""
    if present is None:
        return None
    try:
        check_boot_token(_boot_key(config, _master_key(config, present.key_version)), present, present.entries, 0)
    except ConfigError:
        return None
    return present


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
    return read_for_command(config.master_key, version)


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
    lines += _next(directory, places)
    if places is None and is_checkout():
        lines.append("this is a development checkout: measure is warn, so changed code starts and is reported")
    return [*lines, *_waived(lacking)]


def _next(directory: Path, places: Places | None) -> list[str]:
    """Return what to type next: `seal` first, if there are drop-ins, which were written by others."""
    path = directory / CONFIGURATION
    named = [] if directory == Path("var") and os.geteuid() != 0 else ["--config", path]
    folders = [folder for folder in (config_drop_in_folder(path), drop_in_folder(path)) if folder.is_dir()]
    if found := [folder for folder in folders if any(not one.name.startswith(".") for one in folder.iterdir())]:
        return [f"{found[0]} has files that init did not seal; next: {command_line(_COMMAND, 'seal', *named)}"]
    if places is not None:
        return [f"next: {command_line(_COMMAND, 'install', '--now')}"]
    return [f"next: {command_line(_COMMAND, 'start', *named)}"]


def _waived(lacking: MissingLayer) -> list[str]:
    return [
        f"this host cannot give {waiver.layer} ({waiver.reason}): it is waived, and {waiver.voids}"
        for waiver in lacking.waivers
    ]
