"""Primary hears of a loop's attestation before it refuses a frame that the loop sent because of it."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.memory_host import World

from tlsrt.loops.gate.reporter import RefusalReporter
from tlsrt.loops.gate.state import GateVerdict
from tlsrt.loops.primary import loop
from tlsrt.loops.primary.loop import PrimaryLoop


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(loop, "boottime_ms", lambda: world.now)
    return world


class Primary(PrimaryLoop):
    """A gate between the authority's channel, which the test fills, and links that only keep what they get."""

    def __init__(self, world: World) -> None:
        self.gate = world.gate
        self.said: list[tuple[str, int, int]] = []  # by the authority, and not yet read
        self.delivered: list[GateVerdict] = []
        self.refusals: list[str] = []
        self.frames_in = self._forwarded = 0
        self._is_hearing = False
        self.reporter = RefusalReporter(lambda rows: None)

    def _on_trust(self) -> None:
        while self.said:
            self.gate.set_loop(*self.said.pop(0))

    def note_refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def _deliver(self, data: bytes, verdict: GateVerdict, source: str) -> bool:
        self.delivered.append(verdict)
        return True


def primary(world: World, attested: int) -> Any:
    found = Primary(world)
    world.gate.set_loop("third", world.incarnations["third"], attested)
    return found


def test_what_the_authority_has_said_is_read_before_a_loop_counts_as_not_attested(world: World) -> None:
    one = primary(world, world.epoch - 1)
    one.said.append(("third", world.incarnations["third"], world.epoch))
    assert one.forward(world.request(), world.origins["third"]) == ""
    assert [verdict.loop for verdict in one.delivered] == ["secondary"]
    assert one.refusals == []


def test_a_loop_that_is_not_attested_is_refused_all_the_same(world: World) -> None:
    one = primary(world, world.epoch - 1)
    assert one.forward(world.request(), world.origins["third"]) == "rejected"
    assert one.refusals == ["not_attested from third"]


def test_nothing_is_read_out_of_turn(world: World) -> None:
    """A frame that is sent because of one of the authority's messages waits for no later one."""
    one = primary(world, world.epoch - 1)
    one.said.append(("third", world.incarnations["third"], world.epoch))
    one._is_hearing = True
    assert one.forward(world.request(), world.origins["third"]) == "rejected"
    assert len(one.said) == 1
