"""Decoys at the gate: seen once each, bounded, and not to be told from what is merely not allowed."""

from __future__ import annotations

import asyncio
import logging
from statistics import median
from time import perf_counter_ns
from unittest.mock import Mock

import pytest
from fakes.memory_host import MemoryHost
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.frames.frame import FrameKind, parse_frame_untrusted
from tlsrt.config.deception import COMPONENTS, METHODS, DeceptionConfig
from tlsrt.config.defaults import COMPONENTS as BUILTIN
from tlsrt.loops.gate.decoys import WAITING_MAX, CanaryUse, DecoyAccess, Decoys, plain_path
from tlsrt.loops.gate.state import GateVerdict
from tlsrt.loops.primary.decoy_reports import REPORT_AFTER_S, DecoyReports
from tlsrt.loops.runtime.imports import import_components
from tlsrt.loops.runtime.thread_watch import ThreadWatch

CONSOLE = "third/console"
DECOY, NOTHING = "secondary/vault", "secondary/fault"


def world_with(*components: str, methods: tuple[tuple[str, str], ...] = ()) -> MemoryHost:
    world = MemoryHost()
    world.gate.decoys = Decoys(DeceptionConfig(components, methods))
    return world


def ask(world: MemoryHost, target: str, method: str, seq: int, subject: str = CONSOLE) -> GateVerdict:
    header = world.plain_header(subject, seq=seq)._replace(dst=target, method=method)
    return world.gate.check_untrusted(world.forge(subject, header, b""), world.origin(subject), world.now)


def test_a_touch_is_seen_once_and_refused_as_anything_else() -> None:
    world = world_with(DECOY)
    verdicts = [ask(world, name, "get", seq) for seq, name in enumerate((NOTHING, DECOY, DECOY, NOTHING), 1)]
    assert {verdict.reason for verdict in verdicts} == {"not_allowed"}
    assert world.gate.decoys.take() == [DecoyAccess(world.session(CONSOLE), DECOY, "get")]
    bodies = {parse_frame_untrusted(verdict.answer).body for verdict in verdicts}
    assert bodies == {b"rejected"} and len({len(verdict.answer) for verdict in verdicts}) == 1


def test_a_decoy_method_that_everything_is_allowed_of_passes_as_any_other_and_is_seen() -> None:
    world = world_with(methods=(("secondary/store", "dump"),))
    data = world.request("client/admin", method="dump")
    assert world.gate.check_untrusted(data, world.origins["client"], world.now).passed
    assert ask(world, "secondary/store", "dump", 9).reason == "not_allowed"
    assert [touch[1:] for touch in world.gate.decoys.take()] == [("secondary/store", "dump")] * 2


def test_who_proves_nothing_touches_nothing() -> None:
    """Else anybody could have a victim's session charged."""
    world = world_with(DECOY)
    header = world.plain_header()._replace(dst=DECOY)
    frame = world.forge(CONSOLE, header, b"", proof_key=bytes(32))
    assert world.gate.check_untrusted(frame, world.origin(CONSOLE), world.now).reason == "proof_forged"
    frame = world.forge(CONSOLE, header, b"")
    assert world.gate.check_untrusted(frame, world.origin("external/network"), world.now).reason == "foreign_session"
    assert world.gate.decoys.take() == []


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=1), st.sampled_from(("a/b", "c/d", "e/f"))), max_size=300))
def test_what_waits_is_bounded_and_nobody_is_told_of_twice(touches: list[tuple[bytes, str]]) -> None:
    decoys = Decoys(DeceptionConfig(("a/b", "c/d")))
    for session, target in touches:
        decoys.check(session, target, "get")
    found = decoys.take()
    assert len(found) <= WAITING_MAX and len(set(found)) == len(found)
    wanted = {(session, target) for session, target in touches if target != "e/f"}
    assert len(found) == min(WAITING_MAX, len(wanted))
    assert {touch[:2] for touch in found} <= wanted


def test_a_decoy_takes_the_gate_as_long_as_anything_else() -> None:
    """Pairs in turns, and medians: a busy machine slows both. What a touch leads to begins after the answer."""
    for _ in range(5):
        if 0.9 < _ratio() < 1.1:
            return
    raise AssertionError("a decoy and what is none take different times")


