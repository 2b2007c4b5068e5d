"""The bounded table: its bounds hold, the greedy displace themselves, sizes add up, and nothing is quadratic."""

from __future__ import annotations

from collections import Counter
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.bounded_table import NEVER, BoundedTable, WhenFull

SUBJECTS = st.sampled_from("abcd")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 12), SUBJECTS, st.integers(1, 5), st.sampled_from([NEVER, 3, 8])),
        st.tuples(st.just("remove"), st.integers(0, 12)),
        st.tuples(st.just("remove_subject"), SUBJECTS),
        st.tuples(st.just("touch"), st.integers(0, 12), st.sampled_from([None, NEVER, 5])),
        st.tuples(st.just("resize"), st.integers(0, 12), st.integers(1, 6)),
        st.tuples(st.just("wait"), st.integers(1, 4)),
        st.tuples(st.just("expire")),
    ),
    max_size=80,
)


class Model:
    """The same in the plainest way: a list of (key, subject, size, expires), the oldest of each subject first."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, int, float]] = []

    def sizes(self) -> Counter[str]:
        sizes: Counter[str] = Counter()
        for _, subject, size, _ in self.rows:
            sizes[subject] += size
        return sizes

    def drop(self, key: int) -> tuple[int, str, int, float] | None:
        found = next((row for row in self.rows if row[0] == key), None)
        if found:
            self.rows.remove(found)
        return found


@given(STEPS, st.integers(4, 14), st.integers(2, 8), st.sampled_from(WhenFull))
def test_bounds_hold_and_no_greedy_subject_displaces_a_modest_one(
    steps: list[Any], most: int, share: int, policy: WhenFull
) -> None:
    table: BoundedTable[int, str] = BoundedTable(most, share, policy)
    model, now = Model(), 0.0
    for step, *given_ in steps:
        if step == "add":
            key, subject, size, expires = given_
            added = table.add(key, "value", subject, now, size=size, expires=expires)
            if added.is_added:
                model.drop(key)
            for row in added.removed:
                if row.expires > now:
                    assert policy is WhenFull.EVICT
                    sizes = model.sizes()
                    assert row.subject == subject or sizes[row.subject] >= sizes[subject] + size
                    oldest = next((each[0] for each in model.rows if each[1] == row.subject), row.key)
                    assert row.key in (oldest, key)
                model.drop(row.key)
            if added.is_added:
                model.rows.append((key, subject, size, expires))
            else:
                others = [each for each in model.rows if each[1] == subject and each[0] != key]
                assert size > share or size > most or policy is WhenFull.REFUSE or not others
                assert all(each[0] in table for each in model.rows if each[0] == key and each[3] > now), "it stays"
        elif step == "remove":
            found_row = table.remove(given_[0])
            assert (found_row.key if found_row else None) == (found[0] if (found := model.drop(given_[0])) else None)
        elif step == "remove_subject":
            gone = [row.key for row in table.remove_subject(given_[0])]
            assert gone == [row[0] for row in model.rows if row[1] == given_[0]]
            model.rows = [row for row in model.rows if row[1] != given_[0]]
        elif step == "touch":
            if given_[0] in table:
                table.touch(*given_)
                key, subject, size, expires = model.drop(given_[0])  # type: ignore[misc]
                model.rows.append((key, subject, size, expires if given_[1] is None else given_[1]))
        elif step == "resize":
            key, size = given_
            if key in table:
                is_resized = table.resize(key, size, now)
                if not is_resized or len(table) < len(model.rows):
                    model.rows = [row for row in model.rows if row[3] > now or row[0] in table]
                model.rows = [(*row[:2], size, row[3]) if row[0] == key and is_resized else row for row in model.rows]
                if not is_resized and key in table:
                    more = size - next(row[2] for row in model.rows if row[0] == key)
                    subject = next(row[1] for row in model.rows if row[0] == key)
                    assert table.size + more > most or table.size_of(subject) + more > share
        elif step == "wait":
            now += given_[0]
        else:
            gone = [row.key for row in table.expire(now)]
            assert sorted(gone) == sorted(row[0] for row in model.rows if row[3] <= now)
            model.rows = [row for row in model.rows if row[3] > now]
        sizes = model.sizes()
        assert table.size == sum(sizes.values()) <= most and len(table) == len(model.rows)
        assert set(table.subjects()) == set(sizes)
        for subject in "abcd":
            assert table.size_of(subject) == sizes[subject] <= share
            assert [row.key for row in table.rows_of(subject)] == [row[0] for row in model.rows if row[1] == subject]
            assert table.count_of(subject) == len(table.rows_of(subject))


@given(st.lists(st.tuples(st.sampled_from("aaaaaaaab"), st.integers(1, 3)), max_size=60))
def test_a_flood_of_one_subject_costs_a_modest_one_nothing(adds: list[tuple[str, int]]) -> None:
    table: BoundedTable[int, None] = BoundedTable(20, 20, WhenFull.EVICT)
    for key in range(5):
        assert table.add(-1 - key, None, "modest").is_added
    for key, (subject, size) in enumerate(adds):
        table.add(key, None, "greedy" if subject == "a" else "other", size=size)
        assert table.count_of("modest") == 5 or table.size_of("other") >= 5
    if all(subject == "a" for subject, _ in adds):
        assert table.count_of("modest") == 5


def test_a_newcomer_finds_room_where_one_has_everything() -> None:
    table: BoundedTable[int, None] = BoundedTable(100, 100, WhenFull.EVICT)
    for key in range(100):
        table.add(key, None, "greedy")
    assert [row.key for row in table.add(1000, None, "new").removed] == [0]
    assert [row.key for row in table.add(1001, None, "greedy").removed] == [1], "its own, now"


def test_the_share_may_be_smaller_for_one() -> None:
    table: BoundedTable[int, None] = BoundedTable(100, 8, WhenFull.REFUSE)
    assert [table.add(key, None, "limited", share=2).is_added for key in range(3)] == [True, True, False]
    assert table.add(3, None, "limited").is_added


def test_what_has_expired_makes_room_first() -> None:
    table: BoundedTable[str, None] = BoundedTable(2, 2, WhenFull.REFUSE)
    table.add("old", None, "a", 0, expires=10)
    table.add("stays", None, "a", 0)
    assert not table.add("new", None, "b", 9).is_added
    assert [row.key for row in table.add("new", None, "b", 10).removed] == ["old"]
    table.touch("new", expires=20)
    table.touch("new", expires=30)
    assert table.expire(20) == [] and [row.key for row in table.expire(30)] == ["new"]


def test_so_many_stay_although_they_have_expired() -> None:
    table: BoundedTable[int, None] = BoundedTable(10, 10, WhenFull.REFUSE)
    for key in range(6):
        table.add(key, None, "a", 0, expires=key)
    assert [row.key for row in table.expire(10, keep=4)] == [0, 1]
    assert [row.key for row in table.expire(10)] == [2, 3, 4, 5]


def test_a_row_in_the_place_of_another_needs_only_what_it_has_more() -> None:
    table: BoundedTable[str, int] = BoundedTable(10, 10, WhenFull.REFUSE)
    table.add("x", 1, "a", size=8)
    assert table.add("x", 2, "a", size=10).is_added and table.size == 10
    assert not table.add("x", 3, "a", size=11).is_added
    row = table.get("x")
    assert row is not None and row.value == 2
    assert table.add("x", 4, "b", size=1).is_added and table.size_of("a") == 0


def _churn(rows: int, subjects: int, policy: WhenFull) -> float:
    """Return the seconds of processor for a full table whose every row is replaced five times."""
    table: BoundedTable[int, None] = BoundedTable(rows, rows, policy)
    began = process_time()
    for key in range(6 * rows):
        table.add(key, None, f"s{key % subjects}" if key % 3 else "greedy", key, expires=key + rows * 2)
        if key % 5 == 0:
            table.remove(key // 2)
    return process_time() - began


@pytest.mark.parametrize("policy", WhenFull)
@pytest.mark.parametrize("spread", [1, 16, 2000])
def test_cost_grows_with_the_number_of_rows_and_not_with_its_square(policy: WhenFull, spread: int) -> None:
    small = min(_churn(500, max(1, spread // 8), policy) for _ in range(3))
    large = min(_churn(4000, spread, policy) for _ in range(2))
    assert large < small * 8 * 4, "64 times as much would be quadratic"


def test_heaps_do_not_grow_with_time() -> None:
    table: BoundedTable[int, None] = BoundedTable(100, 100, WhenFull.EVICT)
    for key in range(100):
        table.add(key, None, "greedy")
    for key in range(100, 20_000):
        table.add(key, None, f"s{key}", key, expires=key + 1e6)
        table.remove(key - 30)
    assert len(table._expiries) < 500 and len(table._greediest or ()) < 500
