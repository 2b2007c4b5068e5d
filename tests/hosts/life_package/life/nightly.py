"""A component with timers, which can be killed right before and in the run of one."""

from __future__ import annotations

import os
import time
from typing import Any

from tlsrt import Component, at, every, handler
from tlsrt.loops.component.timetable import Due
from tlsrt.loops.runtime.due_times import read_due_times, write_due_times

RARE = "30 3 29 2 *"  # in no second of a test


class Nightly(Component):
    """Writes down each run, and dies in it if it is told to."""

    ticks = 0
    polls = 0

    @at(RARE)
    async def tidy(self) -> None:
        with (self.state / "runs").open("a") as file:
            file.write("run\n")
        if (self.state / "die").exists():
            os._exit(9)  # at once: nothing is flushed or closed in order

    @at(RARE, missed="skip")
    async def strict(self) -> None:
        with (self.state / "skipped").open("a") as file:
            file.write("run\n")

    @every("600ms", jitter="100ms")
    async def poll(self) -> None:
        self.polls += 1

    @every("20ms")
    async def tick(self) -> None:
        self.ticks += 1

    @handler
    async def arm(self, late_s: float, deadly: bool, damaged: bool = False) -> None:
        """Have both timers due `late_s` ago, as far as the disk knows, and die."""
        (self.state / "die").unlink(missing_ok=True)
        if deadly:
            (self.state / "die").touch()
        now = time.time()
        due = Due(f"at {RARE}", now - late_s, now - late_s - 100)
        write_due_times(self.state, {"tidy": due, "strict": due})
        if damaged:
            (self.state / ".timers.json").write_bytes((self.state / ".timers.json").read_bytes()[:-40])
        os._exit(9)  # at once: nothing is flushed or closed in order

    @handler(idempotent=True)
    async def figures(self) -> dict[str, Any]:
        runs = {name: self._lines(name) for name in ("runs", "skipped")}
        dues = {name: due.at for name, due in read_due_times(self.state).items()}
        zone = time.strftime("%z", time.localtime(0))
        return {"ticks": self.ticks, "polls": self.polls, "zone": zone, "dues": dues, **runs}

    def _lines(self, name: str) -> int:
        path = self.state / name
        return len(path.read_text().splitlines()) if path.exists() else 0