def _ratio() -> float:
    world = world_with(DECOY)
    times: dict[str, list[int]] = {DECOY: [], NOTHING: []}
    origin = world.origin(CONSOLE)
    for seq in range(1, 801):
        target = (DECOY, NOTHING)[(seq * 7 // 3) % 2]
        header = world.plain_header(seq=seq)._replace(dst=target)
        frame = world.forge(CONSOLE, header, b"")
        world.gate.decoys = Decoys(DeceptionConfig((DECOY,)))  # or only the first touch were one
        begin = perf_counter_ns()
        world.gate.check_untrusted(frame, origin, world.now)
        times[target].append(perf_counter_ns() - begin)
    return median(times[DECOY]) / median(times[NOTHING])


def test_primary_tells_after_the_answer_has_left_and_again_if_nobody_listened() -> None:
    async def scene() -> None:
        world = world_with(DECOY)
        said: list[tuple[object, ...]] = []
        trust = Mock(send=lambda *words: said.append(words))
        reports = DecoyReports(world.gate.decoys, Mock(), {}, trust)
        ask(world, DECOY, "get", 1)
        assert said == []
        await asyncio.sleep(5 * REPORT_AFTER_S)
        assert said == [("decoy_accessed", world.session(CONSOLE), DECOY, "get")]
        reports.report()
        assert len(said) == 1

    asyncio.run(scene())


@pytest.mark.parametrize(
    "target",
    ["/.env", "/.env?x=/y", "/%2eenv", "/%252Eenv", "/.EN%56", "//.env", "/./.env", "/a/../.env", "/..//./.env/",
     "/%2e%2e/.env", "/.env;.css", "/.env%00.png", "\\.env", "https://kitchen.example:7443/.env", "/.env#x"],
)  # fmt: skip
def test_a_decoy_path_is_found_however_it_is_written(target: str) -> None:
    decoys = Decoys(DeceptionConfig(paths=("/.env", "/phpmyadmin/")))
    decoys.check_request(target, "", b"s" * 16, "192.0.2.1", is_foreign=False)
    assert decoys.take() == [CanaryUse("path /.env", "", b"s" * 16, "")]


@pytest.mark.parametrize("target", ["/", "/env", "/.env/x", "/.environment", "/v1/?x=/.env", "/v1/call/a/b/.env", "*"])
def test_what_is_no_decoy_path_is_none(target: str) -> None:
    decoys = Decoys(DeceptionConfig(paths=("/.env",)))
    decoys.check_request(target, "", b"s" * 16, "192.0.2.1", is_foreign=False)
    assert decoys.take() == []


def test_what_another_site_makes_a_browser_ask_for_is_told_as_that() -> None:
    decoys = Decoys(DeceptionConfig(paths=("/.env",)))
    decoys.check_request("/.env", "", b"s" * 16, "192.0.2.1", is_foreign=True)
    assert decoys.take() == [CanaryUse("foreign path /.env", "", b"s" * 16, "")]


def test_what_other_sites_cause_leaves_room_for_what_counts() -> None:
    decoys = Decoys(DeceptionConfig(paths=("/.env",)))
    for number in range(10 * WAITING_MAX):
        decoys.check_request("/.env", "", number.to_bytes(16, "big"), "", is_foreign=True)
    decoys.check_request("/.env", "", b"s" * 16, "", is_foreign=False)
    assert decoys.take()[-1] == CanaryUse("path /.env", "", b"s" * 16, "")


@given(st.text(max_size=80))
def test_any_target_has_one_plain_path(target: str) -> None:
    path = plain_path(target)
    assert path.startswith("/") and not {"", ".", ".."} & set(path[1:].split("/")[:-1])


def test_no_decoy_of_ours_is_real() -> None:
    assert not set(COMPONENTS) & {component.address for component in BUILTIN}
    real = {
        (config.address, name)
        for config in BUILTIN
        for _, component in import_components([config], logging.getLogger("test"), ThreadWatch(lambda: True))
        for name in component.__tlsrt_methods__
    }
    assert real and not set(METHODS) & real


def test_a_probe_is_a_request_that_opens_nothing() -> None:
    world = world_with()
    endpoint = world.endpoints[CONSOLE]
    frame = endpoint.seal_probe(DECOY, "describe", b"", world.now + 1000)
    verdict = world.gate.check_untrusted(frame, world.origin(CONSOLE), world.now)
    assert verdict.reason == "not_allowed"
    assert world.header(frame).kind == FrameKind.REQUEST and world.gate.calls.unanswered() == []
