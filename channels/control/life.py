"""The life protocol: supervisor <-> one loop (or the authority). Fixed-size records, nothing that needs parsing.

The supervisor is privileged, so what it reads from a loop is a handful of integers and digests, never text. What a
loop has to say in words goes to its own log file.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

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


def _in(*states: LoopState) -> frozenset[str]:
    return frozenset(states)


_BOOTING = (LoopState.SPAWNED, LoopState.CONFINED, LoopState.SEALED, LoopState.ATTESTED, LoopState.READY)
_RUNNING = (LoopState.ACTIVE, LoopState.DRAINING, LoopState.STOPPING)
_LIVING = (*_BOOTING, *_RUNNING)

LIFE = MessageTable(
    "life",
    LIFE_CAP,
    (
        # from the loop
        Message(1, "confined", "loop", (bytes, bytes), _in(LoopState.SPAWNED)),  # profile digest, filter digest
        Message(2, "sealed", "loop", (), _in(LoopState.CONFINED)),
        Message(3, "ready", "loop", (), _in(LoopState.ATTESTED)),
        Message(4, "active", "loop", (), _in(LoopState.READY)),
        # sequence, lateness us, queue depth, resident KiB, frames in, out, refused, sessions, epoch
        Message(5, "beat", "loop", (int,) * 9, _in(LoopState.READY, *_RUNNING)),
        Message(6, "drained", "loop", (), _in(LoopState.DRAINING, LoopState.STOPPING)),
        Message(7, "failed", "loop", (int, int), _in(*_LIVING)),  # FailCode, index of the component or 0
        # index of the component, channels.health.Outcome, fails in a row
        Message(9, "health", "loop", (int, int, int), _in(*_RUNNING)),
        # from the supervisor
        Message(16, "activate", "supervisor", (), _in(*_LIVING)),
        Message(17, "drain", "supervisor", (int,), _in(*_LIVING)),  # deadline, ms
        Message(18, "stop", "supervisor", (), _in(*_LIVING)),
        Message(19, "primary_up", "supervisor", (int,), _in(*_LIVING)),  # incarnation
        Message(20, "primary_down", "supervisor", (), _in(*_LIVING)),
    ),
)
