"""A plan is made of its seed."""

from __future__ import annotations

from collections import Counter

import pytest

from chaos.plan import FAULTS, make_plan


@pytest.mark.parametrize("seed", [0, 1, 20261125])
def test_the_same_seed_is_the_same_plan_and_a_longer_walk_begins_as_a_shorter_one(seed: int) -> None:
    plan = make_plan(seed, 60_000)
    assert make_plan(seed, 60_000) == plan
    assert make_plan(seed, 600_000)[: len(plan)] == plan
    assert make_plan(seed + 1, 60_000) != plan


def test_every_fault_comes_before_any_comes_too_often() -> None:
    deck = sum(count for count, _ in FAULTS.values())
    plan = make_plan(7, 10_000_000)[:deck]
    assert Counter(fault.name for fault in plan) == {name: count for name, (count, _) in FAULTS.items()}
    assert all(fault.target in FAULTS[fault.name][1] and 0 <= fault.draw < 1 for fault in plan)
    assert [fault.at_ms for fault in plan] == sorted(fault.at_ms for fault in plan)
