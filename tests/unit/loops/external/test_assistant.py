"""The assistant without a host: what it may look at, what it says, and that it ends with the call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from tlsrt import Busy, ConfigError, InvalidArgument, Unavailable
from tlsrt.loops.external import assistant_talk
from tlsrt.loops.external.assistant import CALLS, Assistant
from tlsrt.loops.external.call_leg import SILENCE, TEXT, digit, piece_untrusted, sound
from tlsrt.loops.external.call_sound import tone, wav_file
from tlsrt.testing import running

LINES: dict[str, Any] = {
    "ask": {"by": ["client/anna"], "logs": True, "search": ["house"]},
    "audit": {"by": ["client/anna"], "audit": True}, "notes": {"by": ["client/ben@attic"], "search": ["house"]},
}  # fmt: skip
VOICE = tone(300, 0.6)
ENTRY = {
    "at_ms": 1_780_000_000_000, "source": "logs", "component": "third/io", "priority": 4,
    "text": "the cellar door was opened\x1b[2J",
}  # fmt: skip


class Speech:
    def __init__(self, *questions: str) -> None:
        self.questions, self.spoken = [*questions], list[str]()

    async def speak(self, text: str, voice: str) -> AsyncIterator[bytes]:
        self.spoken.append(text)
        yield wav_file(b"\1\0" * 441, 22050)

    async def transcribe_raw(
        self, language: str, rate: int, channels: int, sound: AsyncIterator[bytes]
    ) -> AsyncIterator[dict[str, Any]]:
        assert b"".join([part async for part in sound])
        yield {"text": self.questions.pop(0)}


class Logs:
    def __init__(self, *, is_away: bool = False) -> None:
        self.asked: list[dict[str, Any]] = []
        self.is_away = is_away

    async def query(self, **more: Any) -> dict[str, Any]:
        if self.is_away:
            raise Unavailable("the logs are away")
        self.asked.append(more)
        return {"entries": [ENTRY], "missing": {}, "cursor": None}

    async def query_all(self, **more: Any) -> dict[str, Any]:
        return await self.query(**more)


class Search:
    def __init__(self) -> None:
        self.namespaces: list[str] = []

    async def search(self, question: str, limit: int, namespace: str) -> dict[str, Any]:
        self.namespaces.append(namespace)
        return {"hits": [], "outdated": 0}


class Ask:
    def __init__(self, *items: Any, waits: bool = False) -> None:
        self.items, self.waits = items, waits
        self.messages: list[dict[str, str]] = []
        self.tools: Any = None
        self.is_cut_off = False

    async def chat(self, messages: list[dict[str, str]], *, tools: Any, tokens: int) -> AsyncIterator[dict[str, Any]]:
        self.messages, self.tools = messages, tools
        try:
            for one in self.items:
                if isinstance(one, Exception):
                    raise one
                yield one
            if self.waits:
                await asyncio.sleep(3600)
        except (asyncio.CancelledError, GeneratorExit):
            self.is_cut_off = True
            raise


ANSWER_ITEMS = ({"text": "It was opened. By a"}, {"text": " key"}, {"end": "stop"})


def assistant(speech: Speech, ask: object, logs: object, search: object | None = None) -> Any:
    peers = {
        "secondary/speech": speech, "secondary/ask": ask, "secondary/logs": logs,
        "secondary/search": search or Search(),
    }  # fmt: skip
    return running(Assistant, options={"numbers": LINES}, peers=peers, address="external/assistant")


class Person:
    """Asks once the tone is over, as often as there are questions; then presses `#`. Keeps what is said."""

    def __init__(self, questions: int, *, hangs_up_at: str = "") -> None:
        self.texts: list[str] = []
        self.pieces = 0
        self._left, self._hangs_up_at = questions, hangs_up_at
        self._is_asked = asyncio.Event()
        self._silent = 0

    async def said(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.005)
            if self._is_asked.is_set():
                self._is_asked.clear()
                for pcm in VOICE if self._left else []:
                    yield sound(pcm)
                self._left -= 1
                yield digit("#")  # with nothing before it: who asks nothing more
            yield sound(SILENCE)

    async def ring(self, it: Any, number: str = "ask", by: str = "client/anna") -> None:
        async with aclosing(it.exchange("take_call", self.said(), "1", by, "", number)) as pieces:
            async for data in pieces:
                self.pieces += 1
                piece = piece_untrusted(data)
                assert piece is not None
                if piece.kind == TEXT:
                    self.texts.append(piece.content.decode())
                    if self._hangs_up_at and self._hangs_up_at in self.texts[-1]:
                        return
                elif data == sound(assistant_talk._BEGIN[-1]):
                    self._is_asked.set()


def test_a_question_is_answered_by_what_the_number_may_know_and_the_model_has_no_tool() -> None:
    speech, ask, logs, search = Speech("What was it yesterday?", "And now?"), Ask(*ANSWER_ITEMS), Logs(), Search()
    person = None

    async def run() -> None:
        nonlocal person
        person = Person(2)
        async with assistant(speech, ask, logs, search) as it:
            await person.ring(it)

    asyncio.run(run())
    assert person is not None
    assert person.texts[:2] == ["Please ask after the tone.", "You: What was it yesterday?"]
    assert person.texts[2:4] == ["It was opened.", "By a key"]
    source = person.texts[4]
    assert source.startswith("Source 1 (third/io, 2026-05-28 ")
    assert source.endswith("): the cellar door was opened\\x1b[2J")
    assert person.texts[5].startswith("I was given one source: third io, 2026-05-28 ")
    assert person.texts[6] == "You: And now?" and person.texts[-1] == "Good bye."
    assert "It was opened." in speech.spoken and not any("Source" in one for one in speech.spoken)
    assert ask.tools == [] and search.namespaces == ["house", "house"]
    assert [one["role"] for one in ask.messages] == ["data", "user"] and ask.messages[1]["text"] == "And now?"
    assert logs.asked[0]["until"] and not logs.asked[1]["until"], "yesterday has an end"
    assert logs.asked[1]["since"] == "24h" and logs.asked[0]["sources"] is None


def test_the_audit_log_is_looked_at_where_that_is_said() -> None:
    logs = Logs()

    async def run() -> None:
        async with assistant(Speech("Who came?"), Ask(*ANSWER_ITEMS), logs) as it:
            await Person(1).ring(it, "audit")

    asyncio.run(run())
    assert [one["sources"] for one in logs.asked] == [["audit"]]


@pytest.mark.parametrize(
    ("number", "by"),
    [("ask", "client/ben"), ("ask", "client/anna@attic"), ("notes", "client/ben"), ("other", "client/anna")],
)
def test_who_is_not_named_is_not_answered(number: str, by: str) -> None:
    async def run() -> None:
        person = Person(1)
        async with assistant(Speech("x"), Ask(), Logs()) as it:
            await person.ring(it, number, by)
        assert person.pieces == 0

    asyncio.run(run())


@pytest.mark.parametrize(
    ("ask", "logs", "question", "words"),
    [
        (Ask(Unavailable("the model is away")), Logs(), "What?", "I cannot answer now: the model is away"),
        (object(), Logs(), "What?", "I cannot answer now: "),
        (Ask(*ANSWER_ITEMS), Logs(is_away=True), "What?", "I have found nothing about that."),
        (Ask({"call": {"tool": "forth/power.off", "arguments": {}}}), Logs(), "What?", "I cannot answer now: "),
        (Ask({"outcome": "done"}), Logs(), "What?", "I cannot answer now: "),
        (Ask(*ANSWER_ITEMS), Logs(), "", "I did not understand that."),
    ],
)
def test_what_cannot_be_answered_is_said(ask: object, logs: object, question: str, words: str) -> None:
    async def run() -> None:
        person = Person(1)
        async with assistant(Speech(question), ask, logs) as it:
            await person.ring(it)
        assert any(one.startswith(words) for one in person.texts), person.texts
        assert person.texts[-1] == "Good bye."

    asyncio.run(run())


def test_the_model_stops_with_the_call() -> None:
    ask = Ask({"text": "It was opened. And then"}, waits=True)

    async def run() -> None:
        async with assistant(Speech("What?"), ask, Logs()) as it:
            await Person(1, hangs_up_at="It was opened.").ring(it)
            async with asyncio.timeout(5):
                while not ask.is_cut_off or it.component._live:
                    await asyncio.sleep(0.01)

    asyncio.run(run())


def test_one_call_too_many_is_engaged() -> None:
    async def run() -> None:
        async with assistant(Speech("What?"), Ask(), Logs()) as it:
            it.component._live |= {f"{n}" for n in range(CALLS)}
            with pytest.raises(Busy, match="2 calls are answered at once"):
                await Person(1).ring(it)

    asyncio.run(run())


def test_it_ticks_while_it_thinks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assistant_talk, "_TICK_S", 0.05)

    async def run() -> None:
        ticks = 0
        async with assistant(Speech("What?"), Ask({"read": 1, "of": 9}, waits=True), Logs()) as it:
            person = Person(1)
            async with aclosing(it.exchange("take_call", person.said(), "1", "client/anna", "", "ask")) as pieces:
                async for data in pieces:
                    if data == sound(assistant_talk._BEGIN[-1]):
                        person._is_asked.set()
                    ticks += data == sound(assistant_talk._TICK[0])
                    if ticks == 3:
                        break

    asyncio.run(asyncio.wait_for(run(), 20))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"by": ["*"], "logs": True}, "name each who may ask"), ({"by": [], "logs": True}, "by"),
        ({"by": ["client/*"], "logs": True}, "name each who may ask"), ({"by": ["client/anna"]}, "it may look nowhere"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_told(line: dict[str, Any], words: str) -> None:
    async def run() -> None:
        async with running(Assistant, options={"numbers": {"ask": line}}):
            pass

    with pytest.raises((ConfigError, InvalidArgument), match=words):
        asyncio.run(run())
