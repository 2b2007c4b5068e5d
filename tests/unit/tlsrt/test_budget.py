"""What a subject uses of a rate: told afterwards, owed, and forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.budget import BUDGETS, Budget, Spending, budget_of


def test_who_spends_more_than_comes_in_is_over_until_it_has_come_in() -> None:
    spending = Spending(burst=0.5, per_s=0.25)
    assert spending.over_for("a", 10.0) == 0.0
    assert spending.spend("a", 10.0, 0.5) == 0.0
    assert spending.spend("a", 10.0, 0.25) == 1.0
    assert spending.over_for("a", 10.5) == 0.5
    assert spending.over_for("a", 11.0) == 0.0
    assert spending.over_for("b", 10.0) == 0.0


def test_what_is_owed_is_bounded() -> None:
    spending = Spending(burst=0.5, per_s=0.25)
    assert spending.spend("a", 10.0, 100.0) == 2.0, "one burst, however much it was"


def test_to_ask_makes_no_room() -> None:
    spending = Spending(burst=1, per_s=1, subjects_max=2)
    spending.spend("a", 0.0, 2.0)
    for number in range(100):
        spending.over_for(str(number), 0.0)
    assert spending.over_for("a", 0.0) == 1.0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 2), st.floats(0, 1)), max_size=60))
def test_one_subject_takes_nothing_of_another(uses: list[tuple[str, float, float]]) -> None:
    together, alone, now = Spending(1, 0.5), Spending(1, 0.5), 0.0
    for subject, pause, amount in uses:
        now += pause
        told = together.spend(subject, now, amount)
        if subject == "a":
            assert told == alone.spend("a", now, amount)


def test_the_words_of_reports_are_known_and_no_other_word_is_one() -> None:
    assert {budget_of(str(budget)) for budget in Budget} == set(BUDGETS) == set(Budget)
    assert budget_of("replay") is None
