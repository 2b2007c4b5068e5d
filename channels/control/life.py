"""The life protocol: supervisor <-> one loop. Fixed-size records, nothing that needs parsing.

The supervisor is privileged, so what it reads from a loop is a handful of integers and digests, never text. What a
loop reports in words goes to its own log file.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import NamedTuple

from tlsrt.channels.control.seqpacket import Message, MessageTable

LIFE_CAP = 256


class LoopState(StrEnum):
    """Where a loop is in its life; the lifecycle machine of the supervisor moves between them."""

    DOWN = "down"
    SPAWNED = "spawned"  # forked; putting itself into its sandbox
    CONFINED = "confined"  # our code only: privileges gone, digests reported
    SEALED = "sealed"  # component code imported, filters complete; may be looked at from outside
    ATTESTED = "attested"  # looked at, and it is what the profile says; may get keys
    READY = "ready"  # has keys and sockets
    ACTIVE = "active"
    DRAINING = "draining"
    STOPPING = "stopping"
    BACKOFF = "backoff"  # dead, will be spawned again
    WAITING = "waiting"  # down, until what it depends on is there
    FAILED = "failed"  # dead, given up


class FailCode(IntEnum):
    """Why a loop says that it cannot go on; the words are in its log."""

    SANDBOX = 1
    IMPORT = 2
    COMPONENT_START = 3
    THREADS = 4
    JOIN = 5
    INTERNAL = 6
    MEMORY = 7
    DISK = 8  # a component could not start, for its disk refused
    TASK = 9  # a task of a component ended too often
    CONFIGURATION = 11  # a component cannot run with its configuration: an option, a secret
    CODE_CHANGED = 12  # what it would import, or has imported, is not what was sealed


# Settings of one process: the supervisor says BUSY beyond these, and the runtime does not even ask, so that an honest
# component never reaches the bound on all records of a process, which ends it.
SETTINGS_AT_ONCE = 20
SETTINGS_PER_S = 10.0  # in the long run; each is a record that waits for a disk
SETTINGS_WAITING = 8  # for their answers


# Alerts of one process; what is beyond is added to the next one's `times`.
ALERTS_AT_ONCE = 10
ALERTS_PER_S = 1.0
ALERT_TIMES_MAX = 1000


class AskWhat(IntEnum):
    """What a loop may ask the helper for, through the supervisor."""

    SET = 1  # write a number to a setting
    DEVICE_LOST = 2  # a device has gone: bring it again when it is there
    UNSET = 3  # undo what was set: a route, an element of a set


class AskOutcome(IntEnum):
    """How that ended."""

    DONE = 0
    REFUSED = 1  # no such grant, or a number outside its range
    BUSY = 2  # too many at once, or the helper is away: nothing was sent to it, so nothing was done
    FAILED = 3  # the kernel refused, or there is no such file: the errno says it
    UNRECORDED = 4  # the audit log did not take it, so nothing was done
    UNKNOWN = 5  # it was sent to the helper, which ended before it answered: it may have been done


class RuntimeOutcome(IntEnum):
    """How it ended what a process has asked of the runtime."""

    DONE = 0
    BUSY = 1  # too much at once, or a reload is under way: nothing was done
    UNRECORDED = 2  # the audit log did not take it, so nothing was done
    MISSING = 3  # there is no such component, or it has no process of its own
    HELD = 4  # the operator, or another component, keeps it down
    NEEDED = 5  # others that are not granted depend on it
    FAILED = 6  # it was begun, and the process did not get there
    UNNAMED = 7  # there is no such subject
    UNASKED = 8  # who is said to have asked has no session, or no right to call the component
    KEPT = 9  # the operator alone may do that to this one


# A process asks the runtime for few things; beyond these it is told BUSY.
RUNTIME_AT_ONCE = 16
RUNTIME_PER_S = 2.0
RUNTIME_WAITING = 4  # for their answers
PERSONS_AT_ONCE = 16  # what people do by it: restart, lock, release, revoke
PERSONS_PER_S = 0.5
DIGEST_BYTES = 32  # of the name of a subject
ARCHIVES_AT_ONCE = 3  # archives of the host for one process; each reads all of its state
ARCHIVES_PER_S = 1 / 60

# Files of logs, and of the audit log: so many with one answer, and so many answers. All at once fit the socket.
FILES_OF_ANSWER = 12
FILES_AT_ONCE = 8
FILES_PER_S = 2.0
FILES_MOST = FILES_OF_ANSWER * FILES_AT_ONCE


# What a component may learn of another one: its process is in a LoopState, paused, or not there.
RUNTIME_STATES = (*(str(state) for state in LoopState), "paused", "absent")


def _in(*states: LoopState) -> frozenset[str]:
    return frozenset(states)


_BOOTING = (LoopState.SPAWNED, LoopState.CONFINED, LoopState.SEALED, LoopState.ATTESTED, LoopState.READY)
_RUNNING = (LoopState.ACTIVE, LoopState.DRAINING, LoopState.STOPPING)
_LIVING = (*_BOOTING, *_RUNNING)


class ConfinedMessage(NamedTuple):
    """The loop has given up its privileges."""

    profile: bytes  # digest
    filters: bytes  # digest


class HeartbeatMessage(NamedTuple):
    """The heartbeat of a loop. The last seven fields are for status."""

    sequence: int
    lateness_us: int
    queue: int  # depth
    resident_kib: int
    frames_in: int
    frames_out: int
    refused: int
    sessions: int
    epoch: int


class FailedMessage(NamedTuple):
    """The loop cannot go on."""

    code: int  # a FailCode
    component: int  # its index, or 0


class HealthMessage(NamedTuple):
    """The result of a component's health check."""

    component: int  # its index
    outcome: int  # channels.control.health.Outcome
    fails: int  # in a row


