"""`backup create` and `backup verify`: the whole host in one file, and its keys in another.

Keys are in no backup: `--with-keys` writes them into a file of their own.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from tlsrt.command_line.table import Document
from tlsrt.config import files, key_schedule
from tlsrt.config.files import as_config_error, move, open_regular, read_bounded
from tlsrt.config.init import key_in_force
from tlsrt.config.key_providers import key_paths
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, InvalidArgument
from tlsrt.supervisor.archive.host_archive import (
    KEYS,
    KEYS_MAGIC,
    ArchiveWriter,
    verify_untrusted,
)
from tlsrt.supervisor.archive.host_content import FILE_MAX, KEY_ROLES, head_of, places, put_host
from tlsrt.supervisor.archive.host_trial import try_restore
from tlsrt.supervisor.archive.sealed_archive import check_whole_untrusted, is_sealed
from tlsrt.supervisor.cli.backup.unseal import unsealed
from tlsrt.supervisor.cli.component.addition import begin
from tlsrt.supervisor.cli.component.journal import whole_config
from tlsrt.supervisor.cli.exchange import config_of
from tlsrt.text import printable, size

RECORD = "backup.json"  # in the state folder: when the last one was made, for `doctor`


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
    head = head_of(config, now)
    with begin(config):
        with _written(target) as out:
            archive = ArchiveWriter(out, head)
            put_host(archive, config, head)
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
    """Look at all of a backup, and at its MAC where the host's key can be read; what is sealed is opened for it."""
    key, config = None, None
    with suppress(ConfigError):
        config = config_of(arguments)
        key = master_key_of(config)
    name: str = arguments.file
    with opened(name) as file:
        if key is None and is_sealed(file):
            check_whole_untrusted(file, name)
            return {"file": name, "install": None, "version": None, "made": None, "processes": None, "mac": "sealed"}
        with unsealed(file, name, [key] if key is not None else ()) as (plain, was_sealed):
            mac_key = _mac_key(config, key) if config is not None and key is not None else None
            found = verify_untrusted(plain, name, mac_key)
            if was_sealed and config is not None:
                try_restore(plain, config.path)
    return {
        "file": name, "install": found.head.install, "version": found.head.version, "made": found.head.made,
        "processes": found.head.sections,
        "mac": "right" if found.is_ours or was_sealed else "not checked" if found.has_mac else "none",
    }  # fmt: skip


def verify_lines(answer: Document) -> list[str]:
    words = {
        "right": "it was written with the master_key of this host",
        "not checked": "it is whole; who has written it was not checked, as this host's master_key is not at hand",
        "none": "it is whole; it has no MAC, so who has written it cannot be told",
    }
    if answer["mac"] == "sealed":
        return [f"{answer['file']}: it was written to its end; its host's master_key is not at hand to look into it"]
    return [f"{answer['file']}: tlsrt {answer['version']}, made {answer['made']}", words[answer["mac"]]]


def master_key_of(config: Config) -> bytes | None:
    """Return master_key; None where it cannot be read."""
    try:
        return bytes(key_in_force(config)[0])
    except ConfigError:
        return None


def mac_key_of(config: Config) -> bytes | None:
    """Return the key of the MAC; None where master_key cannot be read."""
    key = master_key_of(config)
    return None if key is None else _mac_key(config, key)


def _mac_key(config: Config, key: bytes) -> bytes:
    return key_schedule.backup_mac_key(key_schedule.extract(config.install_id, key))


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a backup for reading; never waits on a fifo or device."""
    with open(open_regular(Path(path), "the backup"), "rb") as file:
        yield file


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
