"""What system calls one process may make: parts read from YAML, composed, and turned into filters. Pure.

Theory of operation. A part (one file of `profiles/`) extends others and lists entries: `allow` for ever, `import`
only until the seal, `enosys` for what libraries probe and can do without, `kill` for what nobody may try. An entry
names calls, optionally conditions on arguments, and always says why. From a composed policy come two filters, which
the kernel applies one upon the other, so that the stricter answer counts:

    IMPORTING  allow + import    before foreign code is imported
    SEALED     allow             in the steady state

A call that is allowed on conditions gets its answer from the first entry that fits, else from `kill` or `enosys` if it
is listed there, else EPERM, as does every call that nobody names. Nothing that is killed can be allowed without a
condition.

Conditions look at the low 32 bits, which are all that the kernel uses of an int: `arg0 in A B`, `arg2 lacks A B` (none
of these bits), `arg0 has A B` (all of them), `arg1 & MASK in A B`, `arg0 is self` (this process), `arg2 is null` (all
64 bits are 0), `arg2 is seal` (the address of the last filter, see `seccomp.py`).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tlsrt.config.check import nearest
from tlsrt.errors import SandboxError
from tlsrt.sandbox.bpf import ALLOW, KILL_PROCESS, LOW_32, Case, Check, Rule, assemble, errno_action
from tlsrt.sandbox.constants import CONSTANTS
from tlsrt.sandbox.lines import EgressLine, LimitLine, Line
from tlsrt.sandbox.numbers import NUMBERS

REFUSED = errno_action(errno.EPERM)
ABSENT = errno_action(errno.ENOSYS)
SELF, SEAL = -1, -2  # stand for our own pid, and for the address of the last filter, until a filter is made
_SPECIAL = {"self": SELF, "null": 0, "seal": SEAL}
CALLS = frozenset(name for numbers in NUMBERS.values() for name in numbers)
LISTS = ("allow", "import", "enosys", "kill")
_CONDITION = re.compile(r"arg([0-5])(?: & (\w+))? (in|lacks|has|is) (\w+(?: \w+)*)")


class Stage(Enum):
    """Which of the two filters."""

    IMPORTING = "importing"
    SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class Entry:
    """Some calls, the conditions as they are written and as checks, the reason, and the part it stands in."""

    calls: tuple[str, ...]
    when: tuple[str, ...]
    checks: tuple[Check, ...]
    why: str
    part: str


@dataclass(frozen=True, slots=True)
class Never:
    """Calls that nobody can ask for: those that fit the entry's conditions, or all that do not keep to them."""

    entry: Entry
    is_unless: bool


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One file: the entries of each list of calls, its other lines by section, and the parts it extends.

    Compared by identity, since a file is read once: composed policies are remembered by their parts.
    """

    name: str
    about: str
    extends: tuple[str, ...]
    lists: Mapping[str, tuple[Entry, ...]]
    lines: Mapping[str, tuple[Line, ...]]
    egress: tuple[EgressLine, ...] = ()
    limits: tuple[LimitLine, ...] = ()
    never: tuple[Never, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A composed policy: every entry of every part, base first. Compared by identity, as filters are remembered."""

    name: str
    lists: Mapping[str, tuple[Entry, ...]]

    def allowed(self, stage: Stage) -> tuple[Entry, ...]:
        """Return the entries that allow something in this stage."""
        return self.lists["allow"] + (self.lists["import"] if stage is Stage.IMPORTING else ())

    def about(self, call: str, stage: Stage) -> list[tuple[str, Entry]]:
        """Return (list, entry) of all that is said about a call, in the order in which it counts."""
        found = [("allow", entry) for entry in self.allowed(stage) if call in entry.calls]
        return found + [
            (name, entry) for name in ("kill", "enosys") for entry in self.lists[name] if call in entry.calls
        ]


EMPTY_POLICY = Policy("", dict.fromkeys(LISTS, ()))


