"""Which processes wait for their disk, told once when it begins and once when it is over, and shown by status.

A wait is known in two ways. A loop tells how long its disk threads wait; it beats meanwhile, so this excuses nothing
but a late start. Or the kernel holds the event loop itself, which the supervisor sees: only that excuses silence, and
only up to `HeartbeatPolicy.disk_s`. A slow disk is no offence: neither costs points.
"""

from __future__ import annotations

from dataclasses import dataclass

from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.supervision.context import Context

FRESH_S = 2.0  # what a loop has told is true for so long: it tells it again with each beat
START_S = 300.0  # that a start may take longer than its limit because the disk is slow
LINES, LINES_PER_S = 10, 0.2  # on the console, of one process


@dataclass(frozen=True, slots=True)
class DiskWait:
    """One wait; `where` is where the kernel holds the event loop, empty for a disk thread."""

    since: float
    heard: float
    where: str = ""


class DiskWaits:
    """The waits of all processes by name. Times are seconds of the event loop's clock."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waits: dict[str, DiskWait] = {}
        self._allowances: dict[str, Bucket] = {}

    def of(self, name: str) -> DiskWait | None:
        """Return the wait of a process, if it waits now."""
        return self._waits.get(name)

    def heard_untrusted(self, name: str, for_ms: int) -> None:
        """Take what a loop says of its disk threads: for how long they wait, 0 if they do no more. Cannot fail."""
        now = self._context.event_loop.now
        if for_ms:
            self._note(name, DiskWait(now - for_ms / 1000, now))
        elif (wait := self._waits.get(name)) is not None and not wait.where:
            self._end(name)

    def seen(self, name: str, for_s: float, where: str) -> None:
        """Take note that the kernel holds the event loop of a process, which is excused for so long."""
        now = self._context.event_loop.now
        self._note(name, DiskWait(now - for_s, now, where))

    def look(self) -> None:
        """End the waits that nothing has been told or seen of for a while."""
        now = self._context.event_loop.now
        for name in [name for name, wait in self._waits.items() if now - wait.heard > FRESH_S]:
            self._end(name)

    def forget(self, name: str) -> None:
        """A process has ended, and its wait with it."""
        if name in self._waits:
            self._end(name)

    def _note(self, name: str, wait: DiskWait) -> None:
        """Keep a wait: the newest word of its kind, or the longer one of a disk thread and of the event loop."""
        before = self._waits.get(name)
        is_other = before is not None and bool(before.where) != bool(wait.where)
        since = min(before.since, wait.since) if before is not None and is_other else wait.since
        self._waits[name] = DiskWait(since, wait.heard, wait.where)
        if before is None:
            what = f"its event loop waits too ({wait.where})" if wait.where else "it serves what needs no disk"
            self._say(name, f"waits for its disk since {wait.heard - wait.since:.1f} s; {what}", is_over=False)

    def _end(self, name: str) -> None:
        wait = self._waits.pop(name)
        seconds = self._context.event_loop.now - wait.since
        self._say(name, f"its disk answers again, after {seconds:.1f} s", is_over=True)

    def _say(self, name: str, sentence: str, *, is_over: bool) -> None:
        if self._allowances.setdefault(name, Bucket(LINES, LINES_PER_S)).take(self._context.event_loop.now):
            (self._context.console.good if is_over else self._context.console.bad)(name, "disk", sentence)
            self._context.events.emit("disk_answers" if is_over else "disk_wait", name, sentence)
