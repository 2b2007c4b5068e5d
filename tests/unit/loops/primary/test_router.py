"""Primary hears of a loop's attestation before it refuses a frame that the loop sent because of it."""

from __future__ import annotations

import pytest
from fakes.memory_host import MemoryHost

from tlsrt.config.schema import LimitsConfig
from tlsrt.loops.gate.refusals import RefusalReporter
from tlsrt.loops.gate.state import GateVerdict
from tlsrt.loops.primary import router
from tlsrt.loops.primary.router import Router


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> MemoryHost:
    world = MemoryHost()
    monkeypatch.setattr(router, "boottime_ms", lambda: world.now)
    return world


class Reporter(RefusalReporter):
    """Reports nothing."""

    def __init__(self) -> None:
        pass

    def frame(self, origin: object, verdict: object) -> None:
        pass


class Primary(Router):
    """A router between the authority's channel, which the test fills, and links that only keep what they get."""

    def __init__(self, world: MemoryHost) -> None:
        super().__init__(self, "primary", world.gate, Reporter(), LimitsConfig())
        self.gate = world.gate
        self.said: list[tuple[str, int, int]] = []  # by the authority, and not yet read
        self.delivered: list[GateVerdict] = []
        self.refusals: list[str] = []
        self.is_receiving = False

    def catch_up(self) -> bool:
        if self.is_receiving:
            return False
        while self.said:
            self.gate.set_loop(*self.said.pop(0))
        return True

    def note_refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def take(self, data: bytes) -> None:
        raise AssertionError("nothing is for Primary")

    def send_to_client(self, connection: int, data: bytes) -> None:
        raise AssertionError("there are no clients")

    def rest_client(self, connection: int, for_s: float) -> None:
        raise AssertionError("there are no clients")

    def _deliver(self, data: bytes, verdict: GateVerdict, source: str) -> bool:
        self.delivered.append(verdict)
        return True


def primary(world: MemoryHost, attested: int) -> Primary:
    found = Primary(world)
    world.gate.set_loop("third", world.incarnations["third"], attested)
    return found


def test_what_the_authority_has_said_is_read_before_a_loop_counts_as_not_attested(world: MemoryHost) -> None:
    one = primary(world, world.epoch - 1)
    one.said.append(("third", world.incarnations["third"], world.epoch))
    assert one.forward(world.request(), world.origins["third"]) == ""
    assert [verdict.loop for verdict in one.delivered] == ["secondary"]
    assert one.refusals == []


def test_a_loop_that_is_not_attested_is_refused_all_the_same(world: MemoryHost) -> None:
    one = primary(world, world.epoch - 1)
    assert one.forward(world.request(), world.origins["third"]) == "rejected"
    assert one.refusals == ["not_attested from third"]


def test_nothing_is_read_out_of_turn(world: MemoryHost) -> None:
    """A frame that is sent because of one of the authority's messages waits for no later one."""
    one = primary(world, world.epoch - 1)
    one.said.append(("third", world.incarnations["third"], world.epoch))
    one.is_receiving = True
    assert one.forward(world.request(), world.origins["third"]) == "rejected"
    assert len(one.said) == 1