class DiskWaitMessage(NamedTuple):
    """The disk has not answered a component for so long; 0: it has, and nothing waits."""

    for_ms: int


class WorkMessage(NamedTuple):
    """What the threads of components have to do, see loops/component/work.py."""

    running: int
    waiting: int
    given_up: int


class ComponentMessage(NamedTuple):
    """What a component says of itself besides its health, whenever it changes."""

    component: int  # its index
    readiness: int  # channels.control.health.Readiness
    tasks: int  # that it has spawned and that run
    restarts: int  # of tasks, in this life of the process


class AskMessage(NamedTuple):
    """Something of the helper: `grant` is an index into what the configuration grants this process."""

    number: int
    what: int  # an AskWhat
    grant: int
    value: int  # its lower 64 bits
    high: int  # the upper ones, of an address of IPv6
    choice: int  # which of the grant's network devices


class AskRuntimeMessage(NamedTuple):
    """Something of the runtime itself: `right` counts what the configuration lets this process ask for."""

    number: int
    right: int
    value: int  # of a shutdown: within how many ms, 0: as the configuration says; of a right to read: the first file
    subject: bytes  # SHA-256 of whom to release or revoke; else nothing
    asker: bytes  # likewise of the caller for whom it is; nothing: for itself


class RuntimeFileMessage(NamedTuple):
    """One file of what was asked under this number, in the descriptor, to be read alone; `runtime_said` comes last."""

    number: int
    name: str  # a process, or the number of a file of the audit log
    is_earlier: int  # 1: the part of a log that was moved away


class RuntimeSaidMessage(NamedTuple):
    """How that ended; the states are indices into RUNTIME_STATES, one byte for each target.

    Of a right to read it is one byte: 1 if there are more files.
    """

    number: int
    outcome: int  # a RuntimeOutcome
    states: bytes


class RuntimeArchiveMessage(NamedTuple):
    """The archive of the host that was asked for under this number: a pipe to read it from, before `runtime_said`."""

    number: int


class AlertMessage(NamedTuple):
    """A component reports an anomaly of the host: which one of what it may report, and how often since it last did."""

    alert: int
    times: int


class HelpedMessage(NamedTuple):
    """How what was asked under this number ended."""

    number: int
    outcome: int  # an AskOutcome
    error: int  # an errno, or 0


class DeviceMessage(NamedTuple):
    """A device that is granted is there: its descriptor, opened and set."""

    grant: int


class HostEventsMessage(NamedTuple):
    """Where the helper tells the events of one grant from now on, in the descriptor."""

    grant: int


class RunMessage(NamedTuple):
    """Have a program run: which one of those of this process, in the order of the configuration."""

    program: int


class DrainMessage(NamedTuple):
    """Finish what is in flight."""

    deadline_ms: int


class PrimaryUpMessage(NamedTuple):
    """Primary is there, as this incarnation."""

    incarnation: int


class LinkMessage(NamedTuple):
    """To Primary: carry the frames of a further process; the descriptor is where it connects."""

    process: str


class UnlinkMessage(NamedTuple):
    """To Primary: carry the frames of this process no more."""

    process: str


class ProgramMessage(NamedTuple):
    """A program's process is there; in the order in which they were asked for.

    The descriptors: its standard input and output, its standard error, and a leash that ends it when it is closed.
    """

    program: int
    number: int  # of this run, in the life of the host


class ProgramSocket(IntEnum):
    """Which further socket of a run of a program."""

    TALK = 1  # the other end of its descriptor 3
    NOTICES = 2  # what it says in NOTIFY_SOCKET, as datagrams
    UNDO = 3  # to who keeps what is to be undone when all has died


