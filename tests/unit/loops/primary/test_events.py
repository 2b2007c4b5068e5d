"""primary/events: what it makes of the authority's lines, and what a slow subscriber gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from tlsrt.channels.frames import body
from tlsrt.channels.frames.body import decode_value_untrusted, pack_value
from tlsrt.errors import InvalidArgument, Unavailable
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.component.pubsub import QUEUE_ITEMS
from tlsrt.loops.gate.called import CalledMethods
from tlsrt.loops.primary.events import CALLED_PAGE, KEPT, KINDS, Events


def line(seq: int, kind: str = "lifecycle", boot: str = "ab") -> bytes:
    return json.dumps({"seq": seq, "boot": boot, "kind": kind, "name": "died"}).encode() + b"\n"


def stream(component: Events, *words: str) -> AsyncIterator[Any]:
    method, *args = words
    return cast("AsyncIterator[Any]", invoke(component, method, args, {}, subject="third/notes"))


def recent(component: Events, since: int = 0) -> list[int]:
    found: Any = asyncio.run(cast("Any", invoke(component, "recent", [since], {}, subject="third/notes")))
    return [event["seq"] for event in found]


def test_what_is_told_again_is_passed_over() -> None:
    component = Events()
    component.take([line(1), line(2)])
    component.take([line(1), line(2), line(3)])
    assert recent(component) == [1, 2, 3]
    assert recent(component, 2) == [3]
    component.take([line(1, boot="cd")])
    assert recent(component) == [1, 2, 3, 1]


def test_it_keeps_the_last_ones() -> None:
    component = Events()
    component.take([line(seq) for seq in range(1, KEPT + 101)])
    assert recent(component) == list(range(101, KEPT + 101))


def test_a_stream_begins_where_it_says_and_has_one_kind() -> None:
    async def scene() -> list[Any]:
        component = Events()
        component.take([line(1), line(2)])
        streams = {kind: stream(component, kind) for kind in KINDS}
        streams["all"] = stream(component, "subscribe", "host.health")
        first = asyncio.ensure_future(anext(streams["all"]))
        heard = [await anext(streams[kind]) for kind in KINDS]
        await asyncio.sleep(0)
        component.take([line(3, "health"), line(4, "session"), line(5, "security"), line(6), line(7, "program")])
        heard += [(await anext(streams[kind]))["seq"] for kind in KINDS]
        return [*heard, (await first)["seq"]]

    assert asyncio.run(scene()) == [*[{"after": 2}] * 5, 6, 4, 5, 3, 7, 3]


def test_a_gap_in_the_numbers_is_told_to_everybody() -> None:
    async def scene() -> list[Any]:
        component = Events()
        component.take([line(1)])
        health, life = stream(component, "health"), stream(component, "lifecycle")
        heard = [await anext(health), await anext(life)]
        component.take([line(9)])
        return [*heard, await anext(health), await anext(life), (await anext(life))["seq"]]

    assert asyncio.run(scene()) == [{"after": 1}, {"after": 1}, {"dropped": 7}, {"dropped": 7}, 9]


@pytest.mark.parametrize("flood", [QUEUE_ITEMS, QUEUE_ITEMS + 1, 10_000])
def test_a_slow_subscriber_is_told_how_many_it_lost_and_goes_on(flood: int) -> None:
    async def scene() -> int:
        component = Events()
        slow = stream(component, "lifecycle")
        await anext(slow)
        component.take([line(seq) for seq in range(1, flood + 1)])
        await anext(slow)
        for _ in range(QUEUE_ITEMS // 2):
            await anext(slow)
        component.take([line(flood + 1)])
        expected, last = QUEUE_ITEMS // 2 + 2, 0
        while last < flood + 1:
            event = await anext(slow)
            expected += event.get("dropped", 0)
            if "seq" in event:
                last = event["seq"]
                assert last == expected
                expected += 1
        assert len(component._pubsub) == 1
        await cast("Any", slow).aclose()
        return len(component._pubsub)

    assert asyncio.run(scene()) == 0


def test_the_last_events_are_packed_when_they_come_and_not_for_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Primary checks every message of the host: with all events kept, a call took 170 us more than its frame."""
    component = Events()
    for boot in ("ab", "cd"):
        component.take([line(seq, boot=boot) for seq in range(1, KEPT + 1)])
    assert not recent(component, KEPT)
    found = {
        since: asyncio.run(cast("Any", invoke(component, "recent", [since], {}, subject="third/notes")))
        for since in (0, KEPT - 15, KEPT)
    }
    with monkeypatch.context() as patched:
        patched.setattr(body, "_pack", None)
        packed = {since: pack_value(events) for since, events in found.items()}
    assert {since: decode_value_untrusted(data) for since, data in packed.items()} == found
    assert all(packed[since] == pack_value(list(events)) for since, events in found.items())


