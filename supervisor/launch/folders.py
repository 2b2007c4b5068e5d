"""The folders, log files and boot files of a life: made, owned by whom they belong to, and never through a link."""

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
_LAST_LINE_BYTES = 500


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


def open_log(config: Config, name: str) -> int:
    """Return a descriptor that appends to the log of one process. Raises ConfigError."""
    path = config.log_dir / f"{name}.log"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o640)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError(f"the log {path} is not a regular file: move it away")
        os.set_blocking(descriptor, True)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    return descriptor


def roomy_log(config: Config, name: str, descriptor: int, most_bytes: int) -> int:
    """Return the descriptor of a log with room for another life: a new one if the log has come to half of `most_bytes`.

    RLIMIT_FSIZE, of `most_bytes`, ends what one life can write; the log before becomes NAME.log.1. Where it cannot be
    moved it stays, since a loop without a log is better than none.
    """
    if os.fstat(descriptor).st_size < most_bytes // 2:
        return descriptor
    path = config.log_dir / f"{name}.log"
    try:
        os.replace(path, f"{path}.1")
        renewed = open_log(config, name)
    except (OSError, ConfigError):
        return descriptor
    os.close(descriptor)
    return renewed


def last_line(path: str) -> str:
    """Return the last line of a log, bounded; only for what our own code wrote before any foreign code ran."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LAST_LINE_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    if not lines:
        return ""
    _, found, rest = lines[-1].partition("sandbox layer ")  # without the time of a logged line
    return found + rest if found else lines[-1].removeprefix("tlsrt: ")


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
