"""Random walks over lock and unlock: whatever happens in whatever order, no key goes where it may not.

The walk plays supervisor, Primary and another loop, kills the authority at any step, and lets the disk refuse. Which
process is at the other end of Primary's channel is known by its incarnation.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from fakes.authority_service import FakeAuthorityService
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tlsrt.channels.clock import Moment
from tlsrt.supervisor.authority.model.state import StateFile

KEYS = frozenset({"welcome", "secret_key", "epoch", "session", "rights", "granted", "delegated"})
STORES = "os.fsync"


class Locking(RuleBasedStateMachine):
    """One host; `remembered` is what its supervisor knows, from the last `lock_state`."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name)
        self.store = os.open(path, os.O_RDONLY)
        self.refuses = False
        self.incarnations = 0
        self.alive = 0  # the Primary at the other end
        self.has_got: dict[int, set[str]] = {}  # incarnation of Primary: names of messages
        self.problems: list[str] = []
        self.lives = 0
        self.remembered = b""
        self.begin(resumed=False)

    def begin(self, *, resumed: bool) -> None:
        self.lives += 1
        folder = Path(self.folder.name, str(self.lives))
        folder.mkdir()
        state = StateFile(self.store).load() if resumed else None
        if state is not None:
            state.epoch, state.boots = state.epoch + 1, state.boots + 1
            StateFile(self.store).save(state)
        self.stage = FakeAuthorityService(folder, self.store, resumed=resumed, state=state)
        self.heard = 0
        self.stage.send = self.send  # type: ignore[method-assign]

    def send(self, loop: str, name: str, *fields: object, descriptors: Sequence[int] = ()) -> None:
        self.stage.said.append((loop, name, fields))
        if loop == "primary" and self.alive:
            self.has_got.setdefault(self.alive, set()).add(name)
        if self.stage.state.lock is not None and (name == "session" or (loop == "primary" and name in KEYS)):
            self.problems.append(f"{name} to {loop} while locked")

    def do(self, act: Any) -> None:
        def fsync(descriptor: int) -> None:
            if self.refuses:
                raise OSError(28, "No space left on device")

        with mock.patch(STORES, fsync):
            act(self.stage.provisioner, self.stage.moment)

    @rule()
    def the_supervisor_hears(self) -> None:
        """Until then the Primary of before lives, and may say what it likes. Another lock, or none: it dies."""
        told = self.stage.told[self.heard :]
        self.heard = len(self.stage.told)
        for said in told:
            if said[0] == "lock_state" and said[1] != self.remembered:
                self.remembered = said[1]
                self.kill_primary()

    def kill_primary(self) -> None:
        if self.alive:
            gone, self.alive = self.alive, 0
            self.stage.ask("gone", "primary", gone)

    @initialize()
    def others(self) -> None:
        self.spawn()
        self.stage.join(("third", 1_000_000))

    def spawn(self) -> None:
        self.incarnations += 1
        self.alive = self.incarnations
        self.do(lambda service, moment: self.stage.ask("spawned", "primary", self.alive))

    @rule()
    def primary_asks_for_keys(self) -> None:
        """Whichever is there, be it the one of before; the authority may not be listening."""
        if not self.alive:
            self.spawn()
        epoch = self.stage.state.epoch
        if self.stage.provisioner.may_read("primary"):
            self.do(lambda service, moment: self.stage.hear("primary", "join"))
        self.do(lambda service, moment: self.stage.ask("attested", "primary", self.alive, epoch))

    @rule()
    def time_passes(self) -> None:
        """The other loop acknowledges what there is, and what is due is done."""

        def tick(service: Any, moment: Moment) -> None:
            epoch = self.stage.state.epoch
            if service.state_of("third") == "joined" and service.may_read("third"):
                self.stage.hear("third", "prepared", epoch)
            self.stage.ask("attested", "third", 1_000_000, epoch)
            self.stage.now, self.stage.wall = moment.now + 5_000, moment.wall + 5_000
            self.stage.dispatcher.tick(self.stage.moment)

        self.do(tick)

    @rule()
    def lock(self) -> None:
        self.do(lambda service, moment: service.lock.engage("a walk", "somebody", moment))

    @rule()
    def unlock(self) -> None:
        self.do(lambda service, moment: service.lock.unlock(b"", "operator", moment, lambda problem: None))

    @rule()
    def the_disk_changes_its_mind(self) -> None:
        self.refuses = not self.refuses

    @rule()
    def primary_dies(self) -> None:
        self.kill_primary()

    @precondition(lambda self: not self.refuses)
    @rule()
    def the_authority_dies(self) -> None:
        """Another one boots from the disk; a supervisor that remembers a lock tells it, before anything else."""
        self.the_supervisor_hears()
        self.begin(resumed=True)
        found = self.stage.state.lock
        if found is not None and found.lock != self.remembered:
            self.remembered = found.lock
            self.kill_primary()
        elif found is None and self.remembered:
            fields = [0, self.remembered, "remembered", "operator", 7]
            self.do(lambda service, moment: self.stage.ask("lock", *fields))

    @invariant()
    def no_process_is_on_both_sides(self) -> None:
        for names in self.has_got.values():
            assert "locked" not in names or not KEYS & names
        assert self.problems == []

    @rule()
    def the_supervisor_knows(self) -> None:
        self.the_supervisor_hears()
        lock = self.stage.state.lock
        assert (lock.lock if lock is not None else b"") == self.remembered

    @invariant()
    def what_is_said_to_be_written_is(self) -> None:
        if not self.refuses and self.stage.told[-1:] == [("storage", "")]:
            assert (StateFile(self.store).load().lock is None) == (self.stage.state.lock is None)

    def teardown(self) -> None:
        os.close(self.store)
        self.folder.cleanup()


TestLocking = Locking.TestCase
TestLocking.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