def told_since(component: Events, since: str, count: int, later: tuple[bytes, ...] = ()) -> list[Any]:
    """Follow lifecycle behind a position, and take what comes later; return `count` items."""

    async def scene() -> list[Any]:
        items = stream(component, "lifecycle", since)
        heard = [await anext(items)]
        component.take(later)
        return [*heard, *[await anext(items) for _ in range(count - 1)]]

    return asyncio.run(scene())


def test_a_follower_gets_what_lies_behind_its_position_of_its_kind_and_nothing_twice() -> None:
    component = Events()
    component.take([line(1), line(2, "health"), line(3), line(4)])
    found = told_since(component, "ab:1", 4, (line(4), line(5)))
    assert found[0] == {"at": "ab:1", "gap": 0}
    assert [(item["at"], item["event"]["seq"]) for item in found[1:]] == [("ab:3", 3), ("ab:4", 4), ("ab:5", 5)]
    assert told_since(component, "", 2, (line(6),))[0] == {"at": "ab:5", "gap": 0}, "from now on"
    component.take([line(9)])
    assert told_since(component, "ab:6", 1) == [{"at": "ab:6", "gap": 2}]
    assert told_since(component, "other:6", 2)[0] == {"at": "ab:0", "gap": -1}, "the host began anew"


def test_a_primary_that_has_just_begun_tells_a_follower_what_it_had_not_heard_and_no_gap() -> None:
    component = Events()
    with pytest.raises(Unavailable, match="are not here yet: try again"):
        told_since(component, "ab:3", 1)
    component.take([line(1), line(2)])  # the first of what the authority tells it
    found = told_since(component, "ab:3", 2, (line(3), line(4)))
    assert found[0] == {"at": "ab:3", "gap": 0} and found[1]["event"]["seq"] == 4
    with pytest.raises(InvalidArgument, match="since"):
        told_since(component, "7", 1)


def test_what_the_gate_has_counted_is_told_page_by_page() -> None:
    component, counts = Events(), CalledMethods()

    def called(first: int = 0) -> Any:
        return asyncio.run(cast("Any", invoke(component, "called", [first], {}, subject="client/a")))

    with pytest.raises(Unavailable):
        called()
    component.count_by(counts)
    assert called()["called"] == [] and called()["next"] is None
    for number in range(CALLED_PAGE + 2):
        counts.count_of(f"client/c{number // 200}", "secondary/store", f"m{number:04}").calls += number
    counts.count_of("client/z", "x" * 99, "y").refused += 1
    pages = [called(), called(CALLED_PAGE)]
    assert [page["next"] for page in pages] == [CALLED_PAGE, None] and pages[0]["rest"] == {"calls": 0, "refused": 1}
    rows = [row for page in pages for row in page["called"]]
    assert [row[3] for row in rows] == [*range(CALLED_PAGE + 2)] and called(4000)["called"] == []
    assert len(pack_value(pages[0])) < 224 * 1024
