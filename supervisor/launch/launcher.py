"""The light outer process: puts the supervisor into a pid namespace of its own and shares its fate.

    launch  -> unshare(NEWPID), rootless NEWUSER too -> fork -> exec python -I -S: inner -> supervise
       |                                                                     |
       +---- signals by pidfd --->                       PDEATHSIG, death pipe
       +<--- notices for the service manager, see service_manager.py
       +<--- undos that outlive all of it, see undo_relay.py

The kernel then ends every process of the runtime with the supervisor, which is process 1 in there. The exec matters:
it gives the supervisor's memory to the new user namespace, without which /proc of non-dumpable children stays closed
to it. The host's /proc stays mounted, so pids read there are the host's. The inner process has a session of its own,
so Ctrl-C in a terminal reaches the launcher only, and through it the supervisor once.

Where the namespace cannot be had nothing is printed: `--no-pid-namespace REASON` tells the supervisor, which knows
whether the operator has waived it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from tlsrt.config.import_path import inner_command
from tlsrt.errors import SandboxError
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.cgroup.delegated import enter_subgroup
from tlsrt.supervisor.launch.service_manager import Relay, arguments_of, inherited, take
from tlsrt.supervisor.launch.undo_relay import UndoRelay

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_WATCHED = (*_FORWARDED, signal.SIGCHLD, signal.SIGIO)
# What would end a process that does not expect it, and that is never sent to us on purpose.
_IGNORED = (
    signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGPWR,
    signal.SIGSTKFLT, signal.SIGPIPE, *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)  # fmt: skip
_SIGNAL_BASE = 128  # as shells report a death by signal
_CANNOT_EXEC = 126
# What of the operator's environment goes on: every loop holds it in memory, and a shell's may be full of secrets.
_PASSED_ON = frozenset({
    "PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TERM", "NO_COLOR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "CREDENTIALS_DIRECTORY", "JOURNAL_STREAM",
})  # fmt: skip
_PASSED_ON_PREFIXES = ("LC_", "TLSRT_", "COVERAGE_")
TOO_MANY_PROCESSES = (
    "this user or control group may have no more processes: end some, or raise the limit (`ulimit -u`, pids.max)"
)
_PROGRAM = "from tlsrt.supervisor.launch.launcher import inner; inner()"


def fork() -> int:
    """Fork. Raises SandboxError where no more processes may be."""
    try:
        return os.fork()
    except BlockingIOError as error:
        raise SandboxError("processes", TOO_MANY_PROCESSES) from error


def _map_to_root() -> None:
    """user_namespaces(7): our one id becomes 0 inside, so that capabilities survive the exec."""
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWPID)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        os.write(descriptor, text.encode())
        os.close(descriptor)


def _reason(error: BaseException) -> str:
    """One line for the operator; an OSError of a system call has its name in its text, one of a file in `filename`."""
    if not isinstance(error, OSError) or error.strerror is None:
        return f"cannot make a pid namespace: {error!r}"
    where = f"{error.filename}: " if error.filename else ""
    return f"cannot make a pid namespace: {where}{error.strerror}"


def _probe_user_namespace() -> str | None:
    """Try in a child whether user namespaces work, since there is no way back; returns the reason if not.

    Some hosts let one be made but give no capability in it, so the probe uses one.
    """
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            _map_to_root()
            syscalls.unshare(syscalls.CLONE_NEWNS)
        except BaseException as error:
            os.write(writer, _reason(error).encode(errors="replace")[:512])
        finally:
            os._exit(0)
    os.close(writer)
    reason = os.read(reader, 512).decode(errors="replace")
    os.close(reader)
    os.waitpid(pid, 0)
    return reason or None


def _enter_namespaces() -> str | None:
    """Prepare the namespaces of the next fork; returns the reason if they cannot be had."""
    refused = None
    try:
        if os.geteuid() == 0:
            try:
                syscalls.unshare(syscalls.CLONE_NEWPID)
                return None
            except PermissionError as error:  # root of a container, without CAP_SYS_ADMIN
                refused = _reason(error)
        reason = _probe_user_namespace()
        if reason is None:
            _map_to_root()
        return reason if refused is None or reason is None else f"{refused}; nor in a user namespace: {reason}"
    except OSError as error:
        return _reason(error)


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of an environment that the supervisor, and so every loop, gets."""
    return {
        name: value for name, value in environment.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }


