"""What system calls one process may make: parts read from YAML, composed, and turned into filters. Pure.

Theory of operation. A part (one file of `profiles/`) extends others and lists entries: `allow` for ever, `import`
only until the seal, `broker` for what the supervisor carries out after it has looked (see `broker.py`), `enosys` for
what libraries probe and can do without, `kill` for what nobody may try. An entry names calls, optionally conditions on
arguments, and always says why. From a composed policy come two filters, which the kernel applies one upon the other:

    IMPORTING  allow + import    before foreign code is imported
    SEALED     allow             in the steady state

A call that is allowed on conditions gets its answer from the first entry that fits, else from `broker`, `kill` or
`enosys` if it is listed there, else EPERM, as does every call that nobody names. Nothing that is killed can be allowed
without a condition.

In a *watched* process the first filter has a listener, seccomp_unotify(2), and the supervisor hears of every call that
is killed, brokered or refused because nobody allows it. A process can have one listener only, so the last filter
answers TRACE wherever the first one notifies: of two answers the kernel takes the stricter one, which is to notify, and
TRACE alone (no process of the runtime has a tracer) refuses. What the first filter allows and the last one does not is
refused, or killed, by the last one alone. In a process that is not watched nobody is told, and nothing is brokered.

Conditions look at the low 32 bits, which are all that the kernel uses of an int: `arg0 in A B`, `arg2 lacks A B` (none
of these bits), `arg0 has A B` (all of them), `arg1 & MASK in A B`, `arg0 is self` (this process), `arg2 is null` (all
64 bits are 0), `arg2 is seal` (the address of the last filter, see `install.py`).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tlsrt.errors import SandboxError
from tlsrt.sandbox.profile.entries import EgressLine, LimitLine, Line
from tlsrt.sandbox.seccomp.bpf import (
    ALLOW,
    KILL_PROCESS,
    LOW_32,
    TRACE,
    USER_NOTIF,
    Case,
    Check,
    Rule,
    assemble,
    errno_action,
)
from tlsrt.sandbox.seccomp.constants import CONSTANTS
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS
from tlsrt.text import did_you_mean

REFUSED = errno_action(errno.EPERM)
ABSENT = errno_action(errno.ENOSYS)
SELF, SEAL = -1, -2  # stand for our own pid, and for the address of the last filter, until a filter is made
_SPECIAL = {"self": SELF, "null": 0, "seal": SEAL}
BROKERED = USER_NOTIF  # in a process that is not watched: allowed
CALLS = frozenset(name for numbers in NUMBERS.values() for name in numbers)
LISTS = ("allow", "import", "broker", "enosys", "kill")
_CONDITION = re.compile(r"arg([0-5])(?: & (\w+))? (in|lacks|has|is) (\w+(?: \w+)*)")


class FilterStage(Enum):
    """Which of the two filters."""

    IMPORTING = "importing"
    SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """Some calls, the conditions as they are written and as checks, the reason, and the part it stands in."""

    calls: tuple[str, ...]
    when: tuple[str, ...]
    checks: tuple[Check, ...]
    why: str
    part: str


@dataclass(frozen=True, slots=True)
class NeverRule:
    """Calls that nobody can ask for: those that fit the entry's conditions, or all that do not keep to them."""

    entry: PolicyEntry
    is_unless: bool


