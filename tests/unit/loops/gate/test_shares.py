"""What peers fill at the gate has a share for each: sessions, open calls, rows of reports, block lists, frame rates."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.memory_host import MemoryHost

from tlsrt.budget import Budget
from tlsrt.channels.frames.frame import FrameKind, Header
from tlsrt.config import key_schedule
from tlsrt.config.deception import DeceptionConfig
from tlsrt.loops.gate import gate as gates
from tlsrt.loops.gate.block_list import BlockList
from tlsrt.loops.gate.decoys import WAITING_OF, Decoys
from tlsrt.loops.gate.frame_rate import FrameRates
from tlsrt.loops.gate.gate import refusal_word
from tlsrt.loops.gate.refusals import ROWS, RefusalCounts
from tlsrt.loops.gate.state import Origin

STORE, CONSOLE, ADMIN = "secondary/store", "third/console", "client/admin"


class Clients:
    """Sessions of one client, each on a connection of its own."""

    def __init__(self, world: MemoryHost, count: int) -> None:
        self.world = world
        self.origins = [Origin("", 100 + number, self.name(number), world.confirmation) for number in range(count)]
        self._seq = [0] * count

    @staticmethod
    def name(number: int) -> bytes:
        return number.to_bytes(16, "big")

    def ask(self, number: int) -> str:
        """Send a request in a session; return why it is refused, or ""."""
        world, session = self.world, self.name(number)
        self._seq[number] += 1
        header: Header = world.plain_header(ADMIN, session=session, seq=self._seq[number])
        proof = world.forge(
            ADMIN, header, b"x", token=world.token(ADMIN, session=session), proof_key=proof_key(world, session)
        )
        return world.gate.check_untrusted(proof, self.origins[number], world.now).reason

    def fill(self, number: int, most: int = 10_000) -> int:
        """Open calls in a session until the gate refuses one; return how many."""
        for count in range(most):
            if self.ask(number):
                return count
        return most


def proof_key(world: MemoryHost, session: bytes) -> bytes:

    return key_schedule.proof_key(world.gate_root(world.epoch), session)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> MemoryHost:
    monkeypatch.setattr(gates, "CALLS_MAX", 8 * 128)  # 128 of a subject; a session may have 64
    return MemoryHost()


def test_the_sessions_of_one_client_share_what_it_may_have_open(world: MemoryHost) -> None:
    clients = Clients(world, 10)
    opened = [clients.fill(number) for number in range(10)]
    assert opened[:2] == [64, 64], "as many as two sessions may have, it has"
    assert sum(opened) <= 128, "and no more with ten"
    assert clients.ask(9) == Budget.CALLS and refusal_word(Budget.CALLS) == "busy"
    passed = [world.gate.check_untrusted(world.request(), world.origin(CONSOLE), world.now).passed for _ in range(64)]
    assert all(passed), "others have all of their own"


def test_what_becomes_free_is_there_for_each_of_its_sessions_again(world: MemoryHost) -> None:
    clients = Clients(world, 4)
    assert sum(clients.fill(number) for number in range(4)) <= 128
    gate = world.gate
    for name in list(gate.calls.by_name):
        if name[:16] == clients.name(0):
            gate.calls.end(name)
    gate.sweep(world.now)
    assert clients.fill(3) >= 16
    assert len(gate.calls.by_name) <= 128


def test_a_session_that_ends_leaves_its_calls_and_its_flows_to_no_other(world: MemoryHost) -> None:
    clients = Clients(world, 2)
    for number in (0, 1):
        assert clients.ask(number) == clients.ask(number) == ""
    known = {shape.name for shape in world.gate._fast._known.values()}
    world.gate.end_connection(clients.origins[0])
    left = {shape.name for shape in world.gate._fast._known.values()}
    assert known - left == {clients.name(0)}, "those of all others are as fast as before"
    assert [name[:16] for name in world.gate.calls.by_name] == [clients.name(1)] * 2
    assert world.gate.each_session.keys() == {clients.name(1)}
    world.gate.end_connection(clients.origins[0])
    assert clients.ask(1) == ""


def test_a_closed_session_passes_no_frame_of_a_flow_that_was_known(world: MemoryHost) -> None:
    data = [world.endpoints[ADMIN].seal_request(FrameKind.REQUEST, STORE, "get", b"x", world.now + 9_000)[1]] * 1
    frames = [world.request(ADMIN) for _ in range(4)]
    origin = world.origins["client"]
    assert [world.gate.check_untrusted(frame, origin, world.now).passed for frame in (*data, *frames[:3])] == [True] * 4
    world.gate.end_connection(origin)
    assert world.gate._fast.check_untrusted(frames[3], origin, world.now) is None


def test_one_subject_has_a_share_of_the_sessions_of_the_gate(
    world: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.gate._sessions.share = 3
    clients = Clients(world, 4)
    assert [clients.ask(number) for number in range(4)] == ["", "", "", Budget.SESSIONS]
    assert world.gate.check_untrusted(world.request(), world.origin(CONSOLE), world.now).passed


def test_a_session_cannot_fill_a_report_so_that_others_have_no_room_in_it() -> None:
    counts = RefusalCounts()
    for number in range(10 * ROWS):
        counts.note("session", "ab" * 16, "not_allowed", f"secondary/x{number} get")
    counts.note("session", "cd" * 16, "replay")
    rows: list[Any] = counts.rows()
    assert ["session", "cd" * 16, "replay", 1, ""] in rows
    assert len(rows) == ROWS // 4 + 1 and counts.lost == 10 * ROWS - ROWS // 4
    counts.clear()
    assert not counts and counts.rows() == []


def test_who_has_many_addresses_of_one_site_pushes_no_other_off_the_block_list() -> None:
    blocks = BlockList(most=16)
    blocks.block("192.0.2.1", 100)
    blocks.block("2001:db8:2:1::/64", 100)
    for number in range(1000):
        blocks.block(f"2001:db8:1:{number:x}::/64", 50 + number)
    assert blocks.is_blocked("192.0.2.1", 0) and blocks.is_blocked("2001:db8:2:1::/64", 0)
    assert blocks.is_blocked("2001:db8:1:3e7::/64", 0), "the newest of that site is there"
    assert not blocks.is_blocked("192.0.2.1", 100)


def test_the_rate_of_a_client_outlives_its_connections_only_until_it_says_nothing() -> None:
    rates = FrameRates(1000, {})
    bucket = rates.of(ADMIN, 0)
    assert rates.of(ADMIN, 0) is bucket
    bucket.left = 0.0
    rates.release(ADMIN, 0)
    rates.release(ADMIN, 0)
    assert rates.of(ADMIN, 100) is bucket, "who comes again at once has spent the same"
    bucket.left = 0.0
    rates.release(ADMIN, 100)
    for number in range(100):
        rates.of(f"client/{number}", 10_000)
        rates.release(f"client/{number}", 10_000)
    assert len(rates) <= 100, "it is full again, and forgotten"
    assert rates.of(ADMIN, 10_000) is not bucket


def test_a_request_that_could_not_be_delivered_leaves_no_open_call(world: MemoryHost) -> None:
    data = world.request(ADMIN)
    assert world.gate.check_untrusted(data, world.origins["client"], world.now).passed
    assert world.gate.undeliverable(data, "busy")
    assert not world.gate.calls.by_name
    assert world.gate.each_session[world.session(ADMIN)].open_calls == 0


def test_strangers_cannot_hide_that_a_session_has_touched_a_decoy() -> None:
    decoys = Decoys(DeceptionConfig(components=("secondary/vault",)))
    for number in range(1000):
        decoys.check_stranger(f"2001:db8::{number:x}")
    decoys.check(b"s" * 16, "secondary/vault", "get")
    found = decoys.take()
    assert len(found) == WAITING_OF + 1 and found[-1].session == b"s" * 16
    decoys.check_stranger("192.0.2.1")
    assert len(decoys.take()) == 1


def test_strangers_cannot_hide_that_while_the_authority_does_not_read() -> None:
    decoys = Decoys(DeceptionConfig(components=("secondary/vault",)))
    for number in range(1000):
        decoys.check_stranger(f"2001:db8::{number:x}")
        decoys.put_back(decoys.take())
    decoys.check(b"s" * 16, "secondary/vault", "get")
    found = decoys.take()
    assert len(found) == WAITING_OF + 1 and found[-1].session == b"s" * 16
