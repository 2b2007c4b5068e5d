"""`backup restore`: a whole host from a backup, as it was or not at all.

All of it is written beside what is there, checked, and forced to the disk. Then a journal of renames is written, and
that is the moment: a restore that is killed before it has changed nothing, and one that is killed after it is completed
by the next start, seal or restore. What was there before is kept under another name.
"""

from __future__ import annotations

import argparse
import fcntl
import os
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from tlsrt.command_line.table import Document
from tlsrt.config import key_schedule
from tlsrt.config.config_drop_ins import config_drop_in_folder
from tlsrt.config.document import ConfigFiles
from tlsrt.config.drop_ins import drop_in_folder
from tlsrt.config.files import as_config_error, open_folder, token_mode
from tlsrt.config.key_providers import key_path
from tlsrt.config.load import load_config, parse_files
from tlsrt.config.schema import Config
from tlsrt.config.search_path import find_config
from tlsrt.config.trusted_path import check_trusted, trusted_uids
from tlsrt.errors import EX_UNAVAILABLE, ConfigError, TlsrtError
from tlsrt.supervisor.archive.host_archive import (
    CONFIG,
    CONFIG_DROP_INS,
    DROP_INS,
    FILES,
    KEYS,
    KEYS_MAGIC,
    PACKAGES,
    STATE,
    ArchiveEntry,
    HostHead,
    entries_untrusted,
    verify_untrusted,
)
from tlsrt.supervisor.archive.host_content import KEY_ROLES, ROLES, places
from tlsrt.supervisor.cli.backup.create import mac_key_of, master_key_of, opened
from tlsrt.supervisor.cli.backup.journal import complete, write_journal
from tlsrt.supervisor.cli.backup.staging import Small, Staging
from tlsrt.supervisor.cli.backup.unseal import unsealed
from tlsrt.supervisor.cli.exchange import say
from tlsrt.supervisor.process.instance_lock import AlreadyRunning, take_lock
from tlsrt.supervisor.process.uids import FILE as UIDS
from tlsrt.supervisor.process.uids import Uids, identify, parse_id_map, parse_numbers


class NothingRestored(TlsrtError):
    """There is a host where this one is to go, or the backup leads elsewhere."""

    exit_code = EX_UNAVAILABLE


def restore(arguments: argparse.Namespace) -> Document:
    """Restore a host where there is none, or with --force in the place of one that does not run."""
    path = Path(os.path.abspath(find_config(arguments.config)))
    check_trusted(path, "the configuration", trusted_uids())
    if done := complete(path):
        say(done)
    keys = _keys_of(arguments.keys) if arguments.keys else None
    with (
        opened(arguments.file) as file,
        unsealed(file, arguments.file, _master_keys(path, keys)) as (plain, was_sealed),
    ):
        return _restore(path, plain, arguments, keys, was_sealed=was_sealed)


def restore_lines(answer: Document) -> list[str]:
    found = [f"the host of {answer['made']} (tlsrt {answer['version']}) is restored to {answer['configuration']}"]
    if answer["mac"] is None:
        found.append("who has written the backup was not checked: no master_key was at hand, or it has no MAC")
    found += [f"what was there before is in {kept}: remove it once all is well" for kept in answer["kept"]]
    found += [f"not restored: {name}, as no process of this host has that name" for name in answer["unknown"]]
    found.append("revocations, locks and clients since then are forgotten: repeat those that count")
    return [*found, "next: `tlsrt-supervisor check`; `seal` if it says that something is not as it was sealed; `start`"]


