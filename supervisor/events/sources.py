"""Sources of events: transitions of loops, heartbeats, and notes of the authority."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.events.bus import EventBus
from tlsrt.supervisor.events.catalog import EVENTS
from tlsrt.supervisor.events.event_kinds import EventKind
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.states import LIVING, LoopEvent

SLOW_US = 250_000  # half of the interval of beats: calls wait that long, too
_IN_TIME_US = 50_000
_KILLED = (LoopEvent.REFUSED, LoopEvent.VIOLATED, LoopEvent.FAILED, LoopEvent.DEADLINE, LoopEvent.HUNG)
_STEPS: Mapping[LoopEvent, str] = {
    LoopEvent.ATTESTED: "attested",
    LoopEvent.ACTIVE: "active",
    LoopEvent.DRAIN: "draining",
    LoopEvent.WAIT: "waiting",
    LoopEvent.GIVE_UP: "given_up",
    LoopEvent.KEEP_DOWN: "kept_down",
    **dict.fromkeys(_KILLED, "killed"),
}
# What the authority may say that happened. A name that is not here is still told, as what it reported.
OF_AUTHORITY = frozenset(
    name for name, entry in EVENTS.items() if entry.kind is EventKind.SESSION
) | {"offence", "anomaly", "unprepared", "unattested", "revocation", "restored", "unlocked", "lock_refused",
    "unlock_refused", "notes_lost", "decoy_touched", "decoys_proved", "decoys_blind",
    "detected", "over_budget", "response", "response_ended", "would_respond", "unusual", "reported",
    "client_added", "client_changed", "client_enrolled", "join_code_reused", "client_renewed"}  # fmt: skip


class EventSources:
    """Watches the loops, and knows which of them were slow."""

    def __init__(self, bus: EventBus, now: Callable[[], float]) -> None:
        self._bus = bus
        self._now = now
        self._slow: set[str] = set()
        self._pids: dict[str, int] = {}  # of the living; at the event of a death the child is no more

    def moved(self, loop: Loop, before: LoopState, event: LoopEvent) -> None:
        """A loop took a step of its life; whatever follows from it comes later."""
        facts: dict[str, object] = {"incarnation": loop.incarnation}
        if loop.process.child is not None:
            self._pids[loop.name] = loop.process.child.host_pid
        if loop.name in self._pids:
            facts["pid"] = self._pids[loop.name]
        if event is LoopEvent.HUNG:
            self._bus.emit("hung", loop.name, **facts)
        if event is LoopEvent.EXITED:
            self._exited(loop, before, facts)
        elif event is LoopEvent.STOP:
            if before in LIVING:
                self._bus.emit("ending", loop.name, **facts)
        elif (name := _STEPS.get(event)) is not None:
            if event is LoopEvent.ACTIVE:
                facts["took_ms"] = round((self._now() - loop.spawned_at) * 1000)
            self._bus.emit(name, loop.name, _words(loop, event), **facts)

    def _exited(self, loop: Loop, before: LoopState, facts: dict[str, object]) -> None:
        self._slow.discard(loop.name)
        self._pids.pop(loop.name, None)
        served_s = self._now() - loop.process.active_at if loop.process.active_at is not None else 0.0
        if loop.last_death is not None:
            is_wanted = before is LoopState.STOPPING
            self._bus.emit_death(loop.name, loop.last_death, served_s, is_wanted=is_wanted, **facts)

    def beat(self, name: str, lateness_us: int) -> None:
        """A process beat, this late by its own clock; what it says is a claim."""
        if lateness_us >= SLOW_US and name not in self._slow:
            self._slow.add(name)
            self._bus.emit("slow", name, f"{lateness_us / 1000:.0f} ms", lateness_ms=round(lateness_us / 1000))
        elif lateness_us < _IN_TIME_US and name in self._slow:
            self._slow.discard(name)
            self._bus.emit("in_time", name)

    def suspected(self, name: str, is_late: bool) -> None:
        """The monitor suspects a process of hanging, or no longer does."""
        self._bus.emit("suspect" if is_late else "recovered", name)

    def reported(self, word: str, sentence: str) -> None:
        """The authority said something in words: about a loop, if they begin with its name."""
        subject, colon, rest = sentence.partition(": ")
        if word in OF_AUTHORITY and colon:
            self._bus.emit(word, subject, rest)
        else:
            self._bus.emit("reported", AUTHORITY, f"{word}: {sentence}")

    def noted(self, notes: Sequence[object]) -> None:
        """The authority noted what happened: [name, subject, words, fields] each."""
        for note in notes:
            match note:
                case [str(name), str(subject), str(words), dict(fields)] if name in OF_AUTHORITY:
                    self._bus.emit(name, subject, words, **{str(key): value for key, value in fields.items()})
                case _:
                    self._bus.emit("reported", AUTHORITY, "unrecognised event from the authority")


def _words(loop: Loop, event: LoopEvent) -> str:
    if event in _KILLED:
        return loop.process.kill_reason.sentence if loop.process.kill_reason is not None else str(event)
    return str(loop.last_death) if event is LoopEvent.GIVE_UP else ""
