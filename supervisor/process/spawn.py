"""Fork a child into a pid namespace of its own, and reap it by pidfd.

`unshare(CLONE_NEWPID)` concerns only children forked afterwards, so the supervisor unshares, forks, and goes back by
setns: the child is process 1 of its namespace, and yet the supervisor is its real parent, root or not. A second
thread would make all of this undefined (it could hold any lock, and PDEATHSIG follows the *thread* that forks), so a
process of more than one task may not spawn. Signals are blocked from before the fork until the child has dropped
what it inherited: a handler or wake-up descriptor of the supervisor must never run in it.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from tlsrt.errors import EX_SOFTWARE, InternalError, MisuseError, TlsrtError
from tlsrt.sandbox import syscalls
from tlsrt.supervisor.process.children import Child
from tlsrt.supervisor.process.exit_reason import ExitReason
from tlsrt.supervisor.process.immortal import make_immortal
from tlsrt.supervisor.process.lookup_versions import assign_versions

# As the interpreter itself starts: writing to a closed pipe, or beyond RLIMIT_FSIZE, must be an OSError, not a death.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
_CATCHABLE = tuple(int(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
# As they are below their wrappers, which make an enum of each signal: half a millisecond of every start.
_handler_of: Callable[[int], object] = getattr(signal.getsignal, "__wrapped__", signal.getsignal)
_set_mask: Callable[[int, Collection[int]], object] = getattr(
    signal.pthread_sigmask, "__wrapped__", signal.pthread_sigmask
)


@dataclass(frozen=True, slots=True)
class SpawnedChild:
    """A forked process: its pid as we see it, a pidfd that is readable when it has ended, its pid in /proc."""

    pid: int
    pidfd: int
    host_pid: int


def freeze() -> None:
    """Move everything alive out of the collector's sight and make it immortal, once, before the first spawn.

    A collection in a child would write to every page that it shares with us, and could finalise what is ours; to use
    what is not immortal copies its page.
    """
    gc.collect()
    _settle()
    gc.freeze()
    gc.enable()  # which a start has put off until now


def freeze_first() -> None:
    """Do that for what is there before all is imported, so that a child that is forked now shares it with later ones.

    Nothing is collected: hardly anything of it is garbage, and the collector is not enabled yet.
    """
    _settle()
    gc.freeze()


def _settle() -> None:
    """Write what the use of objects would write into them, now."""
    assign_versions()
    make_immortal()


def freeze_again() -> None:
    """Do that once more, in a child that is to fork others: nothing is collected, as garbage here is the parent's."""
    make_immortal()
    gc.freeze()


def parse_fdinfo_pid(text: str) -> int:
    """Return the number of the Pid line of a pidfd's fdinfo, proc(5); raises ValueError if there is none."""
    for line in text.splitlines():
        if line.startswith("Pid:"):
            return int(line.removeprefix("Pid:"))
    raise ValueError("not the fdinfo of a pidfd")


def _host_pid(pidfd: int) -> int:
    """Translate: fdinfo counts in the pid namespace of the mounted /proc, which is the host's."""
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as file:
        return parse_fdinfo_pid(file.read())


def _forget_parent(parent: int) -> None:
    """In the child, signals blocked: tie our life to the parent's, and drop what would run for it."""
    syscalls.die_with_parent(signal.SIGKILL)
    poll = select.poll()
    poll.register(parent, select.POLLIN)
    if poll.poll(0):  # it ended before the line above
        os._exit(EX_SOFTWARE)
    os.close(parent)
    signal.set_wakeup_fd(-1)
    for number in _CATCHABLE:
        wanted = signal.SIG_IGN if number in _IGNORED else signal.SIG_DFL
        if _handler_of(number) != wanted:
            signal.signal(number, wanted)
    _set_mask(signal.SIG_SETMASK, ())


def _say(error: BaseException) -> None:
    text = " ".join(str(error).split()) or "no further reason"
    line = f"tlsrt: {text}\n" if isinstance(error, TlsrtError) else f"tlsrt: {type(error).__name__}: {text}\n"
    with suppress(OSError):
        os.write(2, line.encode("utf-8", "backslashreplace"))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _live(body: Callable[[], int], parent: int) -> NoReturn:
    """The child's whole life; it never returns into the supervisor's code."""
    code = EX_SOFTWARE
    try:
        _forget_parent(parent)
        code = body()
        _flush()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else EX_SOFTWARE
    except TlsrtError as error:
        _say(error)
        code = error.exit_code
    except BaseException as error:
        _say(error)
    finally:
        os._exit(code & 0xFF)


def _fork(body: Callable[[], int], parent: int, group: int, *, as_sibling: bool) -> int:
    pid = syscalls.fork(group, as_sibling=True) if as_sibling else _fork_into(group) if group >= 0 else os.fork()
    if pid == 0:
        _live(body, parent)
    return pid


def _fork_into(group: int) -> int:
    try:
        return syscalls.fork(group)
    except OSError:
        return os.fork()  # a container may hide clone3; the layer `cgroup` then moves the child, slowly


def fork(
    body: Callable[[], int], parent: int, *, own_pid_namespace: bool, group: int = -1, as_sibling: bool = False
) -> int:
    """Fork a child that runs `body`, and return its pid; `spawn` says more.

    `parent` is a pidfd of its parent: of us, or of ours with `as_sibling`. Raises OSError.
    """
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC) if own_pid_namespace else -1
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        if own_pid_namespace:
            syscalls.unshare(syscalls.CLONE_NEWPID)
        try:
            return _fork(body, parent, group, as_sibling=as_sibling)
        finally:
            if own_pid_namespace:
                syscalls.setns(home, syscalls.CLONE_NEWPID)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if own_pid_namespace:
            os.close(home)


def spawned(pid: int) -> SpawnedChild:
    """Return a child of ours by its pid. Raises OSError, ChildProcessError if it is none."""
    pidfd = os.pidfd_open(pid)
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return SpawnedChild(pid, pidfd, _host_pid(pidfd))
    except OSError:
        os.close(pidfd)
        raise


def spawn(body: Callable[[], int], *, own_pid_namespace: bool = True, group: int = -1) -> SpawnedChild:
    """Fork a child that runs `body` and ends with what it returns; `freeze` should have been called once.

    `group` is a descriptor of the folder of the control group to start in, -1 for ours.
    An exception of `body` is one line on stderr and exit 70, or the exit code of a TlsrtError. Raises MisuseError
    if this process has more than one task, OSError if the kernel refuses the namespace or the fork.
    """
    if not syscalls.is_single_task():
        raise MisuseError("cannot spawn: this process has more than one thread")
    _flush()
    parent = os.pidfd_open(os.getpid())
    try:
        return spawned(fork(body, parent, own_pid_namespace=own_pid_namespace, group=group))
    finally:
        os.close(parent)


def reap(child: Child) -> ExitReason | None:
    """Return how the child ended, or None while it runs. Does not close the pidfd: leave the epoll set first.

    Raises InternalError if it was reaped elsewhere.
    """
    try:
        result = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError as error:
        raise InternalError(f"child {child.pid} was reaped elsewhere") from error
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return ExitReason(result.si_status, None)
    return ExitReason(None, result.si_status)


def reap_strangers(known: Collection[int]) -> int:
    """Reap orphans that came to us as process 1, until a child in `known` is first in line; returns how many.

    Children are left to `reap`; call this after it.
    """
    count = 0
    while True:
        try:
            result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return count
        if result is None or result.si_pid in known:
            return count
        os.waitid(os.P_PID, result.si_pid, os.WEXITED | os.WNOHANG)
        count += 1