class ProgramSocketMessage(NamedTuple):
    """A further socket of a run, before `program` tells of that run."""

    program: int
    number: int
    kind: int  # a ProgramSocket


class ProgramOverMessage(NamedTuple):
    """A run has ended, or, with the number 0, cannot begin."""

    program: int
    number: int
    outcome: int  # channels.control.program_outcome.Outcome
    status: int  # an exit status or a signal


class SpansMessage(NamedTuple):
    """The socket on which to say spans, until its other end is closed; and which calls to sample."""

    ratio_ppb: int  # of 1,000,000,000 calls without a trace
    most_per_ks: int  # of the wishes of clients, in 1,000 seconds


_LOOP = frozenset({"loop"})
_SUPERVISOR = frozenset({"supervisor"})

LIFE = MessageTable(
    "life",
    LIFE_CAP,
    (
        # number, name, who may send it, in which states, its fields
        Message(1, "confined", _LOOP, _in(LoopState.SPAWNED), ConfinedMessage),
        Message(2, "sealed", _LOOP, _in(LoopState.CONFINED)),
        Message(3, "ready", _LOOP, _in(LoopState.ATTESTED)),
        Message(4, "active", _LOOP, _in(LoopState.READY)),
        Message(5, "beat", _LOOP, _in(LoopState.READY, *_RUNNING), HeartbeatMessage),
        Message(6, "drained", _LOOP, _in(LoopState.DRAINING, LoopState.STOPPING)),
        Message(7, "failed", _LOOP, _in(*_LIVING), FailedMessage),
        Message(9, "health", _LOOP, _in(*_RUNNING), HealthMessage),
        Message(10, "disk_wait", _LOOP, _in(LoopState.READY, *_RUNNING), DiskWaitMessage),
        Message(11, "alert", _LOOP, _in(LoopState.READY, *_RUNNING), AlertMessage),
        Message(12, "ask_runtime", _LOOP, _in(LoopState.READY, *_RUNNING), AskRuntimeMessage),
        Message(13, "component", _LOOP, _in(LoopState.READY, *_RUNNING), ComponentMessage),
        Message(14, "run", _LOOP, _in(*_RUNNING), RunMessage),
        Message(15, "ask", _LOOP, _in(LoopState.READY, *_RUNNING), AskMessage),
        Message(16, "activate", _SUPERVISOR, _in(*_LIVING)),
        Message(17, "drain", _SUPERVISOR, _in(*_LIVING), DrainMessage),
        Message(18, "stop", _SUPERVISOR, _in(*_LIVING)),
        Message(19, "primary_up", _SUPERVISOR, _in(*_LIVING), PrimaryUpMessage),
        Message(20, "primary_down", _SUPERVISOR, _in(*_LIVING)),
        Message(21, "link", _SUPERVISOR, _in(*_LIVING), LinkMessage, descriptors=1, to="primary"),
        Message(22, "unlink", _SUPERVISOR, _in(*_LIVING), UnlinkMessage, to="primary"),
        Message(24, "program", _SUPERVISOR, _in(*_LIVING), ProgramMessage, descriptors=3),
        Message(25, "program_over", _SUPERVISOR, _in(*_LIVING), ProgramOverMessage),
        Message(26, "program_socket", _SUPERVISOR, _in(*_LIVING), ProgramSocketMessage, descriptors=1),
        Message(27, "device", _SUPERVISOR, _in(*_LIVING), DeviceMessage, descriptors=1),
        Message(28, "helped", _SUPERVISOR, _in(*_LIVING), HelpedMessage),
        Message(29, "host_events", _SUPERVISOR, _in(*_LIVING), HostEventsMessage, descriptors=1),
        Message(30, "work", _LOOP, _in(LoopState.READY, *_RUNNING), WorkMessage),
        Message(31, "figures", _SUPERVISOR, _in(*_LIVING), descriptors=1),  # the page to write them to
        Message(32, "spans", _SUPERVISOR, _in(*_LIVING), SpansMessage, descriptors=1),
        Message(33, "runtime_said", _SUPERVISOR, _in(*_LIVING), RuntimeSaidMessage),
        Message(34, "runtime_file", _SUPERVISOR, _in(*_LIVING), RuntimeFileMessage, descriptors=1),
        Message(35, "runtime_archive", _SUPERVISOR, _in(*_LIVING), RuntimeArchiveMessage, descriptors=1),
        Message(36, "may_rest", _SUPERVISOR, _in(*_LIVING)),  # it is seen when it sleeps: then it need not beat
        Message(37, "ask_beat", _SUPERVISOR, _in(*_LIVING)),  # it is not seen to sleep: beat now
    ),
)
