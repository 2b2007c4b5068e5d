"""What the response must not forget when the authority dies: scores, steps, who is in quarantine, why. Pure, bounded.

It lies in the authority's state as one list. Times are BOOTTIME in ms, which goes on while the authority, or the whole
host, is started anew; after a boot of the machine it begins again, and `moved` takes the time between for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tlsrt.supervisor.authority.detection.escalation import ResponseStep, Taken
from tlsrt.supervisor.authority.model.services import Charge, ChargeKind

MOST = 512  # of each kind: the highest scores, the steps that last longest
TEXT_MAX = 160

Score = tuple[Charge, float, str]  # at the time of the whole; and whose session was charged
Lasting = tuple[ResponseStep, str, int, int]  # step, whom, how often so far, and until when that counts


@dataclass(frozen=True, slots=True)
class DetectionSnapshot:
    """All of it, at one moment."""

    at: int = 0
    scores: tuple[Score, ...] = ()
    steps: tuple[Taken, ...] = ()
    lasting: tuple[Lasting, ...] = ()
    respawns: tuple[tuple[str, int], ...] = ()  # loop, when
    tops: tuple[tuple[str, int], ...] = ()  # loop, when it was at the top
    quarantined: tuple[tuple[str, Taken], ...] = ()  # subject, and by which step
    lifting: tuple[tuple[str, int], ...] = ()  # loop, the incarnation with which its quarantine ends
    living: tuple[tuple[str, int], ...] = ()  # loop, its last incarnation

    def moved(self, now: int) -> DetectionSnapshot:
        """Return it as it is after a boot of the machine: nothing has faded, and no step is in force."""
        by = now - self.at
        return replace(
            self, at=now, steps=(),
            lasting=tuple((step, whom, times, until + by) for step, whom, times, until in self.lasting),
            respawns=tuple((loop, at + by) for loop, at in self.respawns),
            tops=tuple((loop, at + by) for loop, at in self.tops),
            quarantined=tuple((who, replace(step, until=step.until + by)) for who, step in self.quarantined),
        )  # fmt: skip


def encode_memory(memory: DetectionSnapshot) -> list[Any]:
    """Return what is written; of too much the least important is left out."""
    scores = sorted(memory.scores, key=lambda one: -one[1])[:MOST]
    steps = sorted(memory.steps, key=lambda taken: -taken.until)[:MOST]
    return [
        memory.at,
        [[str(charge.kind), charge.value, float(score), subject] for charge, score, subject in scores],
        [_step(taken) for taken in steps],
        [[str(step), whom, times, until] for step, whom, times, until in memory.lasting[-MOST:]],
        *([list(row) for row in rows[:MOST]] for rows in (memory.respawns, memory.tops)),
        [[subject, _step(taken)] for subject, taken in memory.quarantined[:MOST]],
        *([list(row) for row in rows[:MOST]] for rows in (memory.lifting, memory.living)),
    ]


def decode_memory(rows: Sequence[Any]) -> DetectionSnapshot:
    """Return what was written, nothing for an empty list; raise ValueError for what `encode_memory` did not write."""
    if not rows:
        return DetectionSnapshot()
    try:
        at, scores, steps, lasting, respawns, tops, quarantined, lifting, living = rows
        return DetectionSnapshot(
            _whole(at),
            tuple((_charge(kind, value), _number(score), _text(subject)) for kind, value, score, subject in scores),
            tuple(_taken(row) for row in steps),
            tuple(
                (ResponseStep(step), _text(whom), _whole(times), _whole(until)) for step, whom, times, until in lasting
            ),
            _times(respawns), _times(tops),
            tuple((_text(subject), _taken(row)) for subject, row in quarantined),
            _times(lifting), _times(living),
        )  # fmt: skip
    except TypeError as error:
        raise ValueError("not what was remembered of offences") from error


def _step(taken: Taken) -> list[Any]:
    return [
        str(taken.step), str(taken.charge.kind), taken.charge.value, taken.detector, taken.what[:TEXT_MAX],
        float(taken.score), taken.until, taken.is_observed, taken.is_final,
    ]  # fmt: skip


def _taken(row: Sequence[Any]) -> Taken:
    step, kind, value, detector, what, score, until, is_observed, is_final = row
    return Taken(
        ResponseStep(step), _charge(kind, value), _text(detector), _text(what), _number(score), _whole(until),
        is_observed=_flag(is_observed), is_final=_flag(is_final),
    )  # fmt: skip


def _times(rows: Sequence[Any]) -> tuple[tuple[str, int], ...]:
    return tuple((_text(name), _whole(when)) for name, when in rows)


def _charge(kind: str, value: str) -> Charge:
    return Charge(ChargeKind(kind), _text(value))


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"not {kind.__name__}")
    return value


def _text(value: Any) -> str:
    return str(_typed(value, str))


def _whole(value: Any) -> int:
    return int(_typed(value, int))


def _number(value: Any) -> float:
    return float(_typed(value, float))


def _flag(value: Any) -> bool:
    return bool(_typed(value, bool))
