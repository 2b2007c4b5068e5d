"""`backup create` and `backup verify`: the whole host in one file, and its keys in another.

It is taken while the host runs. What a process has is copied and looked at before and after; where it has changed
meanwhile, it is done again, so each part is one that the disk had at one moment, as after a power cut. Of the authority
the audit log comes before the state, which may only be newer than that. Keys are in no backup: `--with-keys` writes
them into a file of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from tlsrt import __version__
from tlsrt.command_line.table import Document
from tlsrt.config import files, key_schedule
from tlsrt.config.document import MAX_FILE_BYTES, read_files
from tlsrt.config.files import as_config_error, move, open_folder, open_regular, read_bounded
from tlsrt.config.init import key_in_force
from tlsrt.config.isolation import packages_folder
from tlsrt.config.key_providers import key_paths
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, InvalidArgument
from tlsrt.supervisor.cli.backup.archive import (
    CONFIG,
    CONFIG_DROP_INS,
    DROP_INS,
    FILES,
    KEYS,
    KEYS_MAGIC,
    PACKAGES,
    STATE,
    ArchiveWriter,
    HostHead,
    verify_untrusted,
)
from tlsrt.supervisor.cli.component.addition import begin
from tlsrt.supervisor.cli.component.journal import whole_config
from tlsrt.supervisor.cli.component.state_file import Changed, stamps
from tlsrt.supervisor.cli.exchange import config_of
from tlsrt.supervisor.process.uids import AUTHORITY
from tlsrt.supervisor.process.uids import FILE as UIDS
from tlsrt.text import printable, size

RECORD = "backup.json"  # in the state folder: when the last one was made, for `doctor`
ROLES = ("boot_token", "door.certificate", "door.client_ca", "door.crl")
KEY_ROLES = ("door.key", "door.client_ca_key")
FILE_MAX = 16 << 20
_TRIES = 8
_PAUSE_S = 0.25  # before another try
_COARSE_S = 0.02  # longer than the times of files are coarse


def create(arguments: argparse.Namespace) -> Document:
    """Write a backup, and perhaps the keys."""
    config = whole_config(arguments)
    now = datetime.now(UTC)
    target = _target(config, arguments.file, now)
    keys = Path(os.path.abspath(arguments.with_keys)) if arguments.with_keys else None
    if keys == target:
        raise InvalidArgument("the keys go into a file of their own, to be kept elsewhere: name another one")
    mac_key, notes = mac_key_of(config), list[str]()
    if mac_key is None:
        notes.append("master_key cannot be read here, so the backup has no MAC: an edited one is not recognised")
    head = HostHead(
        config.install_id.hex(), __version__, now.isoformat(timespec="seconds"), config.path.name,
        sorted(one.name for one in config.state_dir.iterdir() if one.is_dir()) if config.state_dir.is_dir() else [],
    )  # fmt: skip
    with begin(config):
        with _written(target) as out:
            archive = ArchiveWriter(out, head)
            _put_files(archive, config)
            for process in head.sections:
                _put_process(archive, config, process)
            if (packages := packages_folder(config.path)).is_dir():
                archive.add_folder(PACKAGES, packages)  # `component` changes them, and waits for us
            archive.finish(mac_key)
        if keys is not None:
            with _written(keys) as out:
                _put_keys(ArchiveWriter(out, head, KEYS_MAGIC), config, mac_key)
    if config.variables:
        notes.append(f"values of variables are not in it: {', '.join(config.variables)}")
    if keys is not None and not any(path.exists() for path in key_paths(config.master_key)):
        notes.append(f"master_key is not in {keys}: it has no file here, so keep the copy that you have")
    with suppress(ConfigError):  # it is a note for `doctor` only
        text = json.dumps({"at": head.made, "file": str(target)})
        files.replace(config.state_dir / RECORD, f"{text}\n".encode(), 0o644)
    return {
        "file": str(target), "bytes": target.stat().st_size, "keys": str(keys) if keys else None, "made": head.made,
        "has_mac": mac_key is not None, "left_out": archive.left_out, "notes": notes,
    }  # fmt: skip


def create_lines(answer: Document) -> list[str]:
    found = [f"the host is in {answer['file']} ({size(answer['bytes'])}), which only you may read"]
    if answer["keys"]:
        found.append(f"its keys are in {answer['keys']}: keep that file elsewhere; who has both has the host")
    else:
        found.append("no key is in it: without a copy of them (`--with-keys FILE`) it cannot be restored elsewhere")
    found += [f"left out: {printable(line, 300)}" for line in answer["left_out"]]
    return found + [f"note: {note}" for note in answer["notes"]]


def verify(arguments: argparse.Namespace) -> Document:
    """Look at all of a backup, and at its MAC where the host's key can be read."""
    mac_key: bytes | None = None
    with suppress(ConfigError):
        mac_key = mac_key_of(config_of(arguments))
    with opened(arguments.file) as file:
        found = verify_untrusted(file, arguments.file, mac_key)
    return {
        "file": arguments.file, "install": found.head.install, "version": found.head.version, "made": found.head.made,
        "processes": found.head.sections,
        "mac": "right" if found.is_ours else "not checked" if found.has_mac else "none",
    }  # fmt: skip


