"""Why a process has ended: one word that programs compare, and one sentence that people read. Pure.

What ends a process leaves a `KillReason`; what reaps it asks `cause_of_death`, which takes that reason, what wait(2)
says, and how often the kernel killed for memory meanwhile. What cannot be known is not claimed: a SIGKILL that
came from the host's out-of-memory killer, on a host that delegates no memory controller, looks like any other.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tlsrt.channels.control.life import FailCode
from tlsrt.text import printable

_SAID = 400  # characters


class Cause(StrEnum):
    """The kinds of deaths."""

    EXIT = "exit"  # it ended by itself
    SIGNAL = "signal"  # not sent by the supervisor
    SECCOMP = "seccomp"  # its filter killed it for a system call
    OOM = "oom"  # the kernel: more memory than its control group has
    MEMORY_LIMIT = "memory_limit"  # it found no memory below its rlimit, and ended
    CPU_LIMIT = "cpu_limit"  # the kernel: a real-time process that never paused
    HEARTBEAT = "heartbeat"  # it hung
    HEALTH = "health"  # a component failed its checks again and again
    DEADLINE = "deadline"  # too slow to become ready or active, to acknowledge an epoch, or to end
    POLICY = "policy"  # it tried what its profile forbids
    ATTESTATION = "attestation"  # it was not what its profile says
    ANOMALY = "anomaly"  # its score was too high
    PROTOCOL = "protocol"  # it broke a control protocol
    IMPORT = "import"  # its code could not be imported
    CODE_CHANGED = "code_changed"  # what it would import is not what was sealed
    CONFIGURATION = "configuration"  # a component cannot run with it: an option, a secret
    COMPONENT = "component"  # a component could not start
    DISK = "disk"  # its disk refused, or did not answer for too long: that counts towards no limit
    SANDBOX = "sandbox"  # its sandbox could not be built
    KEYS = "keys"  # it got no keys
    BOOT = "boot"  # the authority: what it found is not what it may go on with
    INTERNAL = "internal"  # a bug of ours
    FORK = "fork"  # the kernel gave no process
    STOPPED = "stopped"  # in order, with the host
    RELOAD = "reload"  # in order, for another profile
    RESTART = "restart"  # in order, since the operator asked for it
    LOCK = "lock"  # Primary, since the host was locked or unlocked
    GROUP = "group"  # in order, with another loop of its group
    DEPENDENCY = "dependency"  # in order, since what it depends on is not there


@dataclass(frozen=True, slots=True)
class KillReason:
    """Why a process has to end."""

    cause: Cause
    sentence: str
    said: str = ""  # by the process itself: see Death


@dataclass(frozen=True, slots=True)
class ExitReason:
    """How a child ended: an exit code, or the signal that killed it."""

    code: int | None
    signal: int | None

    def __str__(self) -> str:
        return f"exit {self.code}" if self.signal is None else signal_name(self.signal)


@dataclass(frozen=True, slots=True)
class Death:
    """One death; `at` is in seconds since 1970, `code` or `signal` is what wait(2) said, if there was a process.

    `said` is what the process itself wrote last, where it said that it cannot go on: words of a process that may be
    captured, bounded and printable, for people and never for a decision. `sentence` is the supervisor's own.
    """

    cause: Cause
    sentence: str
    incarnation: int = 0
    at: float = 0.0
    code: int | None = None
    signal: str | None = None
    said: str = ""

    def __str__(self) -> str:
        return self.sentence

    @property
    def in_words(self) -> str:
        """Return the sentence, and apart from it what the process said."""
        return self.sentence + said_by(self.said)


_FAILURES = {
    FailCode.SANDBOX: KillReason(Cause.SANDBOX, "its sandbox could not be built"),
    FailCode.IMPORT: KillReason(Cause.IMPORT, "a component could not be imported"),
    FailCode.COMPONENT_START: KillReason(Cause.COMPONENT, "a component could not start"),
    FailCode.CONFIGURATION: KillReason(Cause.CONFIGURATION, "a component cannot run with its configuration"),
    FailCode.CODE_CHANGED: KillReason(Cause.CODE_CHANGED, "the code of a component is not what was sealed"),
    FailCode.THREADS: KillReason(Cause.POLICY, "a component started a thread before the sandbox was sealed"),
    FailCode.JOIN: KillReason(Cause.KEYS, "it got no keys"),
    FailCode.INTERNAL: KillReason(Cause.INTERNAL, "internal error"),
    FailCode.DISK: KillReason(Cause.DISK, "a component could not start, for its disk refused"),
    FailCode.TASK: KillReason(Cause.COMPONENT, "a task of a component ended too often"),
    FailCode.MEMORY: KillReason(Cause.MEMORY_LIMIT, "no memory was left below its limit"),
}
_OF_COMPONENT = (
    FailCode.IMPORT, FailCode.COMPONENT_START, FailCode.DISK, FailCode.TASK, FailCode.CONFIGURATION, FailCode.THREADS,
    FailCode.CODE_CHANGED,
)  # fmt: skip
_OF_WORD = {  # what the authority says about a loop
    "anomaly": Cause.ANOMALY,
    "offence": Cause.PROTOCOL,
    "unattested": Cause.ATTESTATION,
    "unprepared": Cause.DEADLINE,
}


def signal_name(number: int) -> str:
    """Return the name of a signal; a real-time signal has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def cause_of_word(word: str) -> Cause:
    """Return the cause for a word of the authority that ends a loop."""
    return _OF_WORD.get(word, Cause.PROTOCOL)


