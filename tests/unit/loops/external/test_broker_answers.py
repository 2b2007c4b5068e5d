"""Ways back by MQTT 5: which topics are taken, who may answer, once, and how many are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tlsrt import Component, database
from tlsrt.loops.external.broker_answers import CORRELATION_BYTES, KEPT, BrokerAnswers, Way
from tlsrt.loops.external.broker_message import Received
from tlsrt.loops.external.carrier import Refused
from tlsrt.loops.external.mqtt_intake import STEPS
from tlsrt.loops.external.mqtt_options import SourceOptions
from tlsrt.testing import running

SOURCES = {
    "door": SourceOptions(filter="door/+/bell", to="client/anna", answers="door/+/answer", answer_s=10),
    "all": SourceOptions(filter="all/#", to="group/family", answers="#"),
    "mute": SourceOptions(filter="mute/#", to="client/anna"),
}
OWN = ("tlsrt/kettle", "homeassistant")
WAY = Way("door/back/answer", b"\x00c")


class Answering(Component):
    """A component of a test with ways back in it."""

    db = database(steps=STEPS)

    async def start(self) -> None:
        self.answers = BrokerAnswers(SOURCES, self.db, OWN)


def with_answers(folder: Path, work: Callable[[BrokerAnswers], Awaitable[None]]) -> None:
    async def run() -> None:
        async with running(Answering, state=folder, address="external/mqtt", needs={"state_mb": 8, "threads": 2}) as it:
            async with asyncio.timeout(30):
                await work(it.component.answers)

    asyncio.run(run())


def asked(topic: str, correlation: bytes | None = b"c") -> Received:
    return Received("door/back/bell", b"ring", 1, False, False, 1, topic, correlation)


def answer(to: str, sender: str = "client/anna", id: str = "a1", position: int = 1) -> dict[str, Any]:
    return {"in_reply_to": to, "from": sender, "id": id, "position": position}


@pytest.mark.parametrize(
    ("source", "topic", "is_taken"),
    [
        ("door", "door/back/answer", True), ("door", "door/answer", False), ("door", "garden/lamp", False),
        ("door", "door/+/answer", False), ("door", "", False), ("mute", "door/back/answer", False),
        ("none", "door/back/answer", False), ("all", "anything/else", True), ("all", "a/#", False), ("all", "#", False),
        ("all", "$SYS/broker", False), ("all", "a\nb", False), ("all", "x" * 257, False),
        ("all", "tlsrt/kettle/light/set", False), ("all", "tlsrt/kettle", False), ("all", "tlsrt/kettles", True),
        ("all", "homeassistant/switch/x/config", False),
    ],
)  # fmt: skip
def test_an_answer_goes_only_where_options_allow_it(tmp_path: Path, source: str, topic: str, is_taken: bool) -> None:
    async def work(answers: BrokerAnswers) -> None:
        assert (answers.way_of(source, asked(topic)) is not None) == is_taken
        long = asked(topic, b"x" * (CORRELATION_BYTES + 1))
        assert answers.way_of(source, long) is None
        assert not is_taken or answers.way_of(source, asked(topic, None)) == Way(topic, None)

    with_answers(tmp_path, work)


def test_who_was_asked_answers_once_and_in_time(tmp_path: Path) -> None:
    async def work(answers: BrokerAnswers) -> None:
        await answers.keep("door", "m1", WAY, 1000)
        await answers.keep("door", "m1", Way("door/evil/answer", None), 1000)  # a repetition changes nothing
        with pytest.raises(Refused, match="a message to client/anna is answered by client/anna alone"):
            await answers.find(answer("m1", "client/eve"), 2000)
        assert await answers.find(answer("m1"), 2000) == WAY
        assert await answers.find(answer("m1"), 2000) == WAY, "the same again, after a crash"
        with pytest.raises(Refused, match="answered already"):
            await answers.find(answer("m1", id="a2", position=2), 2000)
        with pytest.raises(Refused, match="too late"):
            await answers.find(answer("m1"), 11_000)
        assert await answers.find(answer("m2"), 2000) is None and await answers.find(answer(""), 2000) is None
        await answers.keep("all", "m3", Way("x", None), 1000)
        assert await answers.find(answer("m3", "client/bob", "a3", 3), 2000) == Way("x", None)

    with_answers(tmp_path, work)


def test_what_options_allow_no_more_is_not_answered(tmp_path: Path) -> None:
    async def work(answers: BrokerAnswers) -> None:
        await answers.keep("door", "m1", Way("garden/lamp", None), 1000)
        with pytest.raises(Refused, match="takes no answers any more"):
            await answers.find(answer("m1"), 2000)

    with_answers(tmp_path, work)


def test_a_flood_of_questions_pushes_out_those_of_its_own_source(tmp_path: Path) -> None:
    async def work(answers: BrokerAnswers) -> None:
        await answers.keep("all", "kept", Way("x", None), 1000)
        for number in range(KEPT + 10):
            await answers.keep("door", f"m{number}", WAY, 1000)
        assert await answers.find(answer("m9"), 2000) is None
        assert await answers.find(answer(f"m{KEPT + 9}"), 2000) == WAY
        assert await answers.find(answer("kept", id="b", position=2), 2000) == Way("x", None)

    with_answers(tmp_path, work)
