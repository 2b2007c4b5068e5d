"""Shapes: what a sender chooses cannot make a gate or a recipient remember without end."""

from __future__ import annotations

import pytest
from fakes.memory_host import MemoryHost

from tlsrt.channels.frames import patterns
from tlsrt.channels.frames.frame import FrameKind, correlation, pack_header, parse_header_untrusted
from tlsrt.errors import PeerError
from tlsrt.loops.gate.state import Origin

ADMIN, STORE = "client/admin", "secondary/store"


def flows(world: MemoryHost) -> list[object]:
    return [flow for known in world.gate._fast._patterns.known.values() for flow in known.flows.values()]


def ask(world: MemoryHost, method: str, *, end: bool = True) -> None:
    endpoint = world.endpoints[ADMIN]
    data = endpoint.seal_request(FrameKind.REQUEST, STORE, method, b"", world.now + 10_000)[1]
    verdict = world.gate.check_untrusted(data, world.origin(ADMIN), world.now)
    assert verdict.passed, verdict
    if end:
        world.gate.calls.end(correlation(endpoint.session, endpoint._seq))


def world_with_numbers() -> MemoryHost:
    world = MemoryHost()
    world.endpoints[ADMIN]._seq = 300  # numbers that a shape knows
    return world


def test_all_flows_together_have_one_bound() -> None:
    world = world_with_numbers()
    most = 0
    for length in range(3, 40):
        for number in range(200):
            ask(world, "m" * (length - 3) + f"{number:03x}")
            most = max(most, world.gate._fast._patterns.flows)
    assert most == 2 * world.sessions
    assert len(flows(world)) == world.gate._fast._patterns.flows < 2 * world.sessions


def test_flows_of_one_shape_have_a_bound_and_are_counted() -> None:
    world = world_with_numbers()
    for number in range(2 * patterns.SHAPE_FLOWS_MAX + 9):
        ask(world, f"{number:04x}")
    assert len(flows(world)) == world.gate._fast._patterns.flows == 9


def take_turns(count: int, sessions: int, rounds: int) -> list[int]:
    """Let so many clients send a frame each, in turn, to a gate that remembers so many; return signatures a round."""
    names = [f"client/c{number}" for number in range(count)]
    world = MemoryHost(policy={STORE: {}, **{name: {STORE: ("*",)} for name in names}}, sessions=sessions)
    origins = {name: Origin("", 1, world.session(name), world.confirmation) for name in names}
    counts = []
    for number in range(rounds):
        before = world.verifier.tokens.signatures_verified
        for name in names:
            world.endpoints[name]._seq = 300 + number
            data = world.request(name, STORE, "get")
            assert world.gate.check_untrusted(data, origins[name], world.now).passed
            world.gate.calls.end(correlation(world.session(name), 301 + number))
        counts.append(world.verifier.tokens.signatures_verified - before)
    assert world.gate._fast._patterns.flows <= 2 * sessions
    return counts


def test_sessions_that_the_configuration_admits_cost_one_signature_each() -> None:
    assert take_turns(64, 64, 4) == [64, 0, 0, 0]


def test_more_sessions_than_that_are_forgotten_by_parts_and_not_all_at_once() -> None:
    assert sum(take_turns(160, 64, 6)[1:]) < 5 * 160 * 0.75  # all of them, if the oldest made room


def test_tokens_that_were_renewed_are_kept_no_longer() -> None:
    world = world_with_numbers()
    for number in range(40):
        world.endpoints[ADMIN]._epochs[7].token = world.token(ADMIN, token_id=number.to_bytes(16, "big"))
        ask(world, "get")
    shapes = world.gate._fast._patterns
    assert len(shapes._tokens) == shapes.flows == 1
    world.gate._fast.end_session(world.session(ADMIN))
    assert not shapes.known and not shapes._tokens and not shapes._begins and shapes._token_bytes == shapes.flows == 0


def test_flows_share_their_token() -> None:
    world = world_with_numbers()
    for number in range(20):
        ask(world, f"{number:04x}")
    assert len(flows(world)) == 20
    assert len({id(flow.end) for flow in flows(world)}) == 1  # type: ignore[attr-defined]
    assert len({id(flow.token) for flow in flows(world)}) == 1  # type: ignore[attr-defined]


def test_tokens_have_a_bound_and_an_open_call_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_with_numbers()
    monkeypatch.setattr(world.gate._fast._patterns, "_token_bytes_max", 5000)
    for number in range(40):
        token = world.token(ADMIN, token_id=number.to_bytes(16, "big"))
        world.endpoints[ADMIN]._epochs[7].token = token
        ask(world, f"{number:04x}", end=False)
    assert world.gate._fast._patterns._token_bytes < 5000 + 3 * len(token)
    held = [call[0] for call in world.gate.calls.by_name.values()]
    assert len(held) == 40
    assert sum(len(flow.token) for flow in held) <= 5000
    world.gate._fast.end_flows()
    assert not any(flow.token or flow.end for flow in held)


@pytest.mark.parametrize(
    "kind", [FrameKind.REQUEST, FrameKind.REPLY, FrameKind.ERROR, FrameKind.CANCEL, FrameKind.CREDIT, FrameKind.ALLOW]
)
def test_kinds_without_parts_have_part_0(kind: FrameKind) -> None:
    header = MemoryHost().plain_header(kind=kind, part=1)
    with pytest.raises(PeerError, match="out_of_range"):
        parse_header_untrusted(pack_header(header))
    assert parse_header_untrusted(pack_header(header._replace(part=0))).kind == kind
