"""The folders of a life: made, owned by the uid they belong to, and never through a link but root's own.

A folder that exists and is not empty is never given away. systemd's DynamicUser= makes /var/lib/X a link of root's to
private/X, which is followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from tlsrt.config.bus_proxies import FOLDER as BUS_FOLDER
from tlsrt.config.schema import Config
from tlsrt.config.trusted_path import foreign_root
from tlsrt.errors import ConfigError
from tlsrt.sandbox.profile.program_profile import slots_with_state

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_TO_PASS = 0o711  # every loop's uid passes through, none may list
_PRIVATE = 0o700


def make_folder(folder: Path) -> None:
    """Make one folder of ours with its parents. Raises ConfigError."""
    _make_parents(folder)
    _make(_followed(folder), _OPEN_TO_PASS, os.geteuid())


def make_folders(config: Config, uid: Callable[[str], int]) -> None:
    """Make every folder that a process will be given. `uid` says whose they are. Raises ConfigError."""
    for folder in (config.state_dir, config.run_dir, config.run_dir / "channel"):
        make_folder(folder)
    _make_parents(config.log_dir)
    _make(_followed(config.log_dir), 0o750, os.geteuid())
    _make(config.run_dir / BUS_FOLDER, _PRIVATE, os.geteuid())
    _make(config.state_dir / "authority", _PRIVATE, uid("authority"))
    for loop in config.loops:
        _make(config.state_dir / loop.name, _PRIVATE, uid(loop.name))
        _make(config.run_dir / "channel" / loop.name, _PRIVATE, uid(loop.name))
    for slot in slots_with_state(config):
        _make(config.state_dir / slot, _PRIVATE, uid(slot))


def states_left_behind(config: Config, uid: Callable[[str], int]) -> list[str]:
    """Return a sentence for each component that ran in its loop's process before, and whose state lies there still."""
    found: list[str] = []
    for component in config.components:
        before = config.state_dir / component.loop / component.name
        now = config.state_dir / component.process / component.name
        if component.part and _has_files(before) and not _has_files(now):
            found.append(
                f"the state of {component.address} is in {before}, and it runs in the process {component.process} now: "
                f"stop tlsrt, move it to {now}, and give it to uid {uid(component.process)}"
            )
    return found


def _has_files(folder: Path) -> bool:
    try:
        return bool(os.listdir(folder))
    except OSError:
        return False


def _make_parents(folder: Path) -> None:
    try:
        folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder.parent}: {error.strerror}") from None


def _make(folder: Path, mode: int, uid: int) -> None:
    try:
        if not os.path.lexists(folder):
            os.mkdir(folder, _PRIVATE)
        descriptor = os.open(folder, _FOLDER_FLAGS)
    except OSError as error:
        raise ConfigError(f"cannot use the folder {folder}: {error.strerror}") from None
    try:
        _give(folder, descriptor, mode, uid)
    except OSError as error:
        raise ConfigError(f"cannot give the folder {folder} to uid {uid}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _followed(folder: Path) -> Path:
    """Return where a link of root's leads that lies where only root writes; any other path as it is."""
    if not os.path.islink(folder):
        return folder
    status = os.lstat(folder)
    above = os.stat(folder.parent)
    root = {0, *foreign_root()}
    is_roots = {status.st_uid, above.st_uid} <= root and not above.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return Path(os.path.realpath(folder)) if is_roots else folder


def _give(folder: Path, descriptor: int, mode: int, uid: int) -> None:
    status = os.fstat(descriptor)
    if status.st_uid != uid:
        if os.listdir(descriptor):  # what is in it may be anything, and its new owner could take it
            raise ConfigError(
                f"{folder} belongs to uid {status.st_uid}, but its process runs as uid {uid}: "
                f"run `chown -R {uid}:{uid} {folder}` if that is intended"
            )
        os.fchown(descriptor, uid, uid if uid != os.geteuid() else -1)
    if stat.S_IMODE(status.st_mode) != mode:
        os.fchmod(descriptor, mode)