def verdict_of_failure(code: int, index: int, components: Sequence[str], log_path: str, said: str = "") -> KillReason:
    """Return the kill reason for a `failed` record; the words of its sentence never come from the loop itself."""
    try:
        failure = FailCode(code)
    except ValueError:
        return KillReason(Cause.PROTOCOL, f"failed: unknown code {code}, see {log_path}", said)
    verdict = _FAILURES[failure]
    words = verdict.sentence
    if failure in _OF_COMPONENT and index < len(components):
        words = words.replace("a component", components[index])
    return KillReason(verdict.cause, f"failed: {words}, see {log_path}", said)


def said_by(words: str) -> str:
    """Return what a process said of its end as people read it, with whose words it is; empty if it said nothing."""
    return f'; the process says: "{printable(words, _SAID)}"' if words else ""


def cause_of_death(
    reason: ExitReason | None, verdict: KillReason | None, *, oom_kills: int = 0, incarnation: int = 0, at: float = 0.0
) -> Death:
    """Return the death of a process that ended by `reason` (None: there was no process).

    `oom_kills` counts the processes that the kernel has killed in its control group for want of memory.
    """
    found = verdict or _read(reason, oom_kills)
    if reason is None:
        return Death(found.cause, found.sentence, incarnation, at, said=found.said)
    name = signal_name(reason.signal) if reason.signal is not None else None
    return Death(found.cause, found.sentence, incarnation, at, reason.code, name, found.said)


def _read(reason: ExitReason | None, oom_kills: int) -> KillReason:
    """Return what the exit status means, where the supervisor did not end the process."""
    if reason is None:
        return KillReason(Cause.FORK, "cannot be forked")
    if reason.signal is None:
        return KillReason(Cause.EXIT, f"exit code {reason.code}")
    words = f"signal {signal_name(reason.signal)}".replace("signal signal", "signal")
    if reason.signal == signal.SIGKILL and oom_kills > 0:
        return KillReason(Cause.OOM, f"{words}: out of memory, by the limit of its control group")
    if reason.signal == signal.SIGSYS:
        return KillReason(Cause.SECCOMP, f"{words}: its filter does not allow a system call that it made")
    if reason.signal == signal.SIGXCPU:
        return KillReason(Cause.CPU_LIMIT, f"{words}: it ran in real time without a pause")
    return KillReason(Cause.SIGNAL, words)
