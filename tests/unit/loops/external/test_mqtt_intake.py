"""Messages of a broker on their way to mailboxes, without a broker: repetitions, full mailboxes, what is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tlsrt import Component, database
from tlsrt.errors import Failed, Unavailable
from tlsrt.loops.external.broker_message import Received, matches
from tlsrt.loops.external.carrier import Carrier
from tlsrt.loops.external.mqtt_intake import STEPS, WAITING, MqttIntake, body_of, topic_of
from tlsrt.loops.external.mqtt_options import SourceOptions
from tlsrt.testing import running

SOURCES = {
    "door": SourceOptions(filter="door/+/bell", to="client/anna"),
    "news": SourceOptions(filter="news/#", to="client/bob", retained=True),
}


class Taking(Component):
    """A component of a test with the intake in it."""

    db = database(steps=STEPS)

    async def start(self) -> None:
        self.acknowledged: list[Received] = []
        self.counts: dict[str, int] = {}
        carrier = Carrier(self, 1.0, "mqtt")
        self.intake = MqttIntake(SOURCES, self.db, carrier, self.acknowledged.append, self.counted, self.log)
        for name in SOURCES:
            self.spawn(partial(self.intake.pump, name))

    def counted(self, name: str, by: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + by


class Mail:
    """Mailboxes: each id is one message, as external/messages has it."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, Any, str]] = {}
        self.failures: list[Exception] = []
        self.calls = 0

    def send(self, to: str, body: Any, **more: Any) -> dict[str, Any]:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        self.kept[more["id"]] = (to, body, more["topic"])
        return {"id": more["id"], "is_new": True}


def at(topic: str = "door/back/bell", payload: bytes = b"ring", mid: int = 1, **more: Any) -> Received:
    return Received(topic, payload, mid, more.get("again", False), more.get("retained", False), 1)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsrt.loops.external.carrier.FIRST_S", 0.01)
    monkeypatch.setattr("tlsrt.loops.external.mqtt_intake.HOLD_S", 0.05)
    monkeypatch.setattr("tlsrt.loops.external.mqtt_intake._AGAIN_S", 0.01)


def with_intake(folder: Path, mail: Mail, work: Callable[[Any], Awaitable[None]]) -> None:
    async def run() -> None:
        needs = {"state_mb": 8, "threads": 2}
        peers = {"external/messages": mail}
        async with running(Taking, state=folder, address="external/mqtt", needs=needs, peers=peers) as it:
            async with asyncio.timeout(30):
                await work(it.component)

    asyncio.run(run())


async def until(is_true: Callable[[], object]) -> None:
    while not is_true():
        await asyncio.sleep(0.005)


def test_a_repetition_is_one_message_also_for_a_process_that_was_killed(tmp_path: Path) -> None:
    mail = Mail()

    async def first(it: Any) -> None:
        it.intake.take(at())
        await until(lambda: it.acknowledged)

    async def second(it: Any) -> None:
        it.intake.take(at(again=True))  # the acknowledgement was lost, and the process with what it knew
        await until(lambda: it.acknowledged)
        assert mail.calls == 1
        it.intake.take(at())  # the number is used again, for a message that is new
        it.intake.take(at(payload=b"rang", again=True))  # marked as repeated, and is not what it was
        await until(lambda: len(it.acknowledged) == 3)

    with_intake(tmp_path, mail, first)
    with_intake(tmp_path, mail, second)
    assert sorted(body for _, body, _ in mail.kept.values()) == ["rang", "ring", "ring"]


def test_it_is_acknowledged_only_when_it_is_in_the_mailbox(tmp_path: Path) -> None:
    mail = Mail()
    mail.failures = [Unavailable("away")] * 20

    async def work(it: Any) -> None:
        it.intake.take(at())
        await until(lambda: mail.calls > 5)
        assert it.acknowledged == []
        await until(lambda: it.acknowledged)

    with_intake(tmp_path, mail, work)
    assert len(mail.kept) == 1


def test_a_mailbox_that_is_full_drops_its_own_messages_and_says_so(tmp_path: Path) -> None:
    mail = Mail()
    mail.failures = [Failed("the mailbox of client/anna is full")] * 10_000

    async def work(it: Any) -> None:
        for mid in range(1, 4):
            it.intake.take(at(mid=mid))
        await until(lambda: len(it.acknowledged) == 3)
        assert it.counts["dropped_refused"] == 3 and it.intake.full == {"door": "the mailbox of client/anna is full"}
        mail.failures.clear()
        it.intake.take(at("news/a", mid=4, retained=True))
        it.intake.take(at(mid=5))
        await until(lambda: len(it.acknowledged) == 5)
        assert it.intake.full == {}

    with_intake(tmp_path, mail, work)
    assert sorted(mail.kept.values()) == [
        ("client/anna", "ring", "door.door/back/bell"), ("client/bob", "ring", "news.news/a"),
    ]  # fmt: skip


def test_what_no_source_names_was_kept_or_is_too_much_is_dropped(tmp_path: Path) -> None:
    mail = Mail()

    async def work(it: Any) -> None:
        it.intake.take(at("door/back/window"))
        it.intake.take(at(retained=True))
        it.intake.take(at(payload=bytes(70_000)))
        assert len(it.acknowledged) == 3 and it.intake._queues["door"].empty()
        for _ in range(WAITING + 10):
            it.intake.take(at(mid=0))
        assert it.counts["overflowed"] == 10 and len(it.acknowledged) == 3

    with_intake(tmp_path, mail, work)


@pytest.mark.parametrize(
    ("filter", "topic", "is_match"),
    [
        ("a/+/c", "a/b/c", True), ("a/+/c", "a/b/c/d", False), ("a/#", "a", True), ("a/#", "a/b/c", True),
        ("#", "$SYS/load", False), ("+/b", "$SYS/b", False), ("a/b", "a", False), ("a", "a/b", False),
        ("+", "", True), ("a/+", "a/", True),
    ],
)  # fmt: skip
def test_filters_take_what_the_specification_says(filter: str, topic: str, is_match: bool) -> None:
    assert matches(filter, topic) is is_match


def test_topics_and_payloads_of_others_become_what_messages_take() -> None:
    assert topic_of("door", "house/back") == "door.house/back"
    for odd in ("grüße", "a b", "x" * 200, "\n", ""):
        assert topic_of("door", odd) in ("door", "door.")
    assert body_of("grüße".encode()) == "grüße" and body_of(b"\xff") == b"\xff" and body_of(b"a\0") == b"a\0"
