"""Texts as passages: nothing is lost, none is too long, paragraphs and sentences stay whole where they can."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.secondary.passages import MOST, Passage, passages


def test_paragraphs_are_passages_and_long_ones_end_with_a_sentence() -> None:
    long = "The battery is low. " * 40
    found = passages(f"The door was opened.\n\n {long}\n \nAt night.")
    assert found[0] == Passage(0, "The door was opened.") and found[-1].text == "At night."
    assert len(found) == 4 and all(one.text.endswith("low.") for one in found[1:-1])


def test_a_text_without_an_end_is_cut() -> None:
    assert [len(one.text) for one in passages("x" * (2 * MOST + 1))] == [MOST, MOST, 1]
    assert passages(" \n\n\t ") == []


@given(st.text(alphabet="ab. \n\t", max_size=3000))
def test_each_passage_is_where_it_says_and_only_white_space_is_left_out(text: str) -> None:
    found, at = passages(text), 0
    for one in found:
        assert text[one.start : one.start + len(one.text)] == one.text and 0 < len(one.text) <= MOST
        assert not text[at : one.start].strip()
        at = one.start + len(one.text)
    assert not text[at:].strip()