def verify_lines(answer: Document) -> list[str]:
    words = {
        "right": "it was written with the master_key of this host",
        "not checked": "it is whole; who has written it was not checked, as this host's master_key is not at hand",
        "none": "it is whole; it has no MAC, so who has written it cannot be told",
    }
    return [f"{answer['file']}: tlsrt {answer['version']}, made {answer['made']}", words[answer["mac"]]]


def mac_key_of(config: Config) -> bytes | None:
    """Return the key of the MAC; None where master_key cannot be read."""
    try:
        key, _ = key_in_force(config)
    except ConfigError:
        return None
    return key_schedule.backup_mac_key(key_schedule.extract(config.install_id, key))


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a backup for reading; never waits on a fifo or device."""
    with open(open_regular(Path(path), "the backup"), "rb") as file:
        yield file


def places(config: Config) -> dict[str, Path | None]:
    """Return where the files of a host lie that are not its configuration, by their roles."""
    door = config.door
    paths = (config.boot_token, door.certificate, door.client_ca, door.crl, door.key, door.client_ca_key)
    return dict(zip((*ROLES, *KEY_ROLES), paths, strict=True))


def _target(config: Config, named: str, now: datetime) -> Path:
    path = Path(os.path.abspath(named))
    if path.is_dir():
        path /= f"tlsrt-{now:%Y%m%dT%H%M%SZ}.backup"
    if path.is_relative_to(config.state_dir):
        raise InvalidArgument("a backup beside the state is lost with it: name a file elsewhere")
    return path


@contextmanager
def _written(target: Path) -> Iterator[BinaryIO]:
    """Give a new file of mode 0600 that takes its place when it is whole."""
    beside = target.with_name(f".{target.name}.{os.getpid()}.new")
    with as_config_error("write", beside):
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as out:
            yield out
            with as_config_error("write", beside):
                out.flush()
                os.fsync(descriptor)
        move(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def _put_files(archive: ArchiveWriter, config: Config) -> None:
    files_read = read_files(config.path)
    archive.add_file(CONFIG, config.path.name, files_read.main)
    for name, text in files_read.more.items():
        archive.add_file(CONFIG_DROP_INS, name, text)
    for name, data in files_read.components.items():
        if isinstance(data, ConfigError):
            archive.left_out.append(f"{DROP_INS}/{name} ({data.problems[0]})")
        else:
            archive.add_file(DROP_INS, name, data)
    for role in ROLES:
        path = places(config)[role]
        if path is not None and os.path.lexists(path):
            archive.add_file(FILES, role, read_bounded(path, FILE_MAX, "the file"))
    uids = config.state_dir / UIDS
    if os.path.lexists(uids):
        archive.add_file(FILES, UIDS, read_bounded(uids, MAX_FILE_BYTES, "the uids", follow=False))


def _put_process(archive: ArchiveWriter, config: Config, process: str) -> None:
    folder, section = config.state_dir / process, f"{STATE}/{process}"
    if process == AUTHORITY:
        _again(archive, "the authority", lambda: _put_authority(archive, section, folder))
        return

    def put() -> None:
        before = stamps(folder)
        time.sleep(_COARSE_S)  # what is written from now on has another time
        archive.add_folder(section, folder)
        if stamps(folder) != before:
            raise Changed

    _again(archive, process, put)


def _put_authority(archive: ArchiveWriter, section: str, folder: Path) -> None:
    """Add the audit log, which only grows, and then the state, which is replaced whole."""
    archive.add_entry(section)
    with as_config_error("read", folder):
        within = open_folder(folder, follow=False)  # the state may be another user's, and this root's
    try:
        for one in sorted(folder.iterdir(), key=lambda path: (not path.is_dir(), path.name)):
            if one.is_symlink():
                archive.left_out.append(f"{section}/{one.name} (a link)")
            elif one.is_dir():
                archive.add_folder(f"{section}/{one.name}", one)
            elif one.is_file():
                data = read_bounded(one, FILE_MAX, "the state", follow=False, within=within)
                archive.add_file(section, one.name, data)
    finally:
        os.close(within)


def _again(archive: ArchiveWriter, what: str, put: Callable[[], None]) -> None:
    for _ in range(_TRIES):
        mark = archive.mark()
        try:
            put()
            return
        except Changed:
            archive.back_to(mark)
            time.sleep(_PAUSE_S)
    raise ConfigError(
        f"{what} writes all the time, so no copy is of one moment: stop the host, and take the backup then"
    )


def _put_keys(archive: ArchiveWriter, config: Config, mac_key: bytes | None) -> None:
    for path in key_paths(config.master_key):
        if path.exists():
            assert config.master_key.path is not None
            archive.add_file(KEYS, f"master_key{path.name.removeprefix(config.master_key.path.name)}", _key(path))
    for role in KEY_ROLES:
        if (place := places(config)[role]) is not None:
            archive.add_file(KEYS, role, _key(place))
    archive.finish(mac_key)


def _key(path: Path) -> bytes:
    return read_bounded(path, FILE_MAX, "the key")