def compose(name: str, parts: Sequence[Part]) -> Policy:
    """Return the policy of these parts, a part after those it extends. Raises SandboxError for a contradiction."""
    policy = Policy(name, {kind: tuple(entry for part in parts for entry in part.lists[kind]) for kind in LISTS})
    killed = {call for entry in policy.lists["kill"] for call in entry.calls}
    absent = {call for entry in policy.lists["enosys"] for call in entry.calls}
    if both := sorted(killed & absent):
        raise _wrong(name, f"{both[0]} is in `kill` and in `enosys`")
    for entry in policy.allowed(Stage.IMPORTING):
        for call in entry.calls:
            if call in killed | absent and not entry.checks:
                raise _wrong(entry.part, f"{call} is allowed without a condition, and refused elsewhere")
    return policy


def rules_of(policy: Policy, stage: Stage, machine: str, pid: int, seal: int = 0) -> dict[int, Rule]:
    """Return the rule of every call that the policy names and the machine has.

    `pid` is what `self` means, `seal` the address that `seal` means.
    """
    numbers = NUMBERS[machine]
    answers = {call: KILL_PROCESS for entry in policy.lists["kill"] for call in entry.calls}
    answers |= {call: ABSENT for entry in policy.lists["enosys"] for call in entry.calls}
    cases: dict[str, list[Case]] = {call: [] for call in answers}
    for entry in policy.allowed(stage):
        checks = tuple(_resolved(check, pid, seal) for check in entry.checks)
        for call in entry.calls:
            cases.setdefault(call, []).append(Case(checks, ALLOW))
    return {numbers[call]: _rule(cases[call], answers.get(call, REFUSED)) for call in cases if call in numbers}


def program_of(policy: Policy, stage: Stage, machine: str, pid: int, seal: int = 0) -> bytes:
    """Return the filter of a stage. Raises SandboxError for a machine that is not supported."""
    if machine not in NUMBERS:
        raise SandboxError("machine", f"{machine} is not supported: only 64-bit x86_64 and aarch64 are")
    return assemble(machine, rules_of(policy, stage, machine, pid, seal), REFUSED)


def _rule(cases: list[Case], otherwise: int) -> Rule:
    if any(not case.checks for case in cases):
        return Rule((), ALLOW)
    return Rule(tuple(cases), otherwise)


def _resolved(check: Check, pid: int, seal: int) -> Check:
    if check.values == (SELF,):
        return Check(check.argument, (pid,))
    return Check(check.argument, (seal,), wide=True) if check.values == (SEAL,) else check


def parse_entry(part: str, kind: str, value: Any) -> Entry:
    """Return one entry of a list of calls. Raises SandboxError naming the part."""
    if not isinstance(value, dict) or set(value) - {"calls", "when", "why"}:
        raise _wrong(part, f"an entry of {kind} must be a map of calls, why and perhaps when: {value}")
    calls, when, why = value.get("calls"), value.get("when", []), value.get("why")
    if not isinstance(calls, list) or not calls or not isinstance(when, list):
        raise _wrong(part, f"calls and when must be lists: {value}")
    if not isinstance(why, str) or not why.strip():
        raise _wrong(part, f"{calls[0]} has no reason: say why")
    for call in calls:
        if not isinstance(call, str) or call not in CALLS:
            raise _wrong(part, f"there is no system call {call}{nearest(str(call), CALLS)}")
    if when and kind in ("enosys", "kill"):
        raise _wrong(part, f"{calls[0]}: a refusal has no conditions")
    return Entry(tuple(calls), tuple(when), tuple(_check(part, text) for text in when), " ".join(why.split()), part)


def _check(part: str, text: Any) -> Check:
    match = _CONDITION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise _wrong(part, f"this condition has no meaning: {text}")
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
        raise _wrong(part, f"this condition has no meaning: {text}")
    return Check(argument, (0 if verb == "lacks" else bits,), bits)


def _constant(part: str, word: str) -> int:
    value = int(word, 0) if word[0].isdecimal() else CONSTANTS.get(word)
    if value is None or value > LOW_32:
        raise _wrong(part, f"there is no constant {word}")
    return value


def _wrong(part: str, sentence: str) -> SandboxError:
    return SandboxError("seccomp", f"profile {part}: {sentence}")
