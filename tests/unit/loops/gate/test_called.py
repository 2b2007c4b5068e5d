"""What the gate counts: each request that passes, on the fast path and off it, and each that policy refuses."""

from __future__ import annotations

from fakes.memory_host import MemoryHost

from tlsrt.channels.frames.frame import FrameKind, correlation
from tlsrt.loops.gate.called import MOST, NAME_MAX, SHARE, CalledMethod, CalledMethods

STORE, CONSOLE = "secondary/store", "third/console"


def rows(world: MemoryHost) -> list[tuple[str, int, int]]:
    return [(f"{row.source} {row.target} {row.method}", row.calls, row.refused) for row in world.gate.called]


def test_calls_are_counted_whichever_path_they_take_and_answers_are_none() -> None:
    world = MemoryHost()
    for number in range(1, 6):
        data = world.request(body=b"x" * 40)
        assert world.gate.check_untrusted(data, world.origin(CONSOLE), world.now).passed
        header = world.header(data)
        assert rows(world) == [(f"{CONSOLE} {STORE} {header.method}", number, 0)]
        reply = world.endpoints[STORE].seal_reply(
            FrameKind.REPLY, header, b"answer", world.now + 1000, correlation=correlation(header.session, header.seq)
        )
        assert world.gate.check_untrusted(reply, world.origin(STORE), world.now).passed
    assert [row[1] for row in rows(world)] == [5]


def test_what_is_forged_or_repeated_counts_nothing() -> None:
    world = MemoryHost()
    data = world.request()
    assert world.gate.check_untrusted(data, world.origin(CONSOLE), world.now).passed
    for bad in (data, data[:-1] + bytes([data[-1] ^ 1])):
        assert not world.gate.check_untrusted(bad, world.origin(CONSOLE), world.now).passed
    header = world.plain_header(seq=1000, method="delete")
    assert not world.gate.check_untrusted(
        world.forge(CONSOLE, header, b"", proof_key=bytes(32)), world.origin(CONSOLE), world.now
    ).passed
    assert [row[1:] for row in rows(world)] == [(1, 0)]


def test_what_policy_refuses_is_counted_apart() -> None:
    world = MemoryHost()
    for seq in (1001, 1002):
        header = world.plain_header(seq=seq, method="delete")
        verdict = world.gate.check_untrusted(world.forge(CONSOLE, header, b""), world.origin(CONSOLE), world.now)
        assert verdict.reason == "not_allowed"
    assert rows(world) == [(f"{CONSOLE} {STORE} delete", 0, 2)]


def test_a_caller_that_makes_up_methods_takes_its_share_and_no_place_of_others() -> None:
    counts = CalledMethods()
    for number in range(3 * SHARE):
        counts.count_of("client/evil", STORE, f"m{number}").refused += 1
    counts.count_of("client/evil", STORE, "x" * (NAME_MAX + 1)).refused += 1
    assert sum(row.source == "client/evil" for row in counts) == SHARE and counts.rest.refused == 2 * SHARE + 1
    counts.count_of("client/good", STORE, "get").calls += 1
    assert CalledMethod("client/good", STORE, "get", 1, 0) in [*counts]
    for number in range(MOST):
        counts.count_of(f"client/c{number}", STORE, "get").calls += 1
    assert len([*counts]) == MOST
    counts.count_of("client/good", STORE, "get").calls += 1
    assert CalledMethod("client/good", STORE, "get", 2, 0) in [*counts]  # a place is kept