def _restore(
    path: Path, file: BinaryIO, arguments: argparse.Namespace, keys: Mapping[str, bytes] | None, *, was_sealed: bool
) -> Document:  # fmt: skip
    head, is_ours = _verified(path, file, arguments.file, keys)
    is_ours = is_ours or was_sealed or None  # who seals has the key
    small, first = _small(file)
    if set(small.sections[CONFIG]) != {head.configuration}:
        raise ConfigError("the backup has no configuration, or several")
    if small.sections[KEYS]:
        raise ConfigError("the backup has keys in it: they come from a file of their own")
    data = small.sections[CONFIG][head.configuration]
    more = dict(sorted(small.sections[CONFIG_DROP_INS].items()))
    config = parse_files(ConfigFiles(data, more, dict(small.sections[DROP_INS]), os.environ), path)
    if config.install_id.hex() != head.install:
        raise ConfigError("the backup's configuration is of another installation than its head says")
    placed = _placed(config, data, small, keys)
    places = [place for place, _, _ in placed]
    _check_places(config, places, is_ours=is_ours is True, is_forced=arguments.force)  # before a folder is made
    with _one_restore(config), _alone(config):
        _check_places(config, places, is_ours=is_ours is True, is_forced=arguments.force)
        made = Staging(config, datetime.now(UTC))
        try:
            unknown = made.stage_state(file, first, _identity(config, small.sections[FILES].get(UIDS)), small)
            made.stage_files(placed)
            made.stage_folder(config_drop_in_folder(path), more)
            made.stage_folder(drop_in_folder(path), small.sections[DROP_INS])
            os.sync()  # before it takes the place of what is on the disk
            write_journal(path, made.moves)
        except BaseException:
            made.remove()
            raise
        complete(path)
    kept = [str(move.kept) for move in made.moves if os.path.lexists(move.kept)]
    return {
        "configuration": str(path), "made": head.made, "version": head.version, "mac": is_ours, "kept": kept,
        "unknown": unknown,
    }  # fmt: skip


def _keys_of(named: str) -> Mapping[str, bytes]:
    with opened(named) as file:
        verify_untrusted(file, named, None, KEYS_MAGIC)
        small, _ = _small(file)
    return small.sections[KEYS]


def _master_keys(path: Path, keys: Mapping[str, bytes] | None) -> list[bytes]:
    """Return the master keys that are at hand, the newest first: those given, or that of the host that is there."""
    if keys is not None:
        return [key for role, key in sorted(keys.items(), key=lambda one: -_version_of(one[0])) if _version_of(role)]
    key: bytes | None = None
    if path.exists():
        with suppress(ConfigError):
            key = master_key_of(load_config(path))
    return [] if key is None else [key]


def _verified(
    path: Path, file: BinaryIO, name: str, keys: Mapping[str, bytes] | None
) -> tuple[HostHead, bool | None]:  # fmt: skip
    """Look at the whole file, and at its MAC by the keys that are given, or by those of the host that is there."""
    head = verify_untrusted(file, name, None).head
    mac_key: bytes | None = None
    if keys is not None:
        versions = {_version_of(role): key for role, key in keys.items() if _version_of(role)}
        if versions:
            prk = key_schedule.extract(_install_of(head), versions[max(versions)])
            mac_key = key_schedule.backup_mac_key(prk)
    elif path.exists():
        with suppress(ConfigError):
            there = load_config(path)
            mac_key = mac_key_of(there) if there.install_id.hex() == head.install else None
    found = verify_untrusted(file, name, mac_key)
    return found.head, found.is_ours


def _install_of(head: HostHead) -> bytes:
    try:
        return bytes.fromhex(head.install)
    except ValueError:
        raise ConfigError("the backup does not say of which installation it is") from None


def _version_of(role: str) -> int:
    """Return the version of master_key that a name stands for, `master_key` or `master_key.2`; 0 for another name."""
    name, _, version = role.partition(".")
    if name != "master_key" or (version and not (version.isascii() and version.isdigit() and len(version) < 10)):
        return 0
    return int(version or "1")


def _small(file: BinaryIO) -> tuple[Small, ArchiveEntry | None]:
    """Read what comes before the state, and the first entry of that."""
    small = Small()
    for entry in entries_untrusted(file):
        if entry.section == PACKAGES or entry.section.startswith(f"{STATE}/"):
            return small, entry
        small.take(file, entry)
    return small, None


