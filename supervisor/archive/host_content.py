"""What a host's backup holds: configuration, files, and the state of each process, each part of one moment.

It is taken while the host runs. What a process has is copied and looked at before and after; where it has changed
meanwhile, it is done again, so each part is one that the disk had at one moment, as after a power cut. Of the authority
the audit log comes before the state, which may only be newer than that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tlsrt import __version__
from tlsrt.config.document import MAX_FILE_BYTES, read_files
from tlsrt.config.files import as_config_error, open_folder, read_bounded
from tlsrt.config.isolation import packages_folder
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.supervisor.archive.host_archive import (
    CONFIG,
    CONFIG_DROP_INS,
    DROP_INS,
    FILES,
    PACKAGES,
    STATE,
    ArchiveWriter,
    HostHead,
)
from tlsrt.supervisor.archive.state_file import Changed, stamps
from tlsrt.supervisor.process.uids import AUTHORITY
from tlsrt.supervisor.process.uids import FILE as UIDS

ROLES = ("boot_token", "door.certificate", "door.client_ca", "door.crl")
KEY_ROLES = ("door.key", "door.client_ca_key")
FILE_MAX = 16 << 20
_TRIES = 8
_PAUSE_S = 0.25  # before another try
_COARSE_S = 0.02  # longer than the times of files are coarse


def head_of(config: Config, now: datetime) -> HostHead:
    """Return whose backup it is, with the processes that have a state."""
    return HostHead(
        config.install_id.hex(), __version__, now.isoformat(timespec="seconds"), config.path.name,
        sorted(one.name for one in config.state_dir.iterdir() if one.is_dir()) if config.state_dir.is_dir() else [],
    )  # fmt: skip


def places(config: Config) -> dict[str, Path | None]:
    """Return where the files of a host lie that are not its configuration, by their roles."""
    door = config.door
    paths = (config.boot_token, door.certificate, door.client_ca, door.crl, door.key, door.client_ca_key)
    return dict(zip((*ROLES, *KEY_ROLES), paths, strict=True))


def put_host(archive: ArchiveWriter, config: Config, head: HostHead) -> None:
    """Put all of a host that is no key. Raises ConfigError, also for a process that writes all the time."""
    _put_files(archive, config)
    for process in head.sections:
        _put_process(archive, config, process)
    if (packages := packages_folder(config.path)).is_dir():
        archive.add_folder(PACKAGES, packages)  # `component` changes them, and waits for us


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