def _become_inner(arguments: list[str], program: str, bytecode: Path | None, kept: list[int]) -> NoReturn:
    """In the child: signals stay blocked until `inner` has handlers, as process 1 would lose them."""
    try:
        for number in _IGNORED:  # a disposition that is ignored would be inherited
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        syscalls.die_with_parent(signal.SIGKILL)
        for descriptor in kept:
            os.set_inheritable(descriptor, True)
        command = [*inner_command(program, bytecode), *arguments]
        os.execve(sys.executable, command, passed_on(os.environ))  # noqa: S606
    except BaseException as error:
        os.write(2, f"tlsrt: cannot start {sys.executable}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(_CANNOT_EXEC)


def _status_of(pidfd: int) -> int | None:
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else _SIGNAL_BASE + result.si_status


def _share_fate(pidfd: int, relay: Relay | None, undos: UndoRelay | None) -> int:
    """Forward signals until the supervisor ends; returns its exit status, or 128 + the signal's number."""
    while True:
        arrived = signal.sigwaitinfo(_WATCHED).si_signo
        status = _status_of(pidfd)
        if relay is not None:
            relay.pass_on()
        if undos is not None:
            undos.serve()
        if status is not None:
            return status
        if arrived in _FORWARDED:
            signal.pidfd_send_signal(pidfd, arrived)


def _require_pidfds() -> None:
    """Raise SandboxError where processes cannot be held by descriptors: everything here counts on them."""
    try:
        pidfd = os.pidfd_open(os.getpid())
        try:
            signal.pidfd_send_signal(pidfd, 0)
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            pass  # we are no child of ours: it was understood
        finally:
            os.close(pidfd)
    except OSError as error:
        reason = "tlsrt needs pidfd_open, pidfd_send_signal and waitid (Linux 5.4), which cannot be waived"
        raise SandboxError("pidfd", f"{error.strerror}: {reason}") from error


def launch(
    argv: list[str], *, program: str = _PROGRAM, bytecode: Path | None = None, sweep: Callable[[], None] = lambda: None
) -> int:
    """Run the supervisor with `argv` in a pid namespace of its own and return its exit status.

    `program` is the Python text that the inner interpreter runs, which must call `inner`, and `bytecode` the only
    folder that it reads byte code from. `sweep` is called when the supervisor was killed, and so could not tidy up.
    Raises SandboxError where there are no pidfds, and ConfigError for a service manager that cannot be talked to.
    """
    _require_pidfds()
    enter_subgroup(os.environ)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    handed = take(os.environ, os.getpid())
    relay = Relay(handed.address) if handed.address else None
    reader, writer = os.pipe()
    undos = UndoRelay() if os.geteuid() == 0 else None
    reason = _enter_namespaces()
    arguments = ["--death-pipe", str(reader), *(["--no-pid-namespace", reason] if reason else [])]
    kept = [reader, *inherited(handed, relay), *([undos.there] if undos is not None else [])]
    if undos is not None:
        arguments += ["--undos", str(undos.there)]
    pid = fork()
    if pid == 0:
        _become_inner([*arguments, *arguments_of(handed, relay), *argv], program, bytecode, kept)
    for descriptor in kept:
        os.close(descriptor)
    pidfd = os.pidfd_open(pid)
    if undos is not None:
        undos.come_home()
    try:
        status = _share_fate(pidfd, relay, undos)
        if status > _SIGNAL_BASE:
            sweep()
        return status
    finally:
        os.close(pidfd)
        os.close(writer)  # held until here: its end tells the supervisor of ours
        if relay is not None:
            relay.close()
        if undos is not None:
            undos.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def launcher_is_gone(death_pipe: int) -> bool:
    """Say whether the launcher has ended; `death_pipe` also becomes ready (EPOLLHUP) in an epoll set then."""
    poll = select.poll()
    poll.register(death_pipe, 0)
    return bool(poll.poll(0))


def _end_by_signal(number: int, frame: object) -> NoReturn:
    os._exit(_SIGNAL_BASE + number)


def _supervise(arguments: list[str]) -> int:
    from tlsrt.supervisor.launch.supervise import supervise  # only here: the launcher itself must stay light

    return supervise(arguments)


def inner(entry: Callable[[list[str]], int] | None = None) -> NoReturn:
    """Begin the supervisor's life after the exec: tie it to the launcher, then run `supervise(sys.argv[1:])`.

    Its arguments begin with `--death-pipe FD` and perhaps `--no-pid-namespace REASON`. Until it installs handlers of
    its own, TERM, INT and HUP end the process.
    """
    arguments = sys.argv[1:]
    pipe = int(arguments[1])
    os.set_inheritable(pipe, False)
    syscalls.die_with_parent(signal.SIGKILL)
    if launcher_is_gone(pipe):
        os._exit(_SIGNAL_BASE + signal.SIGKILL)
    for number in _FORWARDED:
        signal.signal(number, _end_by_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
    sys.exit((entry or _supervise)(arguments))
