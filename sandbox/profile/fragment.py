"""Profile fragments: one file of `profiles/` each, or what the configuration asks for. Pure.

A fragment extends others, lists system calls (see `policy.py` for what the lists mean), and says what else its process
sees and uses. An entry is a map in a list under the name of its section, and always says why:

    code:    [{paths: [/usr/lib], why: ...}]       the root shows it; readable until the seal. $code: see `profile.py`
    data:    [{paths: [/etc/hosts], why: ...}]     the root shows it; readable for ever
    write:   [{paths: [/state], why: ...}]         a folder of the loop's own: /state, /channel
    mounts:  [{paths: [/proc], why: ...}]          /proc, /sys, /dev/null
    network: [{why: ...}]                          keeps the host's network namespace
    egress:  [{to: ["192.0.2.7:443"], why: ...}]   what it may reach over that, see `config/egress.py`
    limits:  [{limit: nofile, value: 256, why: ...}]
    allow, import, broker, enosys, kill: [{calls: [read], when: [...], why: ...}]
    answer:  [{calls: [chmod], with: 0, when: [...], why: ...}]   with 0 (as if done) or the name of an errno
    never:   [{calls: [ptrace], why: ...}]         what no configuration can ask for, see `forbidden.py`

A limit is one of setrlimit(2); its value a number, a number of KiB or MiB, or the name of a setting of the loop. Of two
entries about one limit the later fragment counts. `rootless` is the least that it is where all processes have one uid.

Conditions look at the low 32 bits, which are all that the kernel uses of an int: `arg0 in A B`, `arg2 lacks A B` (none
of these bits), `arg0 has A B` (all of them), `arg1 & MASK in A B`, `arg0 is self` (this process), `arg2 is null` (all
64 bits are 0), `arg2 is seal` (the address of the last filter, see `seccomp/install.py`), `arg5 is once` (the number
of one execve, see `seccomp/once.py`).
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from tlsrt.config.egress import parse_egress
from tlsrt.config.name_rules import Rule
from tlsrt.errors import SandboxError
from tlsrt.sandbox.profile.grants import ListenLine, SocketLine
from tlsrt.sandbox.seccomp.bpf import LOW_32, Check
from tlsrt.sandbox.seccomp.constants import CONSTANTS
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS
from tlsrt.text import did_you_mean

Parsed = TypeVar("Parsed")

PATH_SECTIONS = ("code", "data", "write", "mounts")
LINE_SECTIONS = (*PATH_SECTIONS, "network")
SECTIONS = (*LINE_SECTIONS, "egress", "limits")
CODE = "$code"
STATE, CHANNEL, NULL = "/state", "/channel", "/dev/null"
# Of a program: pipes by name, since its standard output and error are sockets, which nothing can open.
SPOKEN = ("/dev/stdout", "/dev/stderr")
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
# Stand for our own pid, for the address of the last filter, and for the number of one execve, until a filter is made.
SELF, SEAL, ONCE = -1, -2, -3
_SPECIAL = {"self": SELF, "null": 0, "seal": SEAL, "once": ONCE}
CALLS = frozenset(name for numbers in NUMBERS.values() for name in numbers)
LISTS = ("allow", "answer", "import", "broker", "enosys", "kill")
_CONDITION = re.compile(r"arg([0-5])(?: & (\w+))? (in|lacks|has|is) (\w+(?: \w+)*)")


@dataclass(frozen=True, slots=True)
class Line:
    """Paths of one section (none under `network`), the reason, and the fragment."""

    paths: tuple[str, ...]
    why: str
    part: str
    must_exist: bool = False  # what an operator names is there, or the start is refused


@dataclass(frozen=True, slots=True)
class EgressLine:
    """Egress rules, the reason, and the fragment."""

    rules: tuple[Rule, ...]
    why: str
    part: str


@dataclass(frozen=True, slots=True)
class LimitLine:
    """One limit, in the units of setrlimit(2): a number or a setting. The least of it when rootless."""

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


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """Some calls, the conditions as written and as checks, the reason, the fragment, and how they are answered."""

    calls: tuple[str, ...]
    when: tuple[str, ...]
    checks: tuple[Check, ...]
    why: str
    part: str
    answer: int = 0  # of the list `answer`: the errno that the call ends with, 0 as if it was done


@dataclass(frozen=True, slots=True)
class NeverRule:
    """Forbidden calls: those that fit the entry's conditions, or all that do not keep to them."""

    entry: PolicyEntry
    is_unless: bool


@dataclass(frozen=True, slots=True, eq=False)
class PolicyFragment:
    """One fragment: its lists of calls, its other entries by section, and what it extends.

    Compared by identity, since a file is read once: composed policies are kept by their fragments.
    """

    name: str
    about: str
    extends: tuple[str, ...]
    lists: Mapping[str, tuple[PolicyEntry, ...]]
    lines: Mapping[str, tuple[Line, ...]]
    egress: tuple[EgressLine, ...] = ()
    limits: tuple[LimitLine, ...] = ()
    never: tuple[NeverRule, ...] = ()
    listen: tuple[ListenLine, ...] = ()
    sockets: tuple[SocketLine, ...] = ()


