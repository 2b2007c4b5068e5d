"""A random walk: authorities and targets die at any step, disks wait, and no run is executed twice.

The target here is the one of loops/runtime/jobs.py in miniature: it runs what it has not heard of. What an authority
that is killed leaves is what the file says, and no more.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hosts.job_authority import STORE, Host
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.supervisor.authority.model.state import StateFile

STEPS = ("wait", "wait", "long", "over", "over", "target dies", "authority dies", "disk waits", "disk answers")
JOBS = ("+60", "+61", "*/5 * * * *", "%300 ~20")


class World:
    """One host over several authorities and incarnations of its target."""

    def __init__(self, folder: Path, store: int) -> None:
        self.folder, self.store = folder, store
        self.host = self.authority("0")
        self.lives = 0
        self.incarnation = 2
        self.said = 0  # messages that the target has taken
        self.heard: dict[bytes, int] = {}
        self.running: list[tuple[bytes, int]] = []
        self.executed: Counter[tuple[bytes, int]] = Counter()
        self.jobs = [self.host.put(when) for when in JOBS]

    def authority(self, name: str, **given: Any) -> Host:
        (self.folder / name).mkdir()
        host = Host(self.folder / name, self.store, **given)
        self.prepare(host, "primary", "secondary", "third")
        return host

    def prepare(self, host: Host, *loops: str) -> None:
        """Say what keeps a loop alive in an epoch that begins."""
        epochs, table = host.stage.context.epochs, host.stage.context.loops
        for loop in loops:
            host.stage.ask("attested", loop, table[loop].incarnation, epochs.target)
            if epochs.pending is not None:
                host.stage.hear(loop, "prepared", epochs.pending)

    def target_takes(self) -> None:
        runs = self.host.runs()
        for _, job, number, *_ in runs[self.said :]:
            if number > self.heard.get(job, 0):
                self.heard[job] = number
                self.executed[job, number] += 1
                self.running.append((job, number))
        self.said = len(runs)

    def step(self, what: str) -> None:
        stage = self.host.stage
        if what in ("wait", "long"):
            stage.pass_time(20_000 if what == "wait" else 400_000)
        elif what == "over" and self.running:
            job, number = self.running.pop(0)
            stage.hear("secondary", "job_over", STORE, job, number, "done", b"")
        elif what == "target dies":
            self.heard, self.running, self.incarnation = {}, [], self.incarnation + 1
            stage.ask("gone", "secondary", self.incarnation - 1)
            stage.ask("spawned", "secondary", self.incarnation)
            stage.join(("secondary", self.incarnation))
            self.prepare(self.host, "secondary")
        elif what == "authority dies":
            self.lives += 1
            now, wall = stage.now, stage.wall
            kept = StateFile(self.store).load()
            self.host = self.authority(str(self.lives), resumed=True, state=kept, now=now, secondary=self.incarnation)
            self.host.stage.wall, self.said = wall, 0
        elif what in ("disk waits", "disk answers"):
            stage.store.is_held = what == "disk waits"
        self.target_takes()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(STEPS), min_size=5, max_size=30))
def test_no_run_is_executed_twice_and_no_job_is_lost(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        store = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            world = World(Path(name), store)
            for what in steps:
                world.step(what)
                assert set(world.jobs) <= set(world.host.state.jobs) or world.host.stage.wall > 1_800_086_400_000
            assert max(world.executed.values(), default=0) <= 1
            world.step("disk answers")
            for _ in range(4):
                world.step("long")
                while world.running:
                    world.step("over")
            for job in world.jobs:
                ends = [number for one, number in world.executed if one == job]
                assert ends or world.host.the(job).outcome in ("unknown", "away")
        finally:
            os.close(store)
