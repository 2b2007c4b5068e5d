"""Which carriers a notification goes to, when, and what follows if no person acknowledges it. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from tlsrt import Length, Pattern, Range
from tlsrt.loops.third.notice import Severity, level

CONSOLE = "console"
RULES = 32  # of each kind
_DAY_MIN = 1440
CARRIER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
TOPIC = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_PATTERN = re.compile(r"\*|[a-z0-9][a-z0-9_.-]{0,63}(\.\*)?")
_SENDER = re.compile(r"\*|[a-z]+/(\*|[A-Za-z0-9_.@-]{1,64})")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
Carriers = Annotated[tuple[str, ...], Length(16, 1)]
Patterns = Annotated[tuple[str, ...], Length(64, 1)]
Clock = Annotated[str, Pattern(_CLOCK, "a time of day such as 22:00")]


def _check_matches(topics: Sequence[str], senders: Sequence[str]) -> None:
    for topic in topics:
        if not _PATTERN.fullmatch(topic):
            raise ValueError(f"{topic!r} matches no topic: write a name such as heating, heating.* or *")
    for sender in senders:
        if not _SENDER.fullmatch(sender):
            raise ValueError(f"{sender!r} is no sender: write client/NAME or LOOP/NAME, with * for a whole side")


@dataclass(frozen=True, kw_only=True)
class Route:
    """Carriers for what is of some severity, topics and senders. All routes that match hold."""

    to: Annotated[Carriers, "Names of carriers."]
    severity: Annotated[Severity, "At least this one."] = "info"
    topics: Annotated[Patterns, "Topics; heating.* is heating and all below it."] = ("*",)
    senders: Annotated[Patterns, "Senders; client/* is every client."] = ("*",)

    def __post_init__(self) -> None:
        _check_matches(self.topics, self.senders)


@dataclass(frozen=True, kw_only=True)
class Escalation:
    """What follows if no person has acknowledged a notification in time."""

    to: Annotated[Carriers, "Names of carriers."]
    after_s: Annotated[float, Range(1, 7 * 86_400), "So long after it was sent, seconds."] = 300.0
    times: Annotated[int, Range(1, 20), "How often."] = 1
    every_s: Annotated[float, Range(1, 7 * 86_400), "The pause between two, seconds."] = 600.0
    severity: Annotated[Severity, "At least this one."] = "error"
    topics: Annotated[Patterns, "Topics, as in a route."] = ("*",)
    senders: Annotated[Patterns, "Senders, as in a route."] = ("*",)

    def __post_init__(self) -> None:
        _check_matches(self.topics, self.senders)


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """A time of each day at which carriers wait with what is less severe. It may pass midnight."""

    begin: Annotated[Clock, "Its begin, in the time zone of the host."]
    end: Annotated[Clock, "Its end."]
    to: Annotated[tuple[str, ...], Length(16), "Carriers that wait; all but the console if none is named."] = ()
    below: Annotated[Severity, "What is of this severity or above does not wait."] = "critical"

    def __post_init__(self) -> None:
        if self.begin == self.end:
            raise ValueError("quiet: begin and end are the same")


def matches(rule: Route | Escalation, severity: str, topic: str, sender: str) -> bool:
    """Tell whether a rule is of a notification."""
    side = sender.partition("/")[0]
    is_topic = any(
        each == "*" or each == topic or (each.endswith(".*") and f"{topic}.".startswith(each[:-1]))
        for each in rule.topics
    )
    return (
        level(severity) >= level(rule.severity)
        and is_topic
        and any(each in ("*", sender, f"{side}/*") for each in rule.senders)
    )


def carriers_of(routes: Sequence[Route], severity: str, topic: str, sender: str) -> tuple[str, ...]:
    """Return the carriers of a notification, each once: the console, and those of all routes that match."""
    found = [CONSOLE]
    for route in routes:
        if matches(route, severity, topic, sender):
            found += route.to
    return tuple(dict.fromkeys(found))


def due_at(
    quiet: Quiet | None, carrier: str, severity: str, now_ms: int,
    local: Callable[[float], time.struct_time] = time.localtime,
) -> int:  # fmt: skip
    """Return when a carrier may deliver: now, or at the end of the quiet time. Wall clock, ms."""
    if quiet is None or carrier == CONSOLE or level(severity) >= level(quiet.below):
        return now_ms
    if quiet.to and carrier not in quiet.to:
        return now_ms
    there = local(now_ms / 1000)
    now = there.tm_hour * 60 + there.tm_min
    begin, end = _minutes(quiet.begin), _minutes(quiet.end)
    is_quiet = begin <= now < end if begin < end else (now >= begin or now < end)
    if not is_quiet:
        return now_ms
    seconds = ((end - now) % _DAY_MIN) * 60 - there.tm_sec
    return now_ms - now_ms % 1000 + seconds * 1000


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)
