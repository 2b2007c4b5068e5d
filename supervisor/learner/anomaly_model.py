"""Anomaly model: which windows are unusual for their subject, and by which features. Pure; times in ms.

Theory of operation. Each subject (a client, a component) has a profile, each kind of subject one of all of its
subjects. A window is weighed before it is learned: the surprise of its features beyond what chance does, together. It
is unusual if that is much at once, or if it is a little again and again (a cumulative sum: Page, "Continuous
inspection schemes", Biometrika 41, 1954). Once a subject is known, its windows are learned later, so that what goes
on is weighed against how it was before, and what surprises is learned for a part only: the thief of a name needs long
to make other ways usual. Nothing is known at first, and what is known grows with each window: a new subject is no
surprise. Deterministic: no chance, no clock.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from tlsrt.channels.control.learner import REASONS, Reason
from tlsrt.channels.control.telemetry import WINDOW_MS, Window
from tlsrt.supervisor.learner.features import Sums, level, number_of
from tlsrt.supervisor.learner.histogram import Histogram

SUBJECTS_MAX = 1024  # about 10 KB each; the one that was seen longest ago is forgotten
WARM_UP = 60.0  # windows until a subject is known: 5 minutes of activity
CHANCE_BITS = 3.0  # of a feature, which are nothing
BITS_MAX = 6.0  # beyond that, of a feature: no single one decides
MUCH = 16.0  # bits at once
LITTLE = 2.0  # bits, a window, that do not add up
SILENT = 0.5  # bits, that each silent window takes off what has added up
AGAIN = 30.0  # bits added up
SUM_MAX = 40.0
LATER = 60  # windows until one is learned: another 5 minutes
HALF_BITS = 16.0  # bits with which a window is learned for a half
SHARE_LEAST = 0.2  # even so: what goes on for long is usual in the end
UNKNOWN = 255  # in a packed window


@dataclass(frozen=True, slots=True)
class Opinion:
    """What is thought of a window. `warmth` is from 0 to 1, `bits` are the surprise, `sum` is what adds up."""

    is_unusual: bool
    bits: float
    sum: float
    warmth: float
    reasons: tuple[Reason, ...]


class Subject:
    """What is kept of one subject."""

    __slots__ = ("at", "later", "profile", "sum", "sums")

    def __init__(self, now: int) -> None:
        self.profile = Histogram()
        self.sums = Sums(now)
        self.sum = 0.0
        self.at = now
        self.later: deque[bytes] = deque()  # levels, and for how many 255ths they are to be learned


class AnomalyModel:
    """All subjects. Bounded by SUBJECTS_MAX and the number of kinds, which the caller fixes."""

    def __init__(self, subjects_max: int = SUBJECTS_MAX) -> None:
        self._subjects: OrderedDict[str, Subject] = OrderedDict()  # the one that was seen longest ago first
        self._kinds: dict[str, Histogram] = {}
        self._subjects_max = subjects_max

    def __len__(self) -> int:
        return len(self._subjects)

    def observe(self, name: str, kind: str, window: Window, now: int) -> Opinion:
        """Weigh a window of a subject, then learn it."""
        subject = self._subjects.pop(name, None) or Subject(now)
        self._subjects[name] = subject
        while len(self._subjects) > self._subjects_max:
            self._subjects.popitem(last=False)
        of_kind = self._kinds.setdefault(kind, Histogram())
        numbers = subject.sums.take(window, now)
        levels = [None if number is None else level(number) for number in numbers]
        warmth = min(1.0, subject.profile.windows / WARM_UP)
        beyond = [
            min(BITS_MAX, max(0.0, bits - CHANCE_BITS)) * warmth for bits in subject.profile.surprise(levels, of_kind)
        ]
        bits = sum(beyond)
        silent = max(0, (now - subject.at) // WINDOW_MS - 1)
        subject.at = max(now, subject.at)
        subject.sum = min(SUM_MAX, max(0.0, max(0.0, subject.sum - silent * SILENT) + bits - LITTLE))
        is_unusual = warmth == 1 and (bits >= MUCH or (subject.sum >= AGAIN and bits > LITTLE))
        reasons = _reasons(beyond, numbers, subject.profile) if is_unusual else ()
        share = max(SHARE_LEAST, 2 ** (-bits / HALF_BITS))
        of_kind.learn(levels, share)
        if warmth < 1:
            subject.profile.learn(levels, share)
        else:
            subject.later.append(
                bytes([UNKNOWN if reached is None else reached for reached in levels] + [round(255 * share)])
            )
            if len(subject.later) > LATER:
                *packed, share_255 = subject.later.popleft()
                subject.profile.learn([None if reached == UNKNOWN else reached for reached in packed], share_255 / 255)
        return Opinion(is_unusual, bits, subject.sum, warmth, reasons)


def _reasons(beyond: list[float], numbers: list[float | None], profile: Histogram) -> tuple[Reason, ...]:
    most = sorted(range(len(beyond)), key=lambda at: -beyond[at])[:REASONS]
    return tuple(Reason(at, round(numbers[at] or 0), number_of(profile.usual(at))) for at in most if beyond[at] > 0)
