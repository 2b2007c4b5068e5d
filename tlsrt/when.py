"""When a job is due: at times of day as cron(8) has them, again and again, at one instant, or after a while. Pure.

A caller says it as a text (`30 6 * * *`, `every 10m`, `2026-12-01T06:30:00+01:00`, `10m`), a datetime or a timedelta.
On the wire that is a short text of four forms: the five fields; `%` and the seconds of a period; `@` and seconds since
1970; `+` and seconds from now by the clock of the host, as that of a caller may be wrong. Behind it may stand a blank,
`~` and the seconds of a jitter.
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
EVERY_LEAST_S = 30  # a run costs the host two records and two writes of its state: 32 jobs then make one run a second
JITTER_MAX_S = 86_400
LATE_LEAST_S = 60  # a run that is later by less is on time
TEXT_MAX = 200  # characters
MISSED = ("once", "skip")
_NUMBER = re.compile(r"[@+%][0-9]{1,12}")
_JITTER = re.compile(r"(.*) ~([1-9][0-9]{0,5})", re.DOTALL)
_LATE = re.compile(r"\+([1-9][0-9]{0,8})")
_EVERY = "every "
_HINT = "write '30 6 * * *' (as cron does), every 10m, 2026-12-01T06:30:00+01:00, or 10m"


@dataclass(frozen=True, slots=True)
class Instant:
    """One time: seconds since 1970."""

    at: int


@dataclass(frozen=True, slots=True)
class Delay:
    """So many seconds from now."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Period:
    """Again and again, so many seconds apart; first after one of them."""

    seconds: int


When = Cron | Instant | Delay | Period


def when_text(when: str | datetime | timedelta, jitter: str | timedelta | None = None) -> str:
    """Return what a caller says as it travels. Raises InvalidArgument with what is wrong."""
    text = _when_text(when)
    if jitter is None or jitter == "":
        return text
    most_s = min(JITTER_MAX_S, int(text[1:])) if text[0] == "%" else JITTER_MAX_S
    seconds = _seconds(jitter, "jitter")
    if not 1 <= seconds <= most_s:
        raise InvalidArgument(f"cannot have a jitter of {seconds:g} s here: say 1 s to {most_s} s")
    return f"{text} ~{round(seconds)}"


def missed_text(missed: str) -> str:
    """Return what a caller says of a run that is late as it travels. Raises InvalidArgument.

    It is made up for (`once`), left out (`skip`), or made up for while it is late by no more than a duration (`1h`).
    """
    if missed in MISSED:
        return missed
    if missed[-1:] not in ("s", "m", "h", "d"):
        raise InvalidArgument(f"cannot take missed={missed!r}: write 'once', 'skip', or how late it may be, as in '1h'")
    seconds = _seconds(missed, "lateness")
    if not LATE_LEAST_S <= seconds <= MOST_S:
        raise InvalidArgument(f"cannot take missed={missed!r}: say {LATE_LEAST_S} s to {MOST_S // 86_400} days")
    return f"+{round(seconds)}"


def late_max_s_untrusted(missed: str) -> int | None:
    """Return how late a run may be in seconds, None if it may be at any time. Raises MisuseError for another text."""
    if missed in MISSED:
        return LATE_LEAST_S if missed == "skip" else None
    match = _LATE.fullmatch(missed)
    if match is None or not LATE_LEAST_S <= int(match[1]) <= MOST_S:
        raise MisuseError("cannot read how late a run may be")
    return int(match[1])


def _when_text(when: str | datetime | timedelta) -> str:
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
    if text.startswith(_EVERY):
        seconds = _seconds(text.removeprefix(_EVERY).strip(), "period")
        if not EVERY_LEAST_S <= seconds <= MOST_S:
            raise InvalidArgument(_bad_period(seconds))
        return f"%{round(seconds)}"
    if text[-1:] in ("s", "m", "h", "d"):
        return _delay(_seconds(text, "time"))
    try:
        return _instant(datetime.fromisoformat(text))
    except ValueError:
        raise InvalidArgument(f"cannot read the time {text!r}: {_HINT}") from None