def parse_fragment(name: str, document: Any) -> PolicyFragment:
    """Return the fragment in a document as YAML gives it. Raises SandboxError naming fragment, section and entry."""
    if not isinstance(document, dict) or not isinstance(document.get("about"), str):
        raise wrong(name, "it must be a map with the text `about`")
    if unknown := sorted(set(document) - {"about", "extends", "never", *SECTIONS, *LISTS}):
        raise wrong(name, f"{unknown[0]} has no meaning")
    for section in document:
        if section != "about" and not isinstance(document[section], list):
            raise wrong(name, f"`{section}` must be a list")
    extends = document.get("extends", [])
    if not all(isinstance(one, str) for one in extends):
        raise wrong(name, "`extends` must be a list of names")
    return PolicyFragment(
        name,
        " ".join(document["about"].split()),
        tuple(extends),
        {kind: _each(name, kind, document, partial(parse_entry, name, kind)) for kind in LISTS},
        {kind: _each(name, kind, document, partial(parse_paths, name, kind)) for kind in LINE_SECTIONS},
        _each(name, "egress", document, partial(parse_rules, name)),
        _each(name, "limits", document, partial(parse_limit, name)),
        _each(name, "never", document, partial(parse_never, name)),
    )


def _each(name: str, section: str, document: dict[str, Any], parse: Callable[[Any], Parsed]) -> tuple[Parsed, ...]:
    """Return the parsed entries of a section; what is wrong with one gets its number."""
    found: list[Parsed] = []
    for number, entry in enumerate(document.get(section, ()), 1):
        try:
            found.append(parse(entry))
        except SandboxError as error:
            sentence = error.reason.removeprefix(f"profile {name}: ")
            raise wrong(name, f"entry {number} of `{section}`: {sentence}") from None
    return tuple(found)


def parse_entry(part: str, kind: str, value: Any) -> PolicyEntry:
    """Return one entry of a list of calls. Raises SandboxError naming the fragment."""
    known = {"calls", "when", "why", "with"} if kind == "answer" else {"calls", "when", "why"}
    if not isinstance(value, dict) or set(value) - known:
        raise wrong(part, f"an entry of {kind} must be a map of calls, why and perhaps when: {value}")
    calls, when, why = value.get("calls"), value.get("when", []), value.get("why")
    if not isinstance(calls, list) or not calls or not isinstance(when, list):
        raise wrong(part, f"calls and when must be lists: {value}")
    if not isinstance(why, str) or not why.strip():
        raise wrong(part, f"{calls[0]} has no reason: say why")
    for call in calls:
        if not isinstance(call, str) or call not in CALLS:
            raise wrong(part, f"there is no system call {call}{did_you_mean(str(call), CALLS)}")
    if when and kind in ("broker", "enosys", "kill"):
        raise wrong(part, f"{calls[0]}: a refusal has no conditions")
    answer = _error_number(part, value.get("with")) if kind == "answer" else 0
    return PolicyEntry(
        tuple(calls), tuple(when), tuple(_check(part, text) for text in when), " ".join(why.split()), part, answer
    )


def parse_never(part: str, value: Any) -> NeverRule:
    """Return an entry of `never`. Raises SandboxError naming the part."""
    if not isinstance(value, dict) or ("when" in value and "unless" in value):
        raise wrong(part, "it must be a map with `when` or `unless`, not both")
    conditions = value.get("unless", value.get("when", []))
    if unknown := sorted(set(value) - {"calls", "when", "unless", "why"}):
        raise wrong(part, f"{unknown[0]} has no meaning")
    plain = {name: one for name, one in value.items() if name in ("calls", "why")}
    return NeverRule(parse_entry(part, "never", {**plain, "when": conditions}), "unless" in value)


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


def wrong(part: str, sentence: str) -> SandboxError:
    """Return the error about a fragment."""
    return SandboxError("profile", f"profile {part}: {sentence}")


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


def _check(part: str, text: Any) -> Check:
    match = _CONDITION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise wrong(part, f"this condition has no meaning: {text}")
    argument, mask, verb, words = int(match[1]), match[2], match[3], match[4].split()
    if verb == "is" and match[4] in _SPECIAL and mask is None:
        return Check(argument, (_SPECIAL[match[4]],), wide=match[4] != "self")
    values = tuple(_constant(part, word) for word in words)
    if verb == "in":
        return Check(argument, values, LOW_32 if mask is None else _constant(part, mask))
    bits = 0
    for value in values:
        bits |= value
    if verb == "is" or mask is not None:
        raise wrong(part, f"this condition has no meaning: {text}")
    return Check(argument, (0 if verb == "lacks" else bits,), bits)


def _error_number(part: str, name: object) -> int:
    """Return the number of an answer: 0, or the errno of this name."""
    if name == 0 and type(name) is int:
        return 0
    number: int | None = getattr(errno, name, None) if isinstance(name, str) and name.isupper() else None
    if number is None:
        raise wrong(part, f"`with` is 0 or the name of an errno, not {name}")
    return number


def _constant(part: str, word: str) -> int:
    value = int(word, 0) if word[0].isdecimal() else CONSTANTS.get(word)
    if value is None or value > LOW_32:
        raise wrong(part, f"there is no constant {word}")
    return value
