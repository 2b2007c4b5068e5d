"""The corpus of attacks in its smallest form: the same for the same seed, and a flood is what a model sees."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from bench.detect.scenario import REPORTING, TUNING, attacked  # noqa: E402
from bench.detect.stage import Finding, Stage  # noqa: E402
from tlsrt.supervisor.learner.anomaly_model import AnomalyModel  # noqa: E402


def small(kind: str, seed: int) -> dict[str, list[Finding]]:
    scenario = attacked(kind, seed, clients=1, warm_min=6, minutes=2)
    found = Stage(scenario, {"rules": None, "learned": AnomalyModel()}).run()
    return {arm: [one for one in each.found if one.is_attack] for arm, each in found.items()}


def test_seeds_for_tuning_and_for_reporting_are_apart() -> None:
    assert not set(TUNING) & set(REPORTING)


def test_a_replay_is_answered_by_a_rule_the_same_way_each_time() -> None:
    first = small("replay", 1002)
    assert first == small("replay", 1002)
    assert {one.detector for one in first["rules"]} == {"replay"}
    assert "revoke" in {one.action for one in first["rules"]}


def test_a_flood_of_frames_in_order_is_what_only_the_model_sees() -> None:
    found = small("flooding", 1002)
    assert found["rules"] == []
    assert [one.detector for one in found["learned"]][:1] == ["learned"] or found["learned"][0].detector == "unusual"
    assert {one.action for one in found["learned"]} <= {"", "limit"}
