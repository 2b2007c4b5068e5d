"""The same detector with a library's model in it: half-space trees (Tan, Ting, Liu 2011) as river has them.

It sees the same features of the same windows, each subject has trees of its own, and it is known after as many
windows. It has no reasons to give.
"""

from __future__ import annotations

import importlib
from typing import Any

from tlsrt.channels.control.learner import FEATURES
from tlsrt.channels.control.telemetry import Window
from tlsrt.supervisor.learner.anomaly_model import WARM_UP, AnomalyModel, Opinion
from tlsrt.supervisor.learner.features import LEVELS, Sums, level

LEAST = 0.667  # tuned on the seeds for tuning: with less it has many times as many false events as our own model
IN_A_ROW = 1  # windows above it
NAMES = tuple(feature.name for feature in FEATURES)


def is_there() -> bool:
    """Tell whether river can be imported."""
    try:
        importlib.import_module("river.anomaly")
    except ImportError:
        return False
    return True


class RiverModel(AnomalyModel):
    """As `AnomalyModel`, by half-space trees."""

    def __init__(self) -> None:
        super().__init__()
        self._trees = importlib.import_module("river.anomaly").HalfSpaceTrees
        self._each: dict[str, list[Any]] = {}  # trees, sums, windows, how many in a row

    def observe(self, name: str, kind: str, window: Window, now: int) -> Opinion:
        """Weigh a window of a subject, then learn it."""
        one = self._each.get(name)
        if one is None:
            trees = self._trees(
                n_trees=10, height=8, window_size=int(WARM_UP), seed=1, limits=dict.fromkeys(NAMES, (0, LEVELS - 1))
            )
            one = self._each[name] = [trees, Sums(now), 0, 0]
        numbers = one[1].take(window, now)
        levels = {each: 0 if number is None else level(number) for each, number in zip(NAMES, numbers, strict=True)}
        score = one[0].score_one(levels)
        one[0].learn_one(levels)
        one[2] += 1
        warmth = min(1.0, one[2] / (2 * WARM_UP))
        one[3] = one[3] + 1 if score >= LEAST else 0
        return Opinion(warmth == 1 and one[3] >= IN_A_ROW, score, one[3], warmth, ())
