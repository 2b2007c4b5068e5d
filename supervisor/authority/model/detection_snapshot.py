"""Detection snapshot: scores, actions and quarantine, as they outlive the authority. Pure, bounded.

It lies in the authority's state as one list. Times are BOOTTIME in ms, which goes on while the authority, or the whole
host, is started anew; after a boot of the machine it begins again, and `moved` takes the time between for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tlsrt.supervisor.authority.detection.escalation import Action, AppliedAction
from tlsrt.supervisor.authority.model.ports import SignalSource, SourceKind

MOST = 512  # of each kind: the highest scores, the steps that last longest
TEXT_MAX = 160

ScoreRow = tuple[SignalSource, float, str]  # at the time of the whole; and whose session was charged
LastingRow = tuple[Action, str, int, int]  # step, whom, how often so far, and until when that counts


@dataclass(frozen=True, slots=True)
class DetectionSnapshot:
    """All of it, at one moment."""

    at: int = 0
    scores: tuple[ScoreRow, ...] = ()
    actions: tuple[AppliedAction, ...] = ()
    lasting: tuple[LastingRow, ...] = ()
    respawns: tuple[tuple[str, int], ...] = ()  # loop, when
    tops: tuple[tuple[str, int], ...] = ()  # loop, when it was at the top
    quarantined: tuple[tuple[str, AppliedAction], ...] = ()  # subject, and by which step
    lifting: tuple[tuple[str, int], ...] = ()  # loop, the incarnation with which its quarantine ends
    living: tuple[tuple[str, int], ...] = ()  # loop, its last incarnation

    def quarantine_left_ms(self, subject: str, now: int) -> int:
        """Return how long a subject is still in quarantine; 0 if it is not."""
        return max((action.until - now for who, action in self.quarantined if who == subject), default=0)

    def moved(self, now: int) -> DetectionSnapshot:
        """Return it as it is after a boot of the machine: nothing has faded, and no action is active."""
        by = now - self.at
        return replace(
            self, at=now, actions=(),
            lasting=tuple((action, whom, times, until + by) for action, whom, times, until in self.lasting),
            respawns=tuple((loop, at + by) for loop, at in self.respawns),
            tops=tuple((loop, at + by) for loop, at in self.tops),
            quarantined=tuple((who, replace(action, until=action.until + by)) for who, action in self.quarantined),
        )  # fmt: skip


def encode_snapshot(snapshot: DetectionSnapshot) -> list[Any]:
    """Return what is written; of too much the least important is left out."""
    scores = sorted(snapshot.scores, key=lambda one: -one[1])[:MOST]
    actions = sorted(snapshot.actions, key=lambda applied: -applied.until)[:MOST]
    return [
        snapshot.at,
        [[str(source.kind), source.value, float(score), subject] for source, score, subject in scores],
        [_row_of(applied) for applied in actions],
        [[str(action), whom, times, until] for action, whom, times, until in snapshot.lasting[-MOST:]],
        *([list(row) for row in rows[:MOST]] for rows in (snapshot.respawns, snapshot.tops)),
        [[subject, _row_of(applied)] for subject, applied in snapshot.quarantined[:MOST]],
        *([list(row) for row in rows[:MOST]] for rows in (snapshot.lifting, snapshot.living)),
    ]


def decode_snapshot(rows: Sequence[Any]) -> DetectionSnapshot:
    """Return what was written, nothing for an empty list. Raise ValueError for what `encode_snapshot` did not write."""
    if not rows:
        return DetectionSnapshot()
    try:
        at, scores, actions, lasting, respawns, tops, quarantined, lifting, living = rows
        return DetectionSnapshot(
            _whole(at),
            tuple((_source(kind, value), _number(score), _text(subject)) for kind, value, score, subject in scores),
            tuple(_applied(row) for row in actions),
            tuple(
                (Action(action), _text(whom), _whole(times), _whole(until)) for action, whom, times, until in lasting
            ),
            _times(respawns), _times(tops),
            tuple((_text(subject), _applied(row)) for subject, row in quarantined),
            _times(lifting), _times(living),
        )  # fmt: skip
    except TypeError as error:
        raise ValueError("not what was remembered of offences") from error


def _row_of(applied: AppliedAction) -> list[Any]:
    return [
        str(applied.action), str(applied.source.kind), applied.source.value, applied.detector, applied.what[:TEXT_MAX],
        float(applied.score), applied.until, applied.is_observed, applied.is_final,
    ]  # fmt: skip


def _applied(row: Sequence[Any]) -> AppliedAction:
    action, kind, value, detector, what, score, until, is_observed, is_final = row
    return AppliedAction(
        Action(action), _source(kind, value), _text(detector), _text(what), _number(score), _whole(until),
        is_observed=_flag(is_observed), is_final=_flag(is_final),
    )  # fmt: skip


def _times(rows: Sequence[Any]) -> tuple[tuple[str, int], ...]:
    return tuple((_text(name), _whole(when)) for name, when in rows)


def _source(kind: str, value: str) -> SignalSource:
    return SignalSource(SourceKind(kind), _text(value))


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
