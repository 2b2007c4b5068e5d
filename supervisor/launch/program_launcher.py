"""The launcher: the first and unprivileged half of a program's process, from the fork to its one execve.

It gives up everything, is looked at by the supervisor, and only then reads what the component has written: the
arguments, from the socket that becomes the program's standard input and output. What it says to the supervisor is one
letter at a time. In words it speaks to the component, over what becomes standard error; why it fails it says over a
socket to the supervisor, which shows its last line: until the execve it is our own code. A file would not do, as its
limit may be none.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from tlsrt.channels.control.program_request import (
    LENGTH,
    SPOKEN_MARK,
    decode_request_untrusted,
    request_length_untrusted,
)
from tlsrt.config.argument_patterns import ArgumentError, ArgumentForm, check_arguments_untrusted
from tlsrt.config.program_files import ProgramFiles, changed_file
from tlsrt.config.programs import ProgramConfig
from tlsrt.errors import EX_CONFIG, EX_SOFTWARE, EX_TEMPFAIL, EX_USAGE, PeerError
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.apply.enter import enter_world
from tlsrt.sandbox.apply.root_filesystem import SCRATCH, SECRETS
from tlsrt.sandbox.apply.root_plan import PlannedRoot
from tlsrt.sandbox.profile.fragment import SPOKEN, STATE
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.seccomp.program_sockets import NOTIFY_PATH
from tlsrt.supervisor.process.background import open_session_share, step_back
from tlsrt.supervisor.process.children import LauncherWord, ProgramStart
from tlsrt.supervisor.process.filled_pools import let_go

REQUEST_S = 3.0  # for the component to write its whole request; it does so at once
_LOOK_S = 10.0  # for the supervisor to look at this process
_STDERR = 2
_TALK = 3
_PASSED = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)
_ABOVE = 10  # where descriptors are out of the way of those that a program begins with, if they are few
_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Execution:
    """What is executed, as it was fixed before the fork."""

    path: str
    prefix: tuple[str, ...]
    forms: tuple[ArgumentForm, ...]
    environment: Mapping[str, str]
    folder: str
    files: ProgramFiles
    is_once: bool  # it may execute nothing else afterwards
    processors: int = 0  # that it sees, if not all


def execution_of(program: ProgramConfig, files: ProgramFiles) -> Execution:
    """Return the execution of a program."""
    folder = STATE if program.state_mb else SCRATCH if program.scratch_mb else "/"
    environment = {"PATH": _PATH, "HOME": folder, "LANG": "C.UTF-8"}
    if program.notifies:
        environment["NOTIFY_SOCKET"] = NOTIFY_PATH
    if program.worker:  # some count the processors of the host and not their own
        environment["OMP_NUM_THREADS"] = str(min(program.threads, len(os.sched_getaffinity(0))))
    if files.executable.origin:
        environment["LD_ORIGIN_PATH"] = files.executable.origin  # there is no /proc in which the loader would look
    return Execution(
        files.executable.path, files.executable.prefix, program.args, environment | dict(program.environment),
        folder, files, not program.also_runs, program.threads if program.worker else 0,
    )  # fmt: skip


def run_program(start: ProgramStart, profile: Profile, root: PlannedRoot | None, execution: Execution) -> int:
    """In the child: enter the sandbox, take the arguments, execute. Return an exit code if that is not to be."""
    let_go()
    for descriptor in (1, _STDERR):
        os.dup2(start.log, descriptor, inheritable=False)
    start = _placed(start)
    begins_with = (*(() if start.talk is None else (start.talk,)), *(one for _, one in start.passed))
    if execution.processors:
        os.sched_setaffinity(0, _some_processors(execution.processors))
    number = (int.from_bytes(os.urandom(8), "big") or 1) if execution.is_once else 0
    share = open_session_share() if profile.is_background else None
    kept = {start.data, start.errors, start.control, *begins_with} | ({share} if share is not None else set())
    confinement = enter_world(
        profile, kept, death_pipe=start.control, reports=start.reports,
        plan=root.plan if root else None, once=number,
    )  # fmt: skip
    if profile.is_background:
        step_back(share)
    if profile.speaks_by_name and "mount_namespace" not in profile.waived:
        _give_spoken(start)
    secrets = [os.open(f"{SECRETS}/{name}", os.O_WRONLY | os.O_CLOEXEC) for name in profile.secrets]
    confinement.drop()
    program = os.open(execution.path, os.O_PATH | os.O_CLOEXEC)
    control = socket.socket(fileno=start.control)
    if changed := changed_file(execution.files):
        _say(start.errors, f"{changed} has changed since the host was sealed: seal and reload")
        _tell(control, LauncherWord.CHANGED)
        return EX_CONFIG
    confinement.hand_over_listener()
    _tell(control, LauncherWord.SEALED)
    if not _is_let_go(control):
        return EX_TEMPFAIL
    try:
        arguments = _read_arguments_untrusted(start.data)
        check_arguments_untrusted(arguments, execution.forms)
        if secrets:
            _fill(secrets, _read_arguments_untrusted(start.data))
    except (ArgumentError, PeerError) as error:
        reason = error.reason if isinstance(error, PeerError) else str(error)
        _say(start.errors, f"arguments refused: {reason}")
        _tell(control, LauncherWord.REFUSED)
        return EX_USAGE
    _tell(control, LauncherWord.EXECUTING)
    log = os.dup(_STDERR)  # closed by execve
    try:
        _execute(start, program, execution, arguments, number)
    except OSError as error:
        for descriptor in (start.errors, log):
            _say(descriptor, f"cannot execute {execution.path}: {error.strerror}")
        _tell(control, LauncherWord.FAILED)
    return EX_SOFTWARE


def _placed(start: ProgramStart) -> ProgramStart:
    """Return the same with the descriptors from 3 on in their places, and nothing else of it there.

    That is where it talks, or what is passed: no program has both.
    """
    firsts = [one for _, one in start.passed] if start.talk is None else [start.talk]
    above = max(_ABOVE, _PASSED + len(firsts))

    def move(descriptor: int) -> int:
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, above)
        os.close(descriptor)
        return moved

    if not firsts:
        return start
    reports = None if start.reports is None else move(start.reports)
    data, errors, control, *firsts = map(move, (start.data, start.errors, start.control, *firsts))
    for number, one in enumerate(firsts, _PASSED):
        os.dup2(one, number, inheritable=False)
        os.close(one)
    passed = tuple((name, number) for number, (name, _) in enumerate(start.passed, _PASSED))
    talk = None if start.talk is None else _TALK
    return replace(start, data=data, errors=errors, control=control, reports=reports, talk=talk, passed=passed)


def _some_processors(count: int) -> set[int]:
    """Return so many of the processors that there are; not always the same ones, as others are given some, too."""
    here = sorted(os.sched_getaffinity(0))
    first = os.urandom(1)[0] % len(here)
    return {*(here[first:] + here[:first])[:count]}


def _tell(control: socket.socket, word: LauncherWord) -> None:
    with suppress(OSError):  # the supervisor has ended, and so do we
        control.send(word.value, socket.MSG_NOSIGNAL)


def _say(errors: int, sentence: str) -> None:
    with suppress(OSError):
        os.write(errors, f"tlsrt: {sentence}\n".encode("utf-8", "backslashreplace"))


def _give_spoken(start: ProgramStart) -> None:
    """Give the component the pipes that this root has for output by name, and where what comes there belongs.

    Each open for both ends: so it finds no end when the program closes one, and opens it again.
    """
    pipes = [os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC) for path in SPOKEN]
    with socket.socket(fileno=os.dup(start.errors)) as errors, suppress(OSError):  # its component has ended
        socket.send_fds(errors, [SPOKEN_MARK], [*pipes, start.data, start.errors], socket.MSG_NOSIGNAL)
    for one in pipes:
        os.close(one)


def _fill(secrets: Sequence[int], values: Sequence[bytes]) -> None:
    """Write each secret to its file; nothing can afterwards. Raises PeerError if they are not as many."""
    if len(values) != len(secrets):
        raise PeerError("not_its_secrets")
    for descriptor, value in zip(secrets, values, strict=True):
        with os.fdopen(descriptor, "wb") as file:
            file.write(value)


def _is_let_go(control: socket.socket) -> bool:
    poll = select.poll()
    poll.register(control, select.POLLIN)
    return bool(poll.poll(_LOOK_S * 1000)) and control.recv(1) == LauncherWord.GO.value


def _read_arguments_untrusted(data: int) -> list[bytes]:
    """Read one request and not a byte more. Raises PeerError, also for one that does not come."""
    end = time.monotonic() + REQUEST_S
    length = request_length_untrusted(_read_exactly(data, LENGTH.size, end))
    return decode_request_untrusted(_read_exactly(data, length, end))


def _read_exactly(data: int, count: int, end: float) -> bytes:
    poll = select.poll()
    poll.register(data, select.POLLIN)
    pieces: list[bytes] = []
    while count:
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            raise PeerError("late")
        piece = os.read(data, count)
        if not piece:
            raise PeerError("closed")
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _execute(
    start: ProgramStart, program: int, execution: Execution, arguments: Sequence[bytes], number: int
) -> None:  # fmt: skip
    """execveat(2) of a descriptor that was opened in the sealed root. Raises OSError; else it does not return."""
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)  # what is ignored stays ignored in a program, and surprises it
    os.chdir(execution.folder)
    words = [os.fsencode(text) for text in (execution.path, *execution.prefix)] + [*arguments]
    environment = {**execution.environment, **_listen_variables(start.passed)}
    texts = [os.fsencode(f"{name}={value}") for name, value in environment.items()]
    vectors = [(ctypes.c_char_p * (len(each) + 1))(*each, None) for each in (words, texts)]
    spare = os.dup(start.errors)  # says what follows if it fails; closed by execve, as is all but 0, 1 and 2
    for descriptor, source in ((0, start.data), (1, start.data), (_STDERR, start.errors)):
        os.dup2(source, descriptor, inheritable=True)
    for descriptor in (*(() if start.talk is None else (start.talk,)), *(one for _, one in start.passed)):
        os.set_inheritable(descriptor, True)
    for _, descriptor in start.passed:
        os.set_blocking(descriptor, True)  # as a service manager passes them
    try:
        syscalls.call("execveat", program, b"", *vectors, syscalls.AT_EMPTY_PATH, number)
    finally:
        os.dup2(spare, start.errors, inheritable=False)


def _listen_variables(passed: Sequence[tuple[str, int]]) -> dict[str, str]:
    """Return what sd_listen_fds(3) reads. The number of this process stays the same over its execve."""
    if not passed:
        return {}
    names = ":".join(name for name, _ in passed)
    return {"LISTEN_FDS": str(len(passed)), "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": names}
