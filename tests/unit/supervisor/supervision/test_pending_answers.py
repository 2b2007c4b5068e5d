"""A reply that waits is given once: by an answer, by its deadline, or by the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.supervision.pending_answers import PendingAnswers

Answers = list[dict[str, Any]]


@pytest.fixture
def event_loop() -> Iterator[EventLoop]:
    made = EventLoop()
    yield made
    made.close()


def test_a_reply_is_given_once(event_loop: EventLoop) -> None:
    answers: Answers = []
    pending = PendingAnswers[str](event_loop)
    number = pending.hold(answers.append, "state", longest_s=0.0, late={"late": True})
    assert (pending.get(number), len(pending)) == ("state", 1)
    pending.answer(number, {"answer": 42})
    pending.answer(number, {"answer": 43})
    pending.answer_all({"error": "stopping"})
    event_loop.call_later(0, lambda: None)
    event_loop.run_once()
    assert answers == [{"answer": 42}]
    assert pending.get(number) is None and not pending


def test_what_is_late_is_answered_at_its_deadline(event_loop: EventLoop) -> None:
    answers: Answers = []
    pending = PendingAnswers[None](event_loop)
    number = pending.hold(answers.append, None, longest_s=0.0, late={"late": True})
    while not answers:
        event_loop.run_once()
    pending.answer(number, {"answer": 42})
    assert answers == [{"late": True}]


def test_all_are_answered_in_the_order_of_the_requests_also_those_that_an_answer_adds(event_loop: EventLoop) -> None:
    answers: Answers = []
    pending = PendingAnswers[int](event_loop)

    def ask_again(answer: dict[str, Any]) -> None:
        answers.append(answer)
        pending.hold(answers.append, 3)

    pending.hold(ask_again, 1)
    pending.hold(answers.append, 2)
    assert [state for _, state in pending.items()] == [1, 2]
    pending.answer_all({"error": "stopping"})
    assert len(answers) == 2 and [state for _, state in pending.items()] == [3]
