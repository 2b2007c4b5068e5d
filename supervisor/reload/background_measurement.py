"""Measure the host's files again in a child, or look through packages, while the supervisor goes on with its work."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgpack

from tlsrt.config.files import write_all
from tlsrt.config.package_survey import Survey, pack_survey, unpack_survey
from tlsrt.errors import ConfigError, TlsrtError
from tlsrt.sandbox import syscalls
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.measurement import LIMIT, measured, unpacked
from tlsrt.supervisor.process.spawn import spawn

_SURVEY = "survey"


class BackgroundMeasurement:
    """One measurement while the supervisor lives; `on_done` gets it as msgpack, or a ConfigError. Closes itself."""

    def __init__(
        self,
        event_loop: EventLoop,
        measure: Callable[[], dict[str, bytes]],
        on_done: Callable[[bytes | ConfigError], None],
    ) -> None:
        """Fork. Raises OSError."""
        self._event_loop = event_loop
        self._on_done = on_done
        self._answer = bytearray()
        self._reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._child = spawn(lambda: _in_child(writer, measure), own_pid_namespace=False)
        except BaseException:
            os.close(self._reader)
            raise
        finally:
            os.close(writer)
        event_loop.watch(self._reader, lambda events: self._read())

    def cancel(self) -> None:
        """End it without a word."""
        self._on_done = lambda result: None
        self._end()

    def _read(self) -> None:
        try:
            piece = os.read(self._reader, 1 << 16)
        except BlockingIOError:
            return
        self._answer += piece
        if not piece or len(self._answer) > LIMIT:
            self._end()
            try:
                result: bytes | ConfigError = unpacked(bytes(self._answer))
            except ConfigError as error:
                result = error
            self._on_done(result)

    def _end(self) -> None:
        self._event_loop.forget(self._reader)
        os.close(self._reader)
        with suppress(ChildProcessError, ProcessLookupError):  # collected with the orphans already
            signal.pidfd_send_signal(self._child.pidfd, signal.SIGKILL)
            os.waitid(os.P_PIDFD, self._child.pidfd, os.WEXITED)
        os.close(self._child.pidfd)


def packed_survey(survey: Callable[[], Survey]) -> dict[str, bytes]:
    """Look through packages and return what `survey_of` reads; in the child. Raises ConfigError, whatever is wrong."""
    try:
        return {_SURVEY: pack_survey(survey())}
    except Exception as error:
        raise ConfigError(refusal(error)) from error


def refusal(error: Exception) -> Sequence[str]:
    """Return the sentences of a refused reload; a bug of ours must not end a host that runs well."""
    if isinstance(error, ConfigError):
        return error.problems
    if isinstance(error, TlsrtError):
        return [str(error)]
    if isinstance(error, OSError):
        return [f"cannot read {error.filename or 'the new state'}: {error.strerror}"]
    return [f"InternalError: {type(error).__name__}: {error} (a bug of tlsrt; nothing was changed)"]


def survey_of(result: bytes | ConfigError) -> Survey:
    """Return what a child has found in packages. Raises ConfigError, also for what is no survey."""
    if isinstance(result, ConfigError):
        raise result
    return unpack_survey(msgpack.unpackb(result)[_SURVEY])


def _in_child(writer: int, measure: Callable[[], dict[str, bytes]]) -> int:
    syscalls.close_all_but(frozenset({0, 1, 2, writer}))  # it needs nothing of what the supervisor holds
    os.set_blocking(writer, True)
    write_all(writer, measured(measure))
    return 0
