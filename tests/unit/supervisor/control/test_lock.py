"""The lock in the supervisor: what `status` says of it, when Primary is killed for it, and what is answered."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.channels.control.authority_channel import LockStateMessage, LockStoredMessage
from tlsrt.supervisor.control.lock import LockControl
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.supervision.feature import Reply

LOCK, OTHER = bytes(16), bytes([1]) * 16


class Nothing:
    """Stands for all that a lock moves: none of it matters here."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **more: None


class Host:
    """A LockControl with a living Primary; the test says what the authority says."""

    def __init__(self, event_loop: EventLoop) -> None:
        self.killed: list[str] = []
        self.answers: list[Reply] = []  # for the authority's answers, in the order of the requests
        self.primary = SimpleNamespace(is_primary=True, is_living=True, name="primary", state=None, incarnation=1)
        self.authority = SimpleNamespace(is_booted=True, unwritten="", channel=Nothing(), epoch=7)
        context = SimpleNamespace(event_loop=event_loop, events=Nothing(), console=Nothing())
        loops = SimpleNamespace(
            all=[self.primary], set_locked=lambda is_locked: None, is_stopping=False, is_locked=False,
            restart_policy=Nothing(), kill=lambda loop, event, why, cause: self.killed.append(loop.name),
        )  # fmt: skip
        requests = SimpleNamespace(ask=lambda reply, read, *fields: self.answers.append(reply))
        self.control = LockControl(
            cast("Any", context), cast("Any", loops), cast("Any", Nothing()), cast("Any", self.authority),
            cast("Any", requests),
        )  # fmt: skip

    def hear(self, message: LockStateMessage | LockStoredMessage) -> None:
        name = "lock_state" if isinstance(message, LockStateMessage) else "lock_stored"
        self.control.messages()[name](message)

    def hear_locked(self, lock: bytes) -> None:
        self.hear(LockStateMessage(lock, "by night", "client/guard", 7))

    def hear_unlocked(self) -> None:
        self.hear(LockStateMessage(b"", "", "", 0))

    def lock(self) -> list[dict[str, Any]]:
        """Lock as an operator; return what is answered, now or later."""
        said: list[dict[str, Any]] = []
        self.control.verbs()["lock"].answer({}, said.append)
        return said

    def is_stored(self) -> bool:
        document = self.control.document()
        assert document is not None
        return bool(document["stored"])


@pytest.fixture
def host() -> Iterator[Host]:
    event_loop = EventLoop()
    yield Host(event_loop)
    event_loop.close()


def test_a_lock_of_a_client_is_stored_when_the_authority_has_written_it(host: Host) -> None:
    host.hear_locked(LOCK)
    assert not host.is_stored()
    host.hear(LockStoredMessage(OTHER))
    assert not host.is_stored(), "that was another one"
    host.hear(LockStoredMessage(LOCK))
    assert host.is_stored()


def test_a_lock_that_takes_the_place_of_one_being_unlocked_gets_a_primary_of_its_own(host: Host) -> None:
    host.hear_locked(LOCK)
    host.hear_locked(LOCK)
    assert host.killed == ["primary"]
    host.hear_locked(OTHER)  # the authority hears no more of the Primary that served the door of the first
    assert host.killed == ["primary"] * 2


def test_a_lock_of_an_operator_that_crosses_another_replaces_primary_once(host: Host) -> None:
    host.lock()
    assert host.killed == ["primary"]
    host.hear_locked(OTHER)
    assert host.killed == ["primary"]


def test_an_authority_that_comes_again_with_another_lock_takes_the_primary_that_there_is(host: Host) -> None:
    host.hear_locked(LOCK)
    host.control.authority_booted()
    host.control.authority_lost()
    host.authority.is_booted = False
    host.hear_locked(OTHER)
    assert host.killed == ["primary"]


def test_a_lock_that_an_unlock_has_ended_before_its_answer_is_not_answered_as_one(host: Host) -> None:
    host.hear_locked(LOCK)
    said = host.lock()
    assert said == []
    host.hear_unlocked()
    (answered,) = host.answers
    answered({})
    assert [list(each) for each in said] == [["unavailable"]] and "lock it again" in said[0]["unavailable"][0]


def test_a_lock_beside_another_is_answered_with_the_one_that_there_is(host: Host) -> None:
    host.hear_locked(LOCK)
    said = host.lock()
    (answered,) = host.answers
    answered({})
    assert [(each["lock"]["id"], each["already"]) for each in said] == [(LOCK.hex(), True)]