def _identity(config: Config, uids: bytes | None) -> Uids:
    known = parse_numbers(uids, config.state_dir / UIDS) if uids is not None else {}
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return identify(config, os.geteuid(), parse_id_map(file.read()), known)


@contextmanager
def _one_restore(config: Config) -> Generator[None]:
    """Exclude another restore to these places, also where there is nothing yet that a host could lock.

    Raises NothingRestored. The folders above the places stay, so that their locks mean something.
    """
    held = list[int]()
    try:
        for folder in sorted({Path(os.path.realpath(one.parent)) for one in (config.path, config.state_dir)}):
            with as_config_error("make the folder", folder):
                os.makedirs(folder, 0o755, exist_ok=True)
                held.append(open_folder(folder))
            fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise NothingRestored("another restore or `seal` works here now: wait for its end") from None
    finally:
        for descriptor in held:
            os.close(descriptor)


@contextmanager
def _alone(config: Config) -> Generator[None]:
    """Hold the lock of the host that is there, so that none starts meanwhile. Raises NothingRestored if one runs."""
    folders = {config.state_dir}
    if config.path.exists():
        with suppress(ConfigError):
            folders.add(load_config(config.path).state_dir)
    held = list[int]()
    try:
        for folder in folders:
            if folder.is_dir():
                held.append(take_lock(folder / "lock", wait_s=0.0))
        yield
    except AlreadyRunning:
        raise NothingRestored("a host runs here: stop it with `tlsrt-supervisor stop`, and restore then") from None
    finally:
        for descriptor in held:
            os.close(descriptor)


def _check_places(config: Config, files: Iterable[Path], *, is_ours: bool, is_forced: bool) -> None:
    """Refuse, unless it is forced, to replace what is there and to write outside of the host for an unknown writer.

    The places of files come from the configuration in the backup. Raises NothingRestored.
    """
    if is_forced:
        return
    files = list(files)
    if there := [place for place in (config.state_dir, *files) if _is_something(place)]:
        raise NothingRestored(
            f"{there[0]} is there already, so nothing was changed: name another configuration, or --force to put the "
            "backup in its place (what is there is kept under another name)"
        )
    folder = os.path.realpath(config.path.parent)
    outside = [place for place in files if not Path(os.path.realpath(place.parent)).is_relative_to(folder)]
    if outside and not is_ours:
        raise NothingRestored(
            f"{outside[0]} is outside of {folder}, and who has written the backup was not checked, so nothing was "
            "changed: give its keys with --keys, or --force if you know who has written it"
        )


def _is_something(place: Path) -> bool:
    try:
        return bool({*os.listdir(place)} - {"lock"}) if place.is_dir() else os.path.lexists(place)
    except OSError:
        return True


def _token_mode(config: Config) -> int:
    """Return the mode of the boot token, no secret: the user of a service reads it, and as one before it was read."""
    is_of_system = not config.state_dir.is_relative_to(config.path.parent)  # as `init --system` makes it
    return 0o644 if is_of_system else token_mode(config.boot_token)


def _placed(
    config: Config, data: bytes, small: Small, keys: Mapping[str, bytes] | None
) -> list[tuple[Path, bytes, int]]:  # fmt: skip
    """Return files and keys with their places and modes. Raises ConfigError for one without a place."""
    placed, found = [(config.path, data, 0o644)], places(config)
    for role, content in small.sections[FILES].items():
        if role != UIDS:
            placed.append((_place(found, role, ROLES), content, _token_mode(config) if role == "boot_token" else 0o644))
    for role, content in (keys or {}).items():
        if (version := _version_of(role)) and config.master_key.provider == "file":
            placed.append((key_path(config.master_key, version), content, 0o600))
        else:
            placed.append((_place(found, role, KEY_ROLES), content, 0o600))
    return placed


def _place(found: Mapping[str, Path | None], role: str, roles: Iterable[str]) -> Path:
    place = found.get(role) if role in roles else None
    if place is None:
        raise ConfigError(f"the backup has a {role!r} that the configuration has no place for")
    return place
