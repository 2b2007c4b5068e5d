"""When a job is due: at times of day as cron(8) has them, at one instant, or after a while. Pure.

A caller says it as a text (`30 6 * * *`, `2026-12-01T06:30:00+01:00`, `10m`), a datetime or a timedelta. On the wire
that is a short text of three forms: the five fields, `@` and seconds since 1970, `+` and seconds from now by the
clock of the host, as that of a caller may be wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from tlsrt.cron import Cron, parse_cron
from tlsrt.errors import InvalidArgument, MisuseError
from tlsrt.text import parse_duration

LEAST_S = 1
MOST_S = 366 * 86_400
TEXT_MAX = 200  # characters
_NUMBER = re.compile(r"[@+][0-9]{1,12}")
_HINT = "write '30 6 * * *' (as cron does), 2026-12-01T06:30:00+01:00, or 10m"


@dataclass(frozen=True, slots=True)
class Instant:
    """One time: seconds since 1970."""

    at: int


@dataclass(frozen=True, slots=True)
class Delay:
    """So many seconds from now."""

    seconds: int


When = Cron | Instant | Delay


def when_text(when: str | datetime | timedelta) -> str:
    """Return what a caller says as it travels. Raises InvalidArgument with what is wrong."""
    if isinstance(when, timedelta):
        return _delay(when.total_seconds())
    if isinstance(when, datetime):
        return _instant(when)
    text = when.strip()
    if len(text) > TEXT_MAX:
        raise InvalidArgument(f"cannot read a time of {len(text)} characters: {_HINT}")
    if len(text.split()) == 5:
        try:
            return parse_cron(text).text
        except MisuseError as error:
            raise InvalidArgument(str(error)) from None
    if text[-1:] in ("s", "m", "h", "d"):
        try:
            return _delay(parse_duration(text, most_s=MOST_S))
        except ValueError as error:
            raise InvalidArgument(str(error)) from None
    try:
        return _instant(datetime.fromisoformat(text))
    except ValueError:
        raise InvalidArgument(f"cannot read the time {text!r}: {_HINT}") from None


def parse_when_untrusted(text: str) -> When:
    """Return what travelled. Raises MisuseError for what `when_text` does not make."""
    if _NUMBER.fullmatch(text):
        number = int(text[1:])
        if text[0] == "@":
            return Instant(number)
        if LEAST_S <= number <= MOST_S:
            return Delay(number)
        raise MisuseError(f"cannot wait for {number} s: a job waits for {LEAST_S} s to {MOST_S // 86_400} days")
    if len(text) > TEXT_MAX:
        raise MisuseError("cannot read the time of a job: it is too long")
    return parse_cron(text)


def shown_when(text: str) -> str:
    """Return the time of a job for people: a time of day as cron has it, else that it is once."""
    return "once" if text[:1] in ("@", "+") else text


def shown_time(wall: int) -> str:
    """Return a time in ms since 1970 in the time zone of the reader, `-` for none."""
    return f"{datetime.fromtimestamp(wall / 1000).astimezone():%Y-%m-%d %H:%M:%S}" if wall else "-"


def _delay(seconds: float) -> str:
    if not LEAST_S <= seconds <= MOST_S:
        raise InvalidArgument(f"cannot wait for {seconds:g} s: say {LEAST_S} s to {MOST_S // 86_400} days")
    return f"+{round(seconds)}"


def _instant(at: datetime) -> str:
    if at.tzinfo is None:
        raise InvalidArgument(f"cannot take {at.isoformat()}: say its time zone, as in {at.isoformat()}+01:00")
    return f"@{max(0, round(at.timestamp()))}"
