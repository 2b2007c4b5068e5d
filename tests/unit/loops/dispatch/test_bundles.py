"""Bundles: calls of one turn that are sealed together are calls of their own in everything else."""

from __future__ import annotations

import asyncio

import pytest
from fakes.linked_components import CONSOLE, STORE, LinkedComponents, run

from tlsrt.channels.calls.batching import ALIKE_MS, Batcher
from tlsrt.channels.frames.frame import BUNDLE_MAX, FrameKind, parse_frame_untrusted, parse_header_untrusted
from tlsrt.errors import (
    Busy,
    CallError,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    OutcomeUnknown,
    PeerError,
    Rejected,
    Unavailable,
)


class _Request:
    """Takes note of whether it could be sent."""

    def __init__(self) -> None:
        self.seq = 0
        self.frame = b""
        self.error: CallError | None = None

    def fail(self, error: CallError) -> None:
        self.error = error


KEYS = tuple(f"key {number}" for number in range(60))


def test_the_first_call_leaves_alone_and_what_follows_it_in_bundles() -> None:
    async def test(wired: LinkedComponents) -> None:
        assert await wired.calls("get", *KEYS) == [f"{key} for {CONSOLE}" for key in KEYS]
        assert set(wired.store.calls.values()) == {1}
        sent = sorted(zip(wired.kinds, wired.counts, strict=True))
        bundles = [(kind, count) for kind in (FrameKind.REQUESTS, FrameKind.REPLIES) for count in (27, BUNDLE_MAX)]
        assert sent == [(FrameKind.REQUEST, 1), (FrameKind.REPLY, 1), *bundles]

    assert not run(test).refused


def test_each_call_of_a_bundle_has_its_own_end() -> None:
    async def test(wired: LinkedComponents) -> None:
        results = await asyncio.gather(
            wired.call("get", "first"), wired.call("get", "a"), wired.call("get", "nothing"), wired.call("get", 7),
            wired.call("get"), wired.call("get", "b"), return_exceptions=True,
        )  # fmt: skip
        assert [type(result) for result in results] == [str, str, NotFound, InvalidArgument, InvalidArgument, str]
        errors = [FrameKind.ERROR] * 3
        assert sorted(wired.kinds) == [
            FrameKind.REQUEST,
            FrameKind.REPLY,
            *errors,
            FrameKind.REQUESTS,
            FrameKind.REPLIES,
        ]

    run(test)


def test_other_methods_and_deadlines_are_not_sealed_together_and_order_is_kept() -> None:
    async def test(wired: LinkedComponents) -> None:
        wired.store.release.set()
        await asyncio.gather(
            wired.call("get", "1"), wired.call("get", "2"), wired.call("wait", "3"), wired.call("get", "4"),
            wired.call("get", "5"), wired.call("get", "6", timeout_s=7),
        )  # fmt: skip
        asked = [kind for kind in wired.kinds if kind in (FrameKind.REQUEST, FrameKind.REQUESTS)]
        assert asked == [FrameKind.REQUEST, FrameKind.REQUEST, FrameKind.REQUEST, FrameKind.REQUESTS, FrameKind.REQUEST]
        assert set(wired.store.calls.values()) == {1}

    assert not run(test).refused


def test_one_call_of_a_bundle_is_cancelled_and_the_others_are_answered() -> None:
    async def test(wired: LinkedComponents) -> None:
        calls = [asyncio.ensure_future(wired.call("wait", key)) for key in KEYS[:6]]
        while sum(wired.store.calls.values()) < 6:
            await asyncio.sleep(0)
        calls[3].cancel()
        await asyncio.sleep(0)
        wired.store.release.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [result for result in results if isinstance(result, str)] == [*KEYS[:3], *KEYS[4:6]]
        assert isinstance(results[3], asyncio.CancelledError)

    run(test)


def test_calls_both_ways_at_once() -> None:
    """A component that answers and asks in one turn takes its numbers in the order in which its frames leave."""

    async def test(wired: LinkedComponents) -> None:
        assert await wired.calls("back", *KEYS) == [f"{key} for {STORE}" for key in KEYS]

    assert not run(test).refused


def test_a_full_queue_ends_the_requests_of_a_bundle_and_is_waited_out_by_replies() -> None:
    async def test(wired: LinkedComponents) -> None:
        wired.full = {CONSOLE}
        results = await wired.calls("get", *KEYS[:9])
        assert {type(result) for result in results} == {Busy}
        wired.full = {STORE}
        calls = asyncio.ensure_future(wired.calls("get", *KEYS[:9]))
        while wired.store.calls.total() < 9:
            await asyncio.sleep(0)
        wired.full = set()
        assert await calls == [f"{key} for {CONSOLE}" for key in KEYS[:9]]
        assert set(wired.store.calls.values()) == {1}

    run(test)


