"""What an answer may stand on: which passages, lines and messages are taken, and components that lie about them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tlsrt import sources
from tlsrt.errors import Denied, Failed, NotFound
from tlsrt.sources import (
    LOGS,
    MESSAGES,
    SEARCH,
    Gathered,
    Period,
    Source,
    expect_some,
    logged,
    period,
    received,
    searched,
)
from tlsrt.word_ranking import scores, words

NOON = 1_764_590_400_000


class Client:
    """A client whose host answers what the test says; `pages` come one after the other."""

    subject = "client/anna"

    def __init__(
        self, *pages: Any, mails: tuple[Any, ...] = (), rights: dict[str, tuple[str, ...]] | None = None
    ) -> None:
        self.pages = [*pages]
        self.mails = mails
        self.called: list[tuple[str, str, dict[str, Any]]] = []
        self.rights = {SEARCH: ("*",), LOGS: ("query",), MESSAGES: ("inbox", "watch")} if rights is None else rights
        self.is_left = False

    async def call(self, target: str, method: str, *args: Any, **more: Any) -> Any:
        self.called.append((target, method, more))
        return self.pages.pop(0)

    async def stream(self, target: str, method: str, after: int, **more: Any) -> AsyncIterator[Any]:
        self.called.append((target, method, {"after": after}))
        try:
            for one in self.mails:
                yield one
            await asyncio.Event().wait()
        finally:
            self.is_left = True


def entry(text: str, minute: int = 0, priority: int | None = 6, **more: Any) -> dict[str, Any]:
    return {
        "at_ms": NOON + 60_000 * minute, "source": "logs", "unit": None, "component": "third/io", "priority": priority,
        "text": text, "is_cut": False,
    } | more  # fmt: skip


def page(*entries: dict[str, Any], cursor: str | None = None, **missing: str) -> dict[str, Any]:
    return {"entries": list(entries), "cursor": cursor, "missing": missing}


def lines(question: str, *pages: Any, most: int = 5) -> Gathered:
    return asyncio.run(logged(Client(*pages), question, Period("1d"), most=most))  # type: ignore[arg-type]


def test_lines_with_words_of_the_question_are_taken_and_others_are_not() -> None:
    found = lines("who opened the doors", page(*(entry(f"looked {at}") for at in range(50)), entry("door open")))
    assert [one.text for one in found.sources] == ["door open"]
    assert found.sources[0] == Source("third/io", "door open", f"{LOGS}, logs", NOON)


def test_without_such_a_word_the_worst_and_then_the_newest_are_taken() -> None:
    entries = [entry(chr(110 + at) * 100, at, 4 if at == 2 else None) for at in range(9)]
    found = lines("what was", page(*entries), most=1)
    assert [one.text[0] for one in found.sources] == ["p", "t", "u", "v"], "in the order of time"


def test_lines_that_differ_in_numbers_are_one_with_how_often_it_was() -> None:
    found = lines("door", page(*(entry(f"door {at} opened", at) for at in range(9))))
    (one,) = found.sources
    assert one.text.startswith("door 8 opened (9 times since ") and one.at_ms == NOON + 8 * 60_000


def test_ids_are_cut_as_they_are_much_to_read() -> None:
    assert lines("opened", page(entry("opened id=" + "ab12" * 8))).sources[0].text == "opened id=ab12ab12..."


def test_all_pages_are_looked_through_up_to_a_bound_that_is_told() -> None:
    found = lines("door", page(entry("door b", 2), cursor="x", journal="it is away"), page(entry("door a", 1)))
    assert [one.text for one in found.sources] == ["door a", "door b"]
    assert found.notes == ["journal: it is away"]
    endless = [page(entry("door"), cursor="x") for _ in range(sources._PAGES)]
    assert "was not looked through: ask for less time" in lines("door", *endless).notes[0]


@pytest.mark.parametrize(
    "answer",
    [None, [], {}, {"entries": []}, {"entries": [], "missing": {}, "cursor": 5},
     {"entries": [5], "missing": {}, "cursor": None}, {"entries": [{"at_ms": "x"}], "missing": {}, "cursor": None}],
)  # fmt: skip
def test_what_is_no_answer_of_logs_is_one_sentence(answer: Any) -> None:
    with pytest.raises(Failed, match=r"the logs answer|no entries"):
        lines("door", answer)


def test_periods_are_days_of_local_time_or_what_the_logs_take() -> None:
    now = datetime(2026, 12, 1, 9, 30)
    begin, middle = (round(datetime(2026, month, day).timestamp() * 1000) for month, day in ((11, 30), (12, 1)))
    assert period("yesterday", now) == Period(str(begin), str(middle - 1))
    assert period("today", now) == Period(str(middle))
    assert period("2h", now) == Period("2h")
    assert period("2d..1d", now) == Period("2d", "1d")


def test_passages_say_where_and_when_and_by_whom() -> None:
    hit = {"source": "diary", "kind": "note", "at_ms": NOON, "author": "client/bob", "text": "It rained.", "score": 0.7}
    client = Client({"hits": [hit], "outdated": 3})
    found = asyncio.run(searched(client, "weather", "house", most=2))  # type: ignore[arg-type]
    assert found.sources == [Source("note diary", "It rained.", f"{SEARCH}, namespace house", NOON, "client/bob")]
    assert found.notes and client.called[0][2]["namespace"] == "house"
    client = Client({"hits": [hit] * 9, "outdated": 0})
    own = asyncio.run(searched(client, "weather", most=2))  # type: ignore[arg-type]
    assert "namespace" not in client.called[0][2] and own.sources[0].place.endswith("namespace client/anna")
    assert len(own.sources) == 2, "no more than was asked for, whatever it answers"


@pytest.mark.parametrize("answer", [None, {"hits": 5}, {"hits": [5]}, {"hits": [{"source": 5}]}])
def test_what_is_no_answer_of_a_search_is_one_sentence(answer: Any) -> None:
    with pytest.raises(Failed, match="no passage"):
        asyncio.run(searched(Client(answer), "weather"))  # type: ignore[arg-type]


def mail(position: int, body: str | bytes) -> dict[str, Any]:
    return {
        "id": f"{position:032x}", "from": "client/bob", "topic": None, "body": body, "created_ms": NOON + position,
        "position": position,
    }  # fmt: skip


def test_messages_are_read_without_marking_them_and_the_stream_is_left() -> None:
    mails = (mail(3, "the plumber comes"), mail(5, b"\x00"), mail(7, "nothing else"))
    client = Client({"messages": [{"position": one["position"]} for one in mails]}, mails=mails)
    found = asyncio.run(received(client, "plumber"))  # type: ignore[arg-type]
    assert [one.text for one in found.sources] == ["the plumber comes"] and found.sources[0].author == "client/bob"
    assert [method for _, method, _ in client.called] == ["inbox", "watch"] and client.is_left
    assert found.notes == ["1 messages are no texts, and were left out"]
    empty = Client({"messages": []})
    assert asyncio.run(received(empty, "plumber")) == Gathered([])  # type: ignore[arg-type]


def test_a_message_that_is_taken_out_meanwhile_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_SILENCE_S", 0.05)
    client = Client({"messages": [{"position": 3}, {"position": 9}]}, mails=(mail(3, "the plumber comes"),))
    found = asyncio.run(received(client, "plumber"))  # type: ignore[arg-type]
    assert len(found.sources) == 1 and client.is_left


@pytest.mark.parametrize("answer", [None, {}, {"messages": [5]}, {"messages": [{"position": "x"}]}])
def test_what_is_no_mailbox_is_one_sentence(answer: Any) -> None:
    with pytest.raises(Failed, match="no messages"):
        asyncio.run(received(Client(answer), "plumber"))  # type: ignore[arg-type]


def test_a_right_that_is_not_there_is_said_before_a_call() -> None:
    client: Any = Client(rights={})
    for work in (searched(client, "x"), received(client, "x"), logged(client, "x", Period("1d"))):
        with pytest.raises(Denied, match="component add"):
            asyncio.run(work)
    with pytest.raises(Denied, match="query_all"):
        asyncio.run(logged(Client(), "x", Period("1d"), audit=True))  # type: ignore[arg-type]
    assert not client.called


def test_with_nothing_found_a_model_is_not_asked() -> None:
    with pytest.raises(NotFound, match="there is nothing in namespace house, your messages"):
        expect_some([Gathered([]), Gathered([])], ["namespace house", "your messages"])
    assert expect_some([], ()) == []


def test_words_are_compared_without_their_endings() -> None:
    assert words("Doors, opened; opening") == ["door", "open", "open"]
    points = scores("opening of a rare door", ["a door", "a rare door", "the window", "doors and doors"])
    assert points[1] == max(points) and points[2] == 0


@given(some.text(), some.lists(some.text()))
def test_any_texts_have_points_and_none_without_a_word_in_common(question: str, texts: list[str]) -> None:
    asked = set(words(question))
    for text, point in zip(texts, scores(question, texts), strict=True):
        assert (point > 0) == bool(asked & set(words(text)))
