"""How many questions are answered at once, of all and of one caller."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tlsrt.errors import Busy
from tlsrt.loops.indexing.questions import MOST, SHARE, Questions


def test_one_caller_leaves_room_for_others_until_all_is_taken() -> None:
    questions = Questions()
    with ExitStack() as stack:
        for number in range(MOST // SHARE):
            for _ in range(SHARE):
                stack.enter_context(questions.asked_by(f"client/{number}"))
            with pytest.raises(Busy, match=f"{SHARE} questions of one caller"), questions.asked_by(f"client/{number}"):
                raise AssertionError("it is answered")
        with pytest.raises(Busy, match=f"{MOST} of all"), questions.asked_by("client/last"):
            raise AssertionError("it is answered")
    with questions.asked_by("client/last"):
        pass


def test_one_that_fails_is_not_counted_any_more() -> None:
    questions = Questions()
    for _ in range(MOST + 1):
        with pytest.raises(ValueError, match="no answer"), questions.asked_by("client/a"):
            raise ValueError("no answer")
