"""What was found by looking through folders of packages: each is looked through once while a survey is in force.

One package may be what many components need, and each of them is asked about several times on the way from a
configuration to its profiles. A survey is also how a running host has a child look: what that found comes back as lists
of words, and the supervisor goes the same way with them, and reads no source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgpack

from tlsrt.errors import ConfigError

Survey = dict[str, tuple[str, ...]]  # what was looked at -> the words that were found

_in_force: ContextVar[Survey | None] = ContextVar("survey", default=None)
_ERRORS = "surrogateescape"  # names of files are any bytes


@contextmanager
def surveyed(survey: Survey | None = None) -> Iterator[Survey]:
    """Have each folder looked through once, or not at all if it is in the `survey`; one in force before goes on."""
    if survey is None and (outer := _in_force.get()) is not None:
        yield outer
        return
    found = survey if survey is not None else {}
    token = _in_force.set(found)
    try:
        yield found
    finally:
        _in_force.reset(token)


def once(what: str, look: Callable[[], Iterable[str]]) -> tuple[str, ...]:
    """Return what `look` finds, which depends on `what` only; it looks again if no survey is in force."""
    survey = _in_force.get()
    if survey is None:
        return tuple(look())
    if what not in survey:
        survey[what] = tuple(look())
    return survey[what]


def pack_survey(survey: Survey) -> bytes:
    """Return a survey as bytes."""
    packed: bytes = msgpack.packb(survey, unicode_errors=_ERRORS)
    return packed


def unpack_survey(data: bytes) -> Survey:
    """Read a survey. Raises ConfigError for anything else."""
    try:
        found = msgpack.unpackb(data, unicode_errors=_ERRORS)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError("cannot read what was found in the packages of components: reload again")
    for what, words in found.items():
        if not isinstance(what, str) or not isinstance(words, list) or not all(isinstance(one, str) for one in words):
            raise ConfigError("cannot read what was found in the packages of components: reload again")
    return {what: tuple(words) for what, words in found.items()}
