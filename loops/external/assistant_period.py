"""Which time a spoken question is about: yesterday, the last three hours, on Monday. English, pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from tlsrt.sources import Period, period

_NUMBERS = {
    word: number for number, word in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), 1
    )
}  # fmt: skip
_UNITS = {"minute": (1, "m"), "hour": (1, "h"), "day": (1, "d"), "week": (7, "d")}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LAST = re.compile(rf"\b(?:last|past) (?:(\d{{1,3}}|{'|'.join(_NUMBERS)}) )?(minute|hour|day|week)s?\b")
_WEEKDAY = re.compile(rf"\b({'|'.join(_DAYS)})\b")
_TODAY = re.compile(r"\b(today|this (?:morning|afternoon|evening)|tonight)\b")
EVENING, MORNING = 18, 8  # o'clock: the ends of a night


def spoken_period(question: str, now: datetime, otherwise: Period) -> Period:
    """Return the time that a question names, of local time as `now` is; `otherwise` where it names none."""
    words = " ".join(re.sub(r"[^a-z0-9]+", " ", question.lower()).split())
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if "day before yesterday" in words:
        return _span(midnight - timedelta(days=2), midnight - timedelta(days=1))
    if "yesterday" in words:
        return period("yesterday", now)
    if "last night" in words:
        return _span(midnight - timedelta(hours=24 - EVENING), midnight + timedelta(hours=MORNING))
    if found := _LAST.search(words):
        number, (times, unit) = found[1] or "1", _UNITS[found[2]]
        return Period(f"{times * (_NUMBERS.get(number) or max(1, int(number)))}{unit}")
    if _TODAY.search(words):
        return period("today", now)
    if found := _WEEKDAY.search(words):
        ago = (now.weekday() - _DAYS.index(found[1])) % 7 or 7
        begin = midnight - timedelta(days=ago)
        return _span(begin, begin + timedelta(days=1))
    return otherwise


def _span(begin: datetime, end: datetime) -> Period:
    return Period(str(round(begin.timestamp() * 1000)), str(round(end.timestamp() * 1000) - 1))