def test_a_channel_that_goes_down_before_the_turn_ends_has_sent_nothing() -> None:
    """Of four calls the first was written, so nobody knows; the others are sealed anew when the channel is up."""

    async def test(wired: LinkedComponents) -> None:
        caller = wired.hosts[CONSOLE].caller
        calls = [asyncio.ensure_future(wired.call("wait", key)) for key in KEYS[:4]]
        await asyncio.sleep(0)
        assert len(caller.pending.by_number) == 4
        caller.set_up(False)
        caller.pending.fail_all()
        wired.store.release.set()
        await asyncio.sleep(0)
        caller.set_up(True)
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(results[0], OutcomeUnknown)
        assert results[1:] == list(KEYS[1:4])

    run(test)


def test_a_refused_bundle_ends_all_its_calls() -> None:
    async def test(wired: LinkedComponents) -> None:
        wired.change = lambda frame: frame[:-1] + bytes((frame[-1] ^ 1,))
        results = await wired.calls("get", *KEYS[:9])
        assert {type(result) for result in results} == {Rejected}
        assert wired.kinds == [FrameKind.REQUEST, FrameKind.REQUESTS]

    run(test)


def test_an_idempotent_call_in_a_bundle_runs_once() -> None:
    async def test(wired: LinkedComponents) -> None:
        results = await asyncio.gather(*(wired.call("get", "same", idempotency_key="k") for _ in range(5)))
        assert set(results) == {f"same for {CONSOLE}"}
        assert wired.store.calls["same"] == 1

    run(test)


@pytest.mark.parametrize("body", [b"", b"\xc0", b"\x91\xc0", b"\x93\xc0\xc0\xc0", b"\x92\xc1"])
def test_a_hostile_bundle_gives_each_of_its_calls_an_error_at_most(body: bytes) -> None:
    async def test(wired: LinkedComponents) -> None:
        endpoint = wired.world.endpoints[CONSOLE]
        held = endpoint._epochs[endpoint.epoch]
        header = wired.world.plain_header(kind=FrameKind.REQUESTS, seq=2, part=2, method="get")
        wired.send(CONSOLE, endpoint._seal(held, header, held.rights[STORE].seal, body))
        for _ in range(5):
            await asyncio.sleep(0)
        assert wired.kinds[1:] == [FrameKind.ERROR, FrameKind.ERROR]

    assert not run(test).store.calls


def test_a_bundle_that_is_replayed_in_part_or_whole_runs_nothing() -> None:
    async def test(wired: LinkedComponents) -> None:
        heard: list[bytes] = []
        wired.change = lambda frame: heard.append(frame) or frame  # type: ignore[func-returns-value]
        await wired.calls("get", *KEYS[:9])
        assert len(heard) == 4
        for data in heard:
            frame = parse_frame_untrusted(data)
            header = parse_header_untrusted(frame.header)
            if header.src == STORE:
                continue
            assert wired.world.gate.check_untrusted(data, wired.world.origin(CONSOLE), 1_000_000).reason == "replay"
            with pytest.raises(PeerError, match="replay"):
                wired.hosts[STORE].endpoint.open_untrusted(frame, header, wired.world.now)
        assert set(wired.store.calls.values()) == {1}

    run(test)


def test_replies_of_a_bundle_to_calls_of_another_component_end_nothing() -> None:
    """A captured recipient answers calls that it was not asked."""

    async def test(wired: LinkedComponents) -> None:
        caller = wired.hosts[CONSOLE].caller
        call = asyncio.ensure_future(wired.call("wait", "x"))
        await asyncio.sleep(0)
        next(iter(caller.pending.by_number.values())).target = "primary/kernel"
        (seq,) = caller.pending.by_number
        store = wired.hosts[STORE].endpoint
        asked = wired.world.plain_header(seq=seq)
        names = [asked.session + number.to_bytes(8, "big") for number in (seq, seq + 1)]
        data = store.seal_replies(asked, names, [b"\x01", b"\x02"], wired.world.now + 1000)
        frame = parse_frame_untrusted(data)
        with pytest.raises(PeerError, match="wrong_replier"):
            wired.hosts[CONSOLE].on_frame_untrusted(frame, parse_header_untrusted(frame.header), wired.world.now)
        call.cancel()
        with pytest.raises((asyncio.CancelledError, CallError)):
            await call
        wired.world.gate.sweep(wired.world.now + 60_000)

    run(test)


