"""Messages whose time is over: what their senders see, what the operator is told, and what is kept of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hosts.message_service import ANNA, BOB, EVE, ClockedMessages, inbox, send, service

from tlsrt.errors import NotFound
from tlsrt.loops.external.message_tables import DEAD_MS, Unread
from tlsrt.testing import FakeEvents

CARRIER = "external/mqtt"
MINUTE_MS = 60_000


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    ClockedMessages.ahead_ms = 0
    yield
    ClockedMessages.ahead_ms = 0


def pass_time(it: Any, ms: int = 2 * MINUTE_MS) -> tuple[int, list[Unread]]:
    async def passed() -> tuple[int, list[Unread]]:
        ClockedMessages.ahead_ms += ms  # here, so that the service does not look before
        found: tuple[int, list[Unread]] = await it.component.db.transaction(
            it.component._tables.pass_time, it.component.wall_ms()
        )
        return found

    found: tuple[int, list[Unread]] = it.run(passed())
    return found


def sent(it: Any, caller: str = ANNA) -> list[Mapping[str, Any]]:
    page = it.call("sent", limit=100, caller=caller)
    found: list[Mapping[str, Any]] = list(page["messages"])
    while page["next"] is not None:
        page = it.call("sent", limit=100, before=page["next"], caller=caller)
        found += page["messages"]
    return found


def states(it: Any, id: str, caller: str = ANNA) -> dict[str, str]:
    [found] = [one for one in sent(it, caller) if one["id"] == id]
    return {one["recipient"]: one["state"] for one in found["recipients"]}


def assert_totals(it: Any) -> int:
    """Compare the counts that are kept with what is there; return how many messages that is."""
    [kept] = it.run(it.component.db.read("SELECT messages, bytes FROM totals"))
    [there] = it.run(it.component.db.read("SELECT count(*) AS messages, ifnull(sum(bytes), 0) AS bytes FROM messages"))
    assert (kept["messages"], kept["bytes"]) == (there["messages"], there["bytes"])
    return int(there["messages"])


def test_what_was_not_read_in_time_is_shown_to_its_sender_for_a_month(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        id = send(it, body="x" * 5000, expires_s=60)
        later = send(it, expires_s=3600)
        assert pass_time(it) == (1, [Unread(id, ANNA, BOB)])
        assert [one["id"] for one in inbox(it)] == [later]
        with pytest.raises(NotFound, match="acknowledged, expired, or never there"):
            it.call("read", id, caller=BOB)
        assert it.call("acknowledge", [id], caller=BOB) == 0
        assert states(it, id) == {BOB: "expired"} and states(it, later) == {BOB: "delivered"}
        assert not it.call("send", BOB, "x", id=id, caller=ANNA)["is_new"], "it is the message that expired"
        assert pass_time(it, 0) == (0, []), "it expires once"
        assert assert_totals(it) == 2
        pass_time(it, DEAD_MS - 4 * MINUTE_MS)
        assert states(it, id) == {BOB: "expired"}
        pass_time(it, 4 * MINUTE_MS)
        assert [one["id"] for one in sent(it)] == [later] and assert_totals(it) == 1


def test_what_was_read_is_forgotten_when_its_time_is_over(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        it.call("read", send(it, expires_s=60), caller=BOB)
        assert pass_time(it) == (1, [])
        assert inbox(it) == sent(it) == [] and assert_totals(it) == 0


def test_a_group_shows_what_became_of_it_at_each(tmp_path: Path) -> None:
    with service(tmp_path, groups={"family": [ANNA, BOB, EVE]}) as it:
        id = send(it, "group/family", caller="third/kettle", expires_s=60)
        it.call("acknowledge", [id], caller=BOB)
        it.call("read", id, caller=EVE)
        assert pass_time(it) == (1, [Unread(id, "third/kettle", ANNA)])
        assert states(it, id, "third/kettle") == {ANNA: "expired", BOB: "acknowledged", EVE: "read"}
        assert inbox(it, EVE) == inbox(it, ANNA) == []


def test_heads_of_what_expired_are_few(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        other = send(it, caller=EVE, expires_s=60)
        ids = [send(it, body="x" * 100, expires_s=60) for _ in range(210)]
        for _ in range(3):  # some at a time
            pass_time(it)
        assert {one["id"] for one in sent(it)} == set(ids[10:])
        assert states(it, other, EVE) == {BOB: "expired"}, "one's are not another's"
        assert assert_totals(it) == 201


def looked(it: Any, expired: int) -> None:
    """Have the service look for what has expired, as it does when the time of a message is over."""
    ClockedMessages.ahead_ms = 2 * MINUTE_MS
    it.component._expiry.look_again()
    deadline = time.monotonic() + 10
    while (seen := it.call("metrics")["counters"].get("expired", 0)) < expired:
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)
    assert seen == expired


def test_the_operator_is_told_of_what_a_carrier_has_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    events = FakeEvents()
    with service(tmp_path, events=events) as it:
        lost = [send(it, CARRIER, expires_s=60) for _ in range(10)]
        send(it, BOB, expires_s=60)
        looked(it, 11)
        assert events.alerts == ["undeliverable"]
        told = [one for one in caplog.messages if "has expired" in one]
        assert told == [f"message {id} of {ANNA} has expired, as {CARRIER} has not taken it" for id in lost[:8]]
        assert "so have 2 more, which their senders see by `sent`" in caplog.messages


def test_a_person_s_own_time_is_no_alert(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    events = FakeEvents()
    with service(tmp_path, events=events) as it:
        send(it, BOB, id=os.urandom(16).hex(), expires_s=60)
        looked(it, 1)
        assert events.alerts == [] and not [one for one in caplog.messages if "has expired" in one]
