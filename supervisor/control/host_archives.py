"""Archives of the whole host for components: a child copies all, seals it, and says it into a pipe.

The supervisor passes on what it does not look into: the key, from the authority to the child; and the end of the pipe,
to the component. The plain copy is a file without a name on the disk of the state, and goes with the child. A restore
of it is tried, and only then the pipe is given: what cannot be restored is no backup.
"""

from __future__ import annotations

import fcntl
import io
import os
import signal
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from tlsrt.config.drop_ins import JOURNAL, drop_in_folder
from tlsrt.config.files import open_folder, read_up_to, write_all
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.sandbox import syscalls
from tlsrt.supervisor.archive.host_archive import ArchiveWriter
from tlsrt.supervisor.archive.host_content import head_of, put_host
from tlsrt.supervisor.archive.host_trial import try_restore
from tlsrt.supervisor.archive.sealed_archive import SALT_BYTES, SealedHead, seal
from tlsrt.supervisor.process.event_loop import EventLoop, Timer
from tlsrt.supervisor.process.spawn import SpawnedChild, spawn

KEEP_FREE_BYTES = 64 << 20  # on the disk of the state, which all processes share
LONGEST_S = 1800.0  # who asks may read slowly; then the pipe ends before its last piece
_LOOK_EVERY = 8 << 20  # bytes between two looks at the room
_SAID_MOST = 4096
_KEY_BYTES = 32
_NICE = 10
_READY, _FAILED = b"+", b"-"
_ENDED = "the process that writes it has ended before it was done"


class HostArchives:
    """Makes one archive at a time."""

    def __init__(self, event_loop: EventLoop) -> None:
        self._event_loop = event_loop
        self._child: SpawnedChild | None = None
        self._reader = self._pipe = -1
        self._said = bytearray()
        self._timer: Timer | None = None
        self._on_ready: Callable[[int], None] = lambda pipe: None
        self._on_failed: Callable[[str], None] = lambda why: None

    @property
    def is_busy(self) -> bool:
        """Whether one is being written."""
        return self._child is not None

    def begin(
        self, config: Config, key: int, on_ready: Callable[[int], None], on_failed: Callable[[str], None]
    ) -> None:  # fmt: skip
        """Fork. Later one of both is called: with a pipe, which is closed after the call, or with a sentence.

        `key` is the descriptor of salt and key, and stays the caller's. Raises OSError.
        """
        self._on_ready, self._on_failed = on_ready, on_failed
        self._said.clear()
        self._reader, said = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._pipe, out = os.pipe2(os.O_CLOEXEC)
        try:
            self._child = spawn(lambda: _in_child(config, key, said, out), own_pid_namespace=False)
        except BaseException:
            os.close(self._reader)
            self._close_pipe()
            raise
        finally:
            os.close(said)
            os.close(out)
        self._event_loop.watch(self._reader, lambda events: self._read())
        self._timer = self._event_loop.call_later(LONGEST_S, self.cancel)

    def cancel(self) -> None:
        """End the one that is being written, if there is one: its pipe ends before its last piece."""
        if self._child is not None:
            self._end()

    def _read(self) -> None:
        try:
            data = os.read(self._reader, _SAID_MOST)
        except BlockingIOError:
            return
        self._said += data
        if data == _READY and self._pipe >= 0:
            self._on_ready(self._pipe)
            self._close_pipe()
        if not data or len(self._said) > _SAID_MOST:
            self._end()

    def _end(self) -> None:
        child, self._child = self._child, None
        assert child is not None
        self._event_loop.forget(self._reader)
        os.close(self._reader)
        if self._timer is not None:
            self._timer.cancel()
        with suppress(ChildProcessError, ProcessLookupError):  # collected with the orphans already
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
        os.close(child.pidfd)
        if self._pipe >= 0:
            self._close_pipe()
            sentence = self._said.decode("utf-8", "replace")
            self._on_failed(sentence[1:] if sentence[:1] == _FAILED.decode() else _ENDED)

    def _close_pipe(self) -> None:
        os.close(self._pipe)
        self._pipe = -1


def _in_child(config: Config, key: int, said: int, out: int) -> int:
    """Copy, try and seal a host; say `+` when the pipe begins, or `-` and a sentence."""
    syscalls.close_all_but(frozenset({0, 1, 2, key, said, out}))
    os.set_blocking(said, True)
    with suppress(OSError):
        os.nice(_NICE)
    try:
        head, plain = head_of(config, datetime.now(UTC)), plain_copy(config.state_dir)
        with _unchanged(config.path):
            archive = ArchiveWriter(plain, head)
            put_host(archive, config, head)
            archive.finish(None)  # who opens what is sealed knows who has written it
            plain.flush()
        try_restore(plain, config.path)
        plain.seek(0)
    except (ConfigError, OSError) as error:
        reason = error.problems[0] if isinstance(error, ConfigError) else os.strerror(error.errno or 0)
        write_all(said, _FAILED + reason.encode("utf-8", "replace")[: _SAID_MOST - 1])
        return 1
    write_all(said, _READY)
    data = read_up_to(key, SALT_BYTES + _KEY_BYTES)
    salt = data[:SALT_BYTES]
    with suppress(BrokenPipeError):  # who has asked does not want it any more
        seal(
            plain, data[SALT_BYTES:], SealedHead(head.install, head.made, salt.hex()),
            lambda data: write_all(out, data),
        )  # fmt: skip
    return 0


class _PlainCopy(io.BufferedRandom):
    """A file that leaves room on its disk. Raises ConfigError."""

    def __init__(self, descriptor: int, folder: Path) -> None:
        super().__init__(io.FileIO(descriptor, "r+"))
        self._folder = folder
        self._since = _LOOK_EVERY  # the first piece is a look

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self._since += len(data)
        if self._since >= _LOOK_EVERY:
            self._since = 0
            room = os.fstatvfs(self.fileno())
            if room.f_bavail * room.f_frsize < KEEP_FREE_BYTES + _LOOK_EVERY:
                raise ConfigError(
                    f"the disk of {self._folder} has less than {KEEP_FREE_BYTES >> 20} MiB left: make room"
                )
        return super().write(data)


def plain_copy(folder: Path) -> io.BufferedRandom:
    """Return a file without a name on the disk of a folder, which only this process has. Raises OSError."""
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:  # a file system without such files
        descriptor, name = tempfile.mkstemp(prefix=".archive.", dir=folder)
        os.unlink(name)
    return _PlainCopy(descriptor, folder)


@contextmanager
def _unchanged(config_path: Path) -> Generator[None]:
    """Keep commands from changing components meanwhile. Raises ConfigError if one does, or was interrupted."""
    try:
        folder = open_folder(drop_in_folder(config_path))
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.path.lexists(drop_in_folder(config_path) / JOURNAL):
            raise ConfigError("a command that changes components was interrupted: `check` completes it")
        yield
    except BlockingIOError:
        raise ConfigError("a command that changes components is at work: try again when it is over") from None
    finally:
        os.close(folder)