def test_requests_to_a_recipient_that_goes_away_before_the_turn_ends_are_not_sealed() -> None:
    async def test(wired: LinkedComponents) -> None:
        endpoint = wired.hosts[CONSOLE].endpoint
        batcher = Batcher(endpoint, lambda frame: wired.send(CONSOLE, frame), lambda: 0, wired.turn)
        first, second, third = requests = [_Request() for _ in range(3)]
        for request in requests[:2]:
            batcher.request(request, STORE, "get", b"a", wired.world.now + 1000)
        assert second.seq == first.seq + 1 > 1
        endpoint.apply_right(endpoint.epoch, STORE, 0, bytes(32), ("*",))
        batcher.release()
        assert [type(request.error) for request in requests] == [Unavailable, Unavailable, type(None)]
        with pytest.raises(Unavailable):
            batcher.request(third, STORE, "get", b"c", wired.world.now + 1000)
        assert wired.kinds == [] and not any(request.frame for request in requests)

    run(test)


def test_who_awaits_the_answers_of_a_turn_goes_on_at_its_end_and_asks_again_in_one_bundle() -> None:
    """Nothing that an asker does comes between two answers; and no call of a turn is taken for a lone one."""

    async def test(wired: LinkedComponents) -> None:
        console, log = wired.hosts[CONSOLE], list[str]()
        held: list[bytes] = []
        deliver = wired.deliver

        def read() -> None:
            wired.turn.begin_turn()
            for data in held:
                frame = parse_frame_untrusted(data)
                console.on_frame_untrusted(frame, parse_header_untrusted(frame.header), wired.world.now)
                log.append("read")
            wired.turn.end()
            log.append("end")

        def hold(subject: str, data: bytes) -> None:
            if subject != CONSOLE or len(held) == 2:
                deliver(subject, data)
                return
            held.append(data)
            if len(held) == 2:
                asyncio.get_running_loop().call_soon(read)

        async def twice(key: str) -> str:
            await console.caller.call(STORE, "get", (key,))
            log.append(key)
            answer: str = await console.caller.call(STORE, "get", (f"{key} again",))
            return answer

        wired.deliver = hold  # type: ignore[method-assign]
        found = await asyncio.gather(twice("one"), twice("two"))
        assert list(found) == [f"one again for {CONSOLE}", f"two again for {CONSOLE}"]
        assert log == ["read", "read", "one", "two", "end"]
        sent = zip(wired.kinds, wired.counts, strict=True)
        asked = [count for kind, count in sent if kind in (FrameKind.REQUEST, FrameKind.REQUESTS)]
        assert asked == [1, 1, 2]

    run(test)


def test_deadlines_that_differ_by_little_share_a_bundle_which_has_the_last_of_them() -> None:
    """A clock that ticks in the middle of a turn splits nothing; a call with much more time is not cut short."""

    async def test(wired: LinkedComponents) -> None:
        endpoint, now = wired.hosts[CONSOLE].endpoint, wired.world.now
        frames: list[bytes] = []
        batcher = Batcher(endpoint, frames.append, lambda: 0, wired.turn)
        for after in (1000, 1004, 998, 1000 + ALIKE_MS, 1001 + ALIKE_MS, 500):
            batcher.request(_Request(), STORE, "get", b"a", now + after)
        batcher.release()
        headers = [parse_header_untrusted(parse_frame_untrusted(frame).header) for frame in frames]
        assert [(header.part, header.deadline - now) for header in headers] == [
            (4, 1000 + ALIKE_MS), (0, 1001 + ALIKE_MS), (0, 500)
        ]  # fmt: skip

    run(test)


def test_each_call_of_a_bundle_ends_at_its_own_deadline() -> None:
    async def test(wired: LinkedComponents) -> None:
        pending = wired.hosts[CONSOLE].caller.pending
        calls = [
            asyncio.ensure_future(wired.call("wait", f"key {at}", timeout_s=timeout_s))
            for at, timeout_s in enumerate((300, 1.0, 1.008))
        ]
        while len(wired.store.calls) < 3:
            await asyncio.sleep(0)
        assert wired.counts.count(2) == 1, "the last two share a frame"
        wired.world.now += 1001
        pending._on_alarm()
        with pytest.raises(DeadlineExceeded):
            await calls[1]
        assert not calls[2].done()
        wired.store.release.set()
        assert await calls[2] == "key 2" and await calls[0] == "key 0"

    run(test)