def parse_when_untrusted(text: str) -> When:
    """Return what travelled, but for its jitter. Raises MisuseError for what `when_text` does not make."""
    if len(text) > TEXT_MAX:
        raise MisuseError("cannot read the time of a job: it is too long")
    text, jitter_s = _parted(text)
    if not _NUMBER.fullmatch(text):
        found: When = parse_cron(text)
    elif text[0] == "@":
        found = Instant(int(text[1:]))
    elif text[0] == "%":
        found = Period(int(text[1:]))
        if not EVERY_LEAST_S <= found.seconds <= MOST_S:
            raise MisuseError(_bad_period(found.seconds))
    else:
        found = Delay(int(text[1:]))
        if not LEAST_S <= found.seconds <= MOST_S:
            raise MisuseError(f"cannot wait for {text[1:]} s: a job waits for {LEAST_S} s to {MOST_S // 86_400} days")
    if jitter_s > (min(found.seconds, JITTER_MAX_S) if isinstance(found, Period) else JITTER_MAX_S):
        raise MisuseError(f"cannot have a jitter of {jitter_s} s here: it is too long")
    return found


def delay_ms(text: str, job: bytes) -> int:
    """Return by how much a job is late on purpose: within the jitter that its time says, the same for each run.

    The id of a job is random, so many jobs of one time are spread; and no run comes twice or not at all by its jitter.
    """
    _, jitter_s = _parted(text)
    return int.from_bytes(job, "big") % (jitter_s * 1000 + 1)


def shown_when(text: str) -> str:
    """Return the time of a job for people: a time of day as cron has it, a period, else that it is once."""
    text, jitter_s = _parted(text)
    if text[:1] == "%" and text[1:].isdecimal():
        text = f"{_EVERY}{_short(int(text[1:]))}"
    shown = "once" if text[:1] in ("@", "+") else text
    return f"{shown} ~{_short(jitter_s)}" if jitter_s else shown


def shown_missed(text: str) -> str:
    """Return for people what becomes of a run that is late."""
    return f"once, if at most {_short(int(text[1:]))} late" if _LATE.fullmatch(text) else text


def shown_time(wall: int) -> str:
    """Return a time in ms since 1970 in the time zone of the reader, `-` for none, `?` for one that no calendar has."""
    try:
        return f"{datetime.fromtimestamp(wall / 1000).astimezone():%Y-%m-%d %H:%M:%S}" if wall else "-"
    except (ValueError, OverflowError, OSError):  # another host may write any number
        return "?"


def _parted(text: str) -> tuple[str, int]:
    """Return the time itself and the seconds of its jitter."""
    match = _JITTER.fullmatch(text)
    return (match[1], int(match[2])) if match else (text, 0)


def _seconds(value: str | timedelta, what: str) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    try:
        return parse_duration(value.strip(), most_s=MOST_S)
    except ValueError as error:
        raise InvalidArgument(f"cannot read the {what}: {error}") from None


def _short(seconds: int) -> str:
    """Return a duration as it can be written: in its largest unit that leaves no rest."""
    size, unit = next(one for one in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")) if seconds % one[0] == 0)
    return f"{seconds // size}{unit}"


def _bad_period(seconds: float) -> str:
    return f"cannot run every {seconds:g} s: a period is {EVERY_LEAST_S} s to {MOST_S // 86_400} days"


def _delay(seconds: float) -> str:
    if not LEAST_S <= seconds <= MOST_S:
        raise InvalidArgument(f"cannot wait for {seconds:g} s: say {LEAST_S} s to {MOST_S // 86_400} days")
    return f"+{round(seconds)}"


def _instant(at: datetime) -> str:
    if at.tzinfo is None:
        raise InvalidArgument(f"cannot take {at.isoformat()}: say its time zone, as in {at.isoformat()}+01:00")
    return f"@{max(0, round(at.timestamp()))}"