@dataclass(frozen=True, slots=True, eq=False)
class PolicyFragment:
    """One file: the entries of each list of calls, its other lines by section, and the parts it extends.

    Compared by identity, since a file is read once: composed policies are remembered by their parts.
    """

    name: str
    about: str
    extends: tuple[str, ...]
    lists: Mapping[str, tuple[PolicyEntry, ...]]
    lines: Mapping[str, tuple[Line, ...]]
    egress: tuple[EgressLine, ...] = ()
    limits: tuple[LimitLine, ...] = ()
    never: tuple[NeverRule, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A composed policy: every entry of every part, base first. Compared by identity, as filters are remembered."""

    name: str
    lists: Mapping[str, tuple[PolicyEntry, ...]]

    def allowed(self, stage: FilterStage) -> tuple[PolicyEntry, ...]:
        """Return the entries that allow something in this stage."""
        return self.lists["allow"] + (self.lists["import"] if stage is FilterStage.IMPORTING else ())

    def named(self, kind: str) -> frozenset[str]:
        """Return the calls of one list."""
        return frozenset(call for entry in self.lists[kind] for call in entry.calls)

    @property
    def calls(self) -> frozenset[str]:
        """Return every call that the policy says something about."""
        return frozenset().union(*(self.named(kind) for kind in self.lists))

    def about(self, call: str, stage: FilterStage) -> list[tuple[str, PolicyEntry]]:
        """Return (list, entry) of all that is said about a call, in the order in which it counts."""
        found = [("allow", entry) for entry in self.allowed(stage) if call in entry.calls]
        return found + [
            (name, entry) for name in ("broker", "kill", "enosys") for entry in self.lists[name] if call in entry.calls
        ]


EMPTY_POLICY = Policy("", dict.fromkeys(LISTS, ()))


def compose(name: str, parts: Sequence[PolicyFragment]) -> Policy:
    """Return the policy of these parts, a part after those it extends. Raises SandboxError for a contradiction."""
    policy = Policy(name, {kind: tuple(entry for part in parts for entry in part.lists[kind]) for kind in LISTS})
    refused = [(call, kind) for kind in ("broker", "enosys", "kill") for call in sorted(policy.named(kind))]
    for call, kind in refused:
        if others := [other for name, other in refused if name == call and other != kind]:
            raise _wrong(name, f"{call} is in `{kind}` and in `{others[0]}`")
    for entry in policy.allowed(FilterStage.IMPORTING):
        for call in entry.calls:
            if not entry.checks and call in dict(refused):
                raise _wrong(entry.part, f"{call} is allowed without a condition, and refused elsewhere")
    return policy


def rules_of(
    policy: Policy, stage: FilterStage, machine: str, pid: int, seal: int = 0, *, watched: bool = False
) -> dict[int, Rule]:
    """Return the rule of every call that the policy names and the machine has.

    `pid` is what `self` means, `seal` the address that `seal` means; `watched` says that the process has a listener.
    """
    numbers = NUMBERS[machine]
    answers = _plain(policy)
    first: dict[str, list[Case]] = {call: [] for call in answers}
    last: dict[str, list[Case]] = {call: [] for call in answers}
    for index, entry in enumerate(policy.lists["allow"] + policy.lists["import"]):
        checks = tuple(_resolved(check, pid, seal) for check in entry.checks)
        is_kept = index < len(policy.lists["allow"])
        for call in entry.calls:
            first[call].append(Case(checks, ALLOW))
            last[call].append(Case(checks, ALLOW if is_kept else _after_import(answers[call])))
    cases = first if stage is FilterStage.IMPORTING else last
    otherwise = {call: _heard(answer, stage) if watched else _unheard(answer) for call, answer in answers.items()}
    return {numbers[call]: _rule(cases[call], otherwise[call]) for call in answers if call in numbers}


def program_of(
    policy: Policy, stage: FilterStage, machine: str, pid: int, seal: int = 0, *, watched: bool = False
) -> bytes:
    """Return the filter of a stage. Raises SandboxError for a machine that is not supported."""
    if machine not in NUMBERS:
        raise SandboxError("machine", f"{machine} is not supported: only 64-bit x86_64 and aarch64 are")
    rules = rules_of(policy, stage, machine, pid, seal, watched=watched)
    return assemble(machine, rules, _heard(REFUSED, stage) if watched else REFUSED)


def _plain(policy: Policy) -> dict[str, int]:
    """Return what becomes of each call that no entry allows, before the question of who hears of it."""
    answers = dict.fromkeys(policy.calls, REFUSED)
    for kind, answer in (("broker", BROKERED), ("kill", KILL_PROCESS), ("enosys", ABSENT)):
        answers.update(dict.fromkeys(policy.named(kind), answer))
    return answers


def _after_import(answer: int) -> int:
    """Return the last filter's own answer to what the first one allows, and so does not notify of."""
    return REFUSED if answer == BROKERED else answer


def _heard(answer: int, stage: FilterStage) -> int:
    if answer == ABSENT:
        return ABSENT
    return USER_NOTIF if stage is FilterStage.IMPORTING else TRACE


def _unheard(answer: int) -> int:
    return ALLOW if answer == BROKERED else answer


def _rule(cases: list[Case], otherwise: int) -> Rule:
    """Return the rule; a call that is allowed whatever its arguments are gets no checks: the kernel remembers it."""
    for index, case in enumerate(cases):
        if not case.checks:
            cases, otherwise = cases[:index], case.action
            break
    while cases and cases[-1].action == otherwise:
        cases = cases[:-1]
    return Rule(tuple(cases), otherwise)


def _resolved(check: Check, pid: int, seal: int) -> Check:
    if check.values == (SELF,):
        return Check(check.argument, (pid,))
    return Check(check.argument, (seal,), wide=True) if check.values == (SEAL,) else check


def parse_entry(part: str, kind: str, value: Any) -> PolicyEntry:
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
            raise _wrong(part, f"there is no system call {call}{did_you_mean(str(call), CALLS)}")
    if when and kind in ("broker", "enosys", "kill"):
        raise _wrong(part, f"{calls[0]}: a refusal has no conditions")
    return PolicyEntry(
        tuple(calls), tuple(when), tuple(_check(part, text) for text in when), " ".join(why.split()), part
    )


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
