"""Events for a client: nothing is told twice, gaps are told, and whatever a captured Primary sends is no traceback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.client.event_line import event_line, is_coloured
from tlsrt.channels.client.events import KINDS, TARGET, Journal, follow, look_back, may_hear
from tlsrt.errors import Denied, Rejected, StreamBroken, Unavailable


def event(seq: int, kind: str = "lifecycle", boot: str = "aa") -> dict[str, Any]:
    return {
        "seq": seq,
        "kind": kind,
        "boot": boot,
        "name": "died",
        "subject": "third",
        "sentence": "process exited unexpectedly",
    }


class Host:
    """A host that is played: for every opening of a stream what it gives, and what is kept."""

    subject = "client/kiosk"
    waits_for_unlock = False

    def __init__(self, kept: list[list[Any]], rounds: dict[str, list[Callable[[], list[Any]]]], *methods: str) -> None:
        self.rights = {TARGET: methods or ("*",)}
        self.kept, self.rounds = kept, rounds

    async def call(self, target: str, method: str, /, *args: object, timeout_s: float, idempotent: bool) -> Any:
        return self.kept.pop(0)

    async def stream(self, target: str, method: str, /, *, timeout_s: float) -> AsyncGenerator[Any, None]:
        for item in self.rounds[method].pop(0)():
            yield item
            await asyncio.sleep(0)
        raise StreamBroken("cut")


def refused() -> list[Any]:
    raise Rejected("rejected")


def heard(host: Host, kinds: tuple[str, ...], since: int = 0) -> list[Any]:
    """Return what is heard until the host refuses."""

    async def run() -> list[Any]:
        events: list[Any] = []
        stream = follow(host, kinds, Journal(kinds, since), 20.0)
        try:
            async for item in stream:
                events.append(item)
        except Rejected:
            return events
        raise AssertionError("it went on")

    return asyncio.run(run())


def test_what_streams_and_recent_tell_twice_is_told_once() -> None:
    host = Host(
        [[event(1), event(2, "session"), event(3)]],
        {
            "lifecycle": [lambda: [{"after": 2}, event(3), event(4)], refused],
            "session": [lambda: [{"after": 3}, *[event(2, "session")] * 9], refused],
        },
    )
    told = heard(host, ("lifecycle", "session"))
    assert [item["seq"] for item in told] == [1, 2, 3, 4]


def test_what_happened_between_two_streams_is_told_and_so_is_what_is_lost() -> None:
    host = Host(
        [[event(1)], [event(5), event(6)]],
        {"lifecycle": [lambda: [{"after": 1}, event(2)], lambda: [{"after": 6}, event(7)], refused]},
    )
    told = heard(host, ("lifecycle",))
    assert told == [event(1), event(2), {"dropped": 2}, event(5), event(6), event(7)]


def test_a_new_life_of_the_host_counts_from_one() -> None:
    host = Host(
        [[event(40)], [event(1, boot="bb")]],
        {"lifecycle": [lambda: [{"after": 40}], lambda: [{"after": 1}, event(2, boot="bb")], refused]},
    )
    assert [item["seq"] for item in heard(host, ("lifecycle",), since=30)] == [40, 1, 2]


def test_without_the_right_to_look_back_only_what_comes_is_told() -> None:
    host = Host(
        [], {"session": [lambda: [{"after": 9}, event(10, "session"), event(11, "health")], refused]}, "session"
    )
    assert may_hear(host, [], live=True) == ("session",)
    assert [item["seq"] for item in heard(host, ("session",))] == [10]


def test_a_host_that_stays_away_ends_the_command_in_time() -> None:
    def away() -> list[Any]:
        raise Unavailable("nobody is there")

    async def run() -> None:
        host = Host([], {"health": [away] * 100})
        with pytest.raises(Unavailable, match="go on with --since 7: nobody is there"):
            await anext(follow(host, ("health",), Journal(("health",), 7), 0.2))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("rights", "kinds", "live", "lacking"),
    [
        ((), (), True, r"\[lifecycle, session, security, health, program, recent\]"),
        (("recent",), ("health",), True, "health"),
        (("health",), ("health", "session"), True, r"\[session\]"), (("health",), (), False, r"\[recent\]"),
    ],
)  # fmt: skip
def test_who_may_not_hear_is_told_which_line_of_policy_is_missing(
    rights: tuple[str, ...], kinds: tuple[str, ...], live: bool, lacking: str
) -> None:
    host = Host([], {})
    host.rights = {TARGET: rights}
    with pytest.raises(Denied, match=f'"client/kiosk -> primary/events": .*{lacking}'):
        may_hear(host, kinds, live=live)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.binary(max_size=4) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["seq", "a"]), inner, max_size=3),
    max_leaves=6,
)
ITEMS = ANYTHING | st.fixed_dictionaries(
    {},
    optional={
        "seq": st.integers(0, 6) | ANYTHING, "kind": st.sampled_from(KINDS) | ANYTHING, "name": ANYTHING,
        "boot": st.sampled_from(["aa", "bb"]) | ANYTHING, "fields": ANYTHING, "dropped": ANYTHING, "at": ANYTHING,
        "severity": ANYTHING, "subject": ANYTHING, "sentence": ANYTHING, "after": ANYTHING,
    },
)  # fmt: skip


@given(st.lists(ITEMS, max_size=12), st.integers(0, 5))
def test_whatever_comes_is_told_in_order_or_passed_over(items: list[Any], since: int) -> None:
    journal = Journal(KINDS, since)
    last: dict[tuple[str, str], int] = {}
    boot = None
    for item in items:
        if journal.take(item) and "dropped" not in item:
            if boot != item["boot"]:
                boot, last = item["boot"], {}
            name = (item["boot"], item["kind"])
            assert item["seq"] > last.get(name, 0)
            last[name] = item["seq"]
        if isinstance(item, dict):
            assert event_line(item, colour=False).isprintable()
    assert journal.missing(items) >= 0
    assert isinstance(asyncio.run(look_back(Host([items], {}), journal, 1.0)), list)


def test_colours_are_for_terminals_that_want_them() -> None:
    assert is_coloured(True, {}) and not is_coloured(False, {})
    assert not is_coloured(True, {"NO_COLOR": "1"}) and not is_coloured(True, {"TERM": "dumb"})


def test_a_refusal_is_no_break() -> None:
    host = Host([], {"health": [refused, refused]})
    assert heard(host, ("health",)) == []
    assert len(host.rounds["health"]) == 1  # it is not asked again
