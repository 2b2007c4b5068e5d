"""The query of a call: how long it may take, or when it is to be made. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from tlsrt.loops.http.response import Problem

TIMEOUT_S = 30.0
TIMEOUT_MIN_S, TIMEOUT_MAX_S = 0.001, 300.0
TIMES = ("at", "in", "every")
_NAMES = ("timeout_s", *TIMES, "missed", "jitter")
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?")  # as JSON writes it
_FIVE_FIELDS = 4  # blanks, which a browser writes as `+`


@dataclass(frozen=True, slots=True)
class Later:
    """When a call is to be made, as its caller says it."""

    when: str
    missed: str = "once"
    jitter: str = ""


def query_untrusted(query: str) -> tuple[float, Later | None]:
    """Return how long a call may take in seconds, and when it is to be made: None for now. Raises Problem."""
    fields: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name not in _NAMES or name in fields or not value:
            raise _refused(f"the query may be {', '.join(_NAMES)}, each once and with a value")
        fields[name] = value
    timeout_s = _timeout_untrusted(fields.pop("timeout_s")) if "timeout_s" in fields else TIMEOUT_S
    said = [name for name in TIMES if name in fields]
    if not fields:
        return timeout_s, None
    if len(said) != 1:
        raise _refused("say when by one of at, in and every; missed and jitter are of a call that is put off")
    text = _text_untrusted(fields[said[0]])
    if said[0] == "in" and text[-1:] not in ("s", "m", "h", "d"):
        raise _refused("cannot read the duration of `in`: write 90s, 10m, 2h or 7d")
    when = f"every {text}" if said[0] == "every" else text
    missed, jitter = (_text_untrusted(fields.get(name, "")) for name in ("missed", "jitter"))
    return timeout_s, Later(when, missed or "once", jitter)


def _timeout_untrusted(value: str) -> float:
    seconds = float(value) if _NUMBER.fullmatch(value) else 0.0
    if not 0 < seconds <= TIMEOUT_MAX_S:
        raise _refused(f"timeout_s is a number of seconds, at most {TIMEOUT_MAX_S:g}")
    if seconds < TIMEOUT_MIN_S:
        raise Problem(504, "deadline", f"nothing is answered within {seconds:g} s, so nothing was executed")
    return seconds


def _text_untrusted(value: str) -> str:
    try:
        return unquote(value.replace("+", " ") if value.count("+") == _FIVE_FIELDS else value, errors="strict")
    except UnicodeDecodeError:
        raise _refused("the query is not UTF-8") from None


def _refused(sentence: str) -> Problem:
    return Problem(400, "invalid_argument", sentence)
