"""The log files of the processes: opened for appending, moved away when they are long, and never through a link."""

from __future__ import annotations

import os
import stat

from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

_LAST_LINE_BYTES = 500


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
