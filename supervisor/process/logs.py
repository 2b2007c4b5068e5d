"""The log files of the processes: opened for appending, moved away when they are long, and never through a link."""

from __future__ import annotations

import errno
import os
import re
import stat

from tlsrt import text
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.sandbox import syscalls

_LAST_LINE_BYTES = 500
_WORDS_BYTES = 4096  # what is read of a log for its last line
_WORDS = 400  # characters of it that are shown
_LOGGED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8},[0-9]{3} [A-Z]{1,8} [\w./-]{1,80}: ")  # as `logging` begins


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


def last_words(path: str) -> str:
    r"""Return the last line that a process has written to its log: one printable line of at most 400 characters.

    These are words of a process that may be captured. So they are read as bytes, a fixed number of them; what could
    steer a terminal or end the line becomes an escape (`\x1b`); and who shows them says whose they are. The life
    channel stays free of text, and nothing is ever decided by them. Never waits for a disk: what is not in memory is
    not read, and nothing is returned then.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        found = os.fstat(descriptor)
        data = (
            read_at_once(descriptor, max(0, found.st_size - _WORDS_BYTES), _WORDS_BYTES)
            if stat.S_ISREG(found.st_mode)
            else b""
        )
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    lines = data.rstrip(b"\n").rsplit(b"\n", 1)
    words = lines[-1].decode(errors="replace")
    return text.printable(_LOGGED.sub("", words, count=1), _WORDS)


def read_at_once(descriptor: int, offset: int, most: int, *, is_new: bool = False) -> bytes:
    """Read what is in memory: preadv2(2) with RWF_NOWAIT, or a file system that is nothing but memory.

    Others that do not know that flag, such as those of a network, may wait: nothing is read of them. An overlayfs does
    not know it either, but what is new there was written a moment ago, to a disk of this machine.
    """
    data = bytearray(most)
    try:
        count = os.preadv(descriptor, [data], offset, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        if not syscalls.is_in_memory(descriptor) and not (is_new and syscalls.is_in_overlay(descriptor)):
            raise
        count = os.preadv(descriptor, [data], offset)
    return bytes(data[:count])
