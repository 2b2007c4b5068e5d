"""The folders of a life: made, owned by the uid they belong to, and never through a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_TO_PASS = 0o711  # every loop's uid passes through, none may list
_PRIVATE = 0o700


def make_folder(folder: Path) -> None:
    """Make one folder of ours with its parents. Raises ConfigError."""
    _make_parents(folder)
    _make(folder, _OPEN_TO_PASS, os.geteuid())


def make_folders(config: Config, uid: Callable[[str], int]) -> None:
    """Make every folder that a process will be given. `uid` says whose they are. Raises ConfigError."""
    for folder in (config.state_dir, config.run_dir, config.run_dir / "channel"):
        make_folder(folder)
    _make_parents(config.log_dir)
    _make(config.log_dir, 0o750, os.geteuid())
    _make(config.state_dir / "authority", _PRIVATE, uid("authority"))
    for loop in config.loops:
        _make(config.state_dir / loop.name, _PRIVATE, uid(loop.name))
        _make(config.run_dir / "channel" / loop.name, _PRIVATE, uid(loop.name))


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


def _give(folder: Path, descriptor: int, mode: int, uid: int) -> None:
    status = os.fstat(descriptor)
    if status.st_uid != uid:
        if status.st_uid != os.geteuid() and os.listdir(descriptor):
            raise ConfigError(
                f"{folder} belongs to uid {status.st_uid}, but its process runs as uid {uid}: "
                f"run `chown -R {uid}:{uid} {folder}` if that is intended"
            )
        os.fchown(descriptor, uid, uid if uid != os.geteuid() else -1)
    if stat.S_IMODE(status.st_mode) != mode:
        os.fchmod(descriptor, mode)
