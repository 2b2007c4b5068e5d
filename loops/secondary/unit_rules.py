"""Which units of systemd may be acted on, and which jobs run: names, instances, words. Pure.

The same rules are written twice: here for the component, and as a rule of polkit and as template units for the host
(unit_setup.py), so that a captured component gets no further than an honest one.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from tlsrt import Denied, InvalidArgument, Length, NotFound, Range
from tlsrt.loops.secondary.linear_pattern import linear_pattern

Act = Literal["start", "stop", "restart", "reload", "enable", "disable"]
UNITS = 64
JOBS = 32
OUTPUT_MOST = 2900  # bytes of a job: in base64 a status text, which comes in one datagram of 4096
WORD = r"[A-Za-z0-9_.,:+@=/-]{1,120}"  # of a job: nothing that systemd splits, quotes or expands
_UNIT = re.compile(r"[A-Za-z0-9:_.\\-]{1,200}@?\.(service|socket|timer|target|path|mount)")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.")
_NAME_MOST = 255  # of a unit: UNIT_NAME_MAX


def _check_pattern(pattern: str) -> None:
    try:
        linear_pattern(pattern)
    except ValueError as error:
        raise ValueError(f"{pattern!r}: {error}") from None
    is_common = "\\" not in pattern and "(?" not in pattern.replace("(?:", "")  # to `re` and polkit's JavaScript
    if not is_common or not pattern.isprintable() or len(pattern) > 200:
        raise ValueError(
            f"{pattern!r}: write it without `\\` and without `(?` other than `(?:`, as polkit reads it too"
        )


@dataclass(frozen=True, kw_only=True)
class UnitOptions:
    """What may be done to a unit; its state may always be seen."""

    actions: Annotated[tuple[Act, ...], "What callers may do: start, stop, restart, reload, enable, disable."] = ()
    instances: Annotated[str, "Of NAME@.service: a regular expression that an instance fits whole."] = ""

    def __post_init__(self) -> None:
        _check_pattern(self.instances)


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """A command that callers may have run, in a sandbox of systemd."""

    argv: Annotated[tuple[str, ...], "The program, by its path, and its fixed arguments."]
    words: Annotated[tuple[str, ...], "A regular expression for each argument that a caller gives."] = ()
    seconds: Annotated[int, Range(1, 86400), "How long it may take."] = 60
    memory_mb: Annotated[int, Range(4, 65536), "Memory that it may take."] = 128
    tasks: Annotated[int, Range(1, 4096), "Processes and threads that it may have."] = 16
    user: Annotated[str, Length(32), "As whom it runs; a user made for the run if it is empty."] = ""

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0].startswith("/") or len(self.argv) > 32:
            raise ValueError("argv: name the program by its path, and 31 arguments at most")
        if not all(0 < len(word) <= 400 and word.isprintable() for word in self.argv) or len(self.words) > 8:
            raise ValueError("argv, words: printable arguments of 400 characters, and 8 words at most")
        if not re.fullmatch(r"[a-z_][a-z0-9_-]*|", self.user):
            raise ValueError(f"user: {self.user!r} is no name of a user")
        for pattern in self.words:
            _check_pattern(pattern)


def check_units(units: Mapping[str, UnitOptions], jobs: Mapping[str, JobOptions]) -> None:
    """Raise ValueError with a sentence if names are none, or there are too many."""
    if len(units) > UNITS or len(jobs) > JOBS:
        raise ValueError(f"at most {UNITS} units and {JOBS} jobs")
    for name, options in units.items():
        if not _UNIT.fullmatch(name):
            raise ValueError(f"units: {name!r} is no full name of a unit, such as nginx.service or backup@.service")
        if ("@." in name) != bool(options.instances):
            raise ValueError(f"units: {name}: `instances` is for a template such as backup@.service, and needed there")
        if name.startswith("tlsrt-"):
            raise ValueError(f"units: {name}: names that begin with tlsrt- are those of this service")
    for name in jobs:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,30}", name):
            raise ValueError(f"jobs: {name!r} is no name: small letters and digits, 31 at most")


def rule_of(units: Mapping[str, UnitOptions], unit: str) -> UnitOptions | None:
    """Return what may be done to a unit; None if it is not listed."""
    found = units.get(unit)
    if found is not None and not found.instances:
        return found
    name, at, rest = unit.partition("@")
    instance, dot, kind = rest.rpartition(".")
    family = units.get(f"{name}@.{kind}") if at and dot and instance else None
    if family is None or len(unit) > _NAME_MOST or not re.fullmatch(r"[A-Za-z0-9:_.\\-]+", instance):
        return None
    return family if linear_pattern(family.instances).fullmatch(instance) else None


def rule_for(units: Mapping[str, UnitOptions], unit: str, act: Act | None = None) -> UnitOptions:
    """Return what may be done to a unit. Raises NotFound if it is not listed, Denied if `act` is not."""
    rule = rule_of(units, unit)
    if rule is None:
        raise NotFound(f"no unit {unit[:80]!r} is listed here; `list` shows those that are")
    if act is not None and act not in rule.actions:
        raise Denied(f"{act} of {unit} is not listed: put it under `actions` of its unit in the options")
    return rule


def job_unit(jobs: Mapping[str, JobOptions], job: str, words: tuple[str, ...]) -> str:
    """Return the unit that runs a job with these words. Raises NotFound or InvalidArgument."""
    options = jobs.get(job)
    if options is None:
        raise NotFound(f"no job {job[:40]!r} is listed here; `jobs` shows those that are")
    if len(words) != len(options.words):
        raise InvalidArgument(f"job {job} takes {len(options.words)} words, and {len(words)} came")
    for number, (word, pattern) in enumerate(zip(words, options.words, strict=True), 1):
        if not re.fullmatch(WORD, word) or not linear_pattern(pattern).fullmatch(word):
            raise InvalidArgument(f"word {number} of job {job} does not fit {pattern!r}: {word[:80]!r}")
    name = f"tlsrt-job-{job}@{escape(' '.join(words))}.service"
    if len(name) > _NAME_MOST:
        raise InvalidArgument(
            f"the words of job {job} are too long together: a unit's name has {_NAME_MOST} characters"
        )
    return name


def switch_unit(act: Act, unit: str) -> str:
    """Return the unit that enables or disables another one. Raises InvalidArgument if its name is too long."""
    name = f"tlsrt-{act}@{unit}.service"
    if len(name) > _NAME_MOST:
        raise InvalidArgument(f"{unit} is too long to be {act}d: a unit's name has {_NAME_MOST} characters")
    return name


def output_untrusted(said: object) -> str | None:
    """Return what a status text has of the output of a job; None for what is none. Cannot fail."""
    if not isinstance(said, str) or len(said) > 2 * OUTPUT_MOST or not said.isascii():
        return None
    try:
        return base64.b64decode(said, validate=True).decode(errors="replace")
    except ValueError:
        return None


def escape(text: str) -> str:
    """Return text as an instance of a unit, as systemd-escape(1) writes it; "none" for no text."""
    if not text:
        return "none"
    escaped = "".join("-" if one == "/" else one if one in _PLAIN else f"\\x{ord(one):02x}" for one in text)
    return f"\\x2e{escaped[1:]}" if escaped.startswith(".") else escaped


def unit_of_path(path: str) -> str:
    """Return the unit whose object has this path: what is no letter or digit stands there as _XX."""
    label = path.rpartition("/")[2]
    return re.sub(r"_([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), label)
