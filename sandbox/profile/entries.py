"""The lines of a part that are no system calls: files, mounts, network, egress, limits. Pure.

A line is a map in a list under the name of its section, and always says why:

    code:    [{paths: [/usr/lib], why: ...}]       the root shows it; readable until the seal. $code: see `profile.py`
    data:    [{paths: [/etc/hosts], why: ...}]     the root shows it; readable for ever
    write:   [{paths: [/state], why: ...}]         a folder of the loop's own: /state, /channel
    mounts:  [{paths: [/proc], why: ...}]          /proc, /sys, /dev/null
    network: [{why: ...}]                          keeps the host's network namespace
    egress:  [{to: ["192.0.2.7:443"], why: ...}]   what it may reach over that, see `config/egress.py`
    limits:  [{limit: nofile, value: 256, why: ...}]

A limit is one of setrlimit(2); its value a number, a number of KiB or MiB, or the name of a setting of the loop. Of two
lines about one limit the later part counts. `rootless` is the least that it is where all processes have one uid.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlsrt.config.egress import EgressRule, parse_egress
from tlsrt.errors import SandboxError

PATH_SECTIONS = ("code", "data", "write", "mounts")
LINE_SECTIONS = (*PATH_SECTIONS, "network")
SECTIONS = (*LINE_SECTIONS, "egress", "limits")
CODE = "$code"
STATE, CHANNEL, NULL = "/state", "/channel", "/dev/null"
_OWN = {"write": (STATE, CHANNEL), "mounts": ("/proc", "/sys", NULL)}
LIMITS = (
    "as", "core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
    "sigpending", "stack",
)  # fmt: skip
_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20}
SETTINGS = {
    "memory_mb": 1 << 20,
    "file_size_mb": 1 << 20,
    "open_files": 1,
    "processes": 1,
    "connections": 1,
    "address_mb": 1 << 20,
    "above_loops": 1,
}
_AMOUNT = re.compile(r"(\d{1,12}) (KiB|MiB)")
_LARGEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Line:
    """Paths of one section (none under `network`), the reason, and the part that the line stands in."""

    paths: tuple[str, ...]
    why: str
    part: str
    must_exist: bool = False  # what an operator names is there, or the start is refused


@dataclass(frozen=True, slots=True)
class EgressLine:
    """Egress rules, the reason, and the part."""

    rules: tuple[EgressRule, ...]
    why: str
    part: str


@dataclass(frozen=True, slots=True)
class LimitLine:
    """One limit, in the units of setrlimit(2): a number or a setting; the least of it when rootless."""

    limit: str
    value: int | str
    why: str
    part: str
    rootless: int = 0

    def amount(self, settings: Mapping[str, int], *, rootless: bool) -> int:
        """Return the number for a loop with these settings. Raises SandboxError for a setting that it has not."""
        if isinstance(self.value, int):
            number = self.value
        elif self.value in settings:
            number = settings[self.value] * SETTINGS[self.value]
        else:
            raise wrong(self.part, f"{self.limit}: this process has no setting {self.value}")
        return max(number, self.rootless) if rootless else number


def wrong(part: str, sentence: str) -> SandboxError:
    """Return the error about a part."""
    return SandboxError("profile", f"profile {part}: {sentence}")


def parse_paths(part: str, section: str, value: Any) -> Line:
    """Return a line of `code`, `data`, `write`, `mounts` or `network`. Raises SandboxError."""
    names = ("paths",) if section in PATH_SECTIONS else ()
    why = _reason(part, value, names)
    paths = _texts(part, value, "paths") if names else ()
    for path in paths:
        _check_path(part, section, path)
    return Line(paths, why, part)


def parse_rules(part: str, value: Any) -> EgressLine:
    """Return a line of `egress`. Raises SandboxError."""
    why = _reason(part, value, ("to",))
    try:
        return EgressLine(tuple(parse_egress(text) for text in _texts(part, value, "to")), why, part)
    except ValueError as error:
        raise wrong(part, str(error)) from None


def parse_limit(part: str, value: Any) -> LimitLine:
    """Return a line of `limits`. Raises SandboxError."""
    why = _reason(part, value, ("limit", "value", "rootless"))
    limit = value.get("limit")
    if limit not in LIMITS:
        raise wrong(part, f"there is no limit {limit}: the limits are {', '.join(LIMITS)}")
    rootless = _amount(part, limit, value.get("rootless", 0))
    if not isinstance(rootless, int):
        raise wrong(part, f"{limit}: `rootless` must be a number")
    return LimitLine(limit, _amount(part, limit, value.get("value")), why, part, rootless)


def _reason(part: str, value: Any, names: tuple[str, ...]) -> str:
    if not isinstance(value, dict):
        raise wrong(part, "it must be a map")
    if unknown := sorted(set(value) - {*names, "why"}):
        raise wrong(part, f"{unknown[0]} has no meaning")
    why = value.get("why")
    if not isinstance(why, str) or not why.strip():
        raise wrong(part, "it has no reason: say why")
    return " ".join(why.split())


def _texts(part: str, value: Mapping[str, Any], name: str) -> tuple[str, ...]:
    texts = value.get(name)
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise wrong(part, f"`{name}` must be a list of texts")
    return tuple(texts)


def _check_path(part: str, section: str, path: str) -> None:
    own = _OWN.get(section)
    if own is not None and path not in own:
        raise wrong(part, f"`{section}` knows {', '.join(own)}, not {path}")
    if not (section == "code" and path == CODE) and (not path.startswith("/") or os.path.normpath(path) != path):
        raise wrong(part, f"{path} must be an absolute path without detours")


def _amount(part: str, limit: str, value: Any) -> int | str:
    if isinstance(value, str) and value in SETTINGS:
        return value
    if isinstance(value, str) and (match := _AMOUNT.fullmatch(value)):
        value = int(match[1]) * _UNITS[match[2]]
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise wrong(part, f"{limit}: {value} is no number, no number of KiB or MiB, and no setting of a loop")
    return value
