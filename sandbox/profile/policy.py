"""Policies of system calls: composed from fragments, and turned into seccomp filters.

Theory of operation. Fragments list entries: `allow` for ever, `import` only until the seal, `answer` for what honest
libraries do and can live without: the filter gives the answer, 0 as if it was done or an errno, nothing happens and
no report is made; `broker` for what the supervisor carries out after it has looked (see `broker.py`), `enosys` for what
libraries probe and can do without, `kill` for what no process may try. An entry names calls, optionally conditions on
arguments, and always says why. From a composed policy come two filters, which the kernel applies one upon the other:

    IMPORTING  allow + import    before foreign code is imported
    SEALED     allow             in the steady state

A call that is allowed on conditions gets its answer from the first entry that fits, else from `broker`, `kill` or
`enosys` if it is listed there, else EPERM, as does every call that no list names. Nothing that is killed can be allowed
without a condition.

In a *watched* process the first filter has a listener, seccomp_unotify(2), and the supervisor hears of every call that
is killed, brokered or refused because no entry allows it. A process can have one listener only, so the last filter
answers TRACE wherever the first one notifies: of two answers the kernel takes the stricter one, which is to notify, and
TRACE alone (no process of the runtime has a tracer) refuses. What the first filter allows and the last one does not is
refused, or killed, by the last one alone. In a process that is not watched nothing is told, and nothing is brokered.

The policy of a program is *quiet*: software that we do not know tries much, so what is refused fails without a report,
and only what is killed is told.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from tlsrt.errors import SandboxError
from tlsrt.sandbox.profile.fragment import LISTS, ONCE, SEAL, SELF, PolicyEntry, PolicyFragment, wrong
from tlsrt.sandbox.seccomp.bpf import (
    ALLOW,
    DONE,
    KILL_PROCESS,
    TRACE,
    USER_NOTIF,
    Case,
    Check,
    Rule,
    assemble,
    digest,
    errno_action,
)
from tlsrt.sandbox.seccomp.install import Pinned, pin
from tlsrt.sandbox.seccomp.once import STANDS_FOR
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

Made = TypeVar("Made")

REFUSED = errno_action(errno.EPERM)
ABSENT = errno_action(errno.ENOSYS)
BROKERED = USER_NOTIF  # in a process that is not watched: allowed


class FilterStage(Enum):
    """Which of the two filters."""

    IMPORTING = "importing"
    SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class Filters:
    """What one process installs: the first filter, and the pinned last one that it insists on."""

    importing: bytes
    seal: Pinned


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A composed policy: every entry of every fragment, base first. It keeps the filters that were made of it."""

    name: str
    lists: Mapping[str, tuple[PolicyEntry, ...]]
    is_quiet: bool = False
    _made: dict[tuple[Any, ...], Any] = field(default_factory=dict[tuple[Any, ...], Any], repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Policy, (self.name, self.lists, self.is_quiet)  # a pinned filter lies in the memory of one process

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
        found += [("answer", entry) for entry in self.lists["answer"] if call in entry.calls]
        return found + [
            (name, entry) for name in ("broker", "kill", "enosys") for entry in self.lists[name] if call in entry.calls
        ]

    def filters(self, *, watched: bool, pid: int = 1) -> Filters:
        """Return the filters of a process for this machine. `pid` is its own number, 1 in its own pid namespace.

        `watched` says that the first one will have a listener. What is forked by the process that asked before finds
        them made; what is born of the fork server makes its own. Raises SandboxError.
        """
        return self._kept(("filters", watched, pid), lambda: self._make_filters(watched, pid))

    def program(self, stage: FilterStage, *, watched: bool, pid: int = 1, seal: int = 0) -> bytes:
        """Return one filter for this machine; `seal` is the address of the last one. Raises SandboxError."""
        return self._kept(
            (stage, watched, pid, seal),
            lambda: program_of(self, stage, os.uname().machine, pid, seal, watched=watched),
        )

    def digests(self, *, watched: bool) -> tuple[bytes, bytes]:
        """Return the digests of both filters, with address and pid that are the same in every start.

        Raises SandboxError.
        """
        first, second = (digest(self.program(stage, watched=watched)) for stage in FilterStage)
        return first, second

    def _make_filters(self, watched: bool, pid: int) -> Filters:
        seal = pin(self.program(FilterStage.SEALED, watched=watched, pid=pid))
        return Filters(self.program(FilterStage.IMPORTING, watched=watched, pid=pid, seal=seal.address), seal)

    def _kept(self, key: tuple[Any, ...], make: Callable[[], Made]) -> Made:
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made


EMPTY_POLICY = Policy("", dict.fromkeys(LISTS, ()))


def compose(name: str, fragments: Sequence[PolicyFragment], *, is_quiet: bool = False) -> Policy:
    """Return the policy of fragments, each after those it extends. Raises SandboxError for a contradiction."""
    lists = {kind: tuple(entry for one in fragments for entry in one.lists[kind]) for kind in LISTS}
    policy = Policy(name, lists, is_quiet)
    refused = [(call, kind) for kind in ("broker", "enosys", "kill") for call in sorted(policy.named(kind))]
    for call, kind in refused:
        if others := [other for name, other in refused if name == call and other != kind]:
            raise wrong(name, f"{call} is in `{kind}` and in `{others[0]}`")
    for entry in policy.allowed(FilterStage.IMPORTING):
        for call in entry.calls:
            if not entry.checks and call in dict(refused):
                raise wrong(entry.part, f"{call} is allowed without a condition, and refused elsewhere")
    return policy


def rules_of(
    policy: Policy, stage: FilterStage, machine: str, pid: int, seal: int = 0, *, watched: bool = False
) -> dict[int, Rule]:
    """Return the rule of every call that the policy names and the machine has.

    `pid` is what `self` means, `seal` the address that `seal` means; `watched` says that the process has a listener.
    """
    numbers = NUMBERS[machine]
    answers = _plain(policy)
    cases: dict[str, list[Case]] = {call: [] for call in answers}
    for kind in ("allow", "import", "answer"):
        is_later = kind == "import" and stage is FilterStage.SEALED
        for entry in policy.lists[kind]:
            checks = tuple(_resolved(check, pid, seal) for check in entry.checks)
            case = Case(checks, _given(entry) if kind == "answer" else ALLOW)
            for call in entry.calls:
                cases[call].append(Case(checks, _after_import(answers[call])) if is_later else case)
    otherwise = {answer: _otherwise(policy, answer, stage, watched=watched) for answer in {*answers.values()}}
    return {numbers[call]: _rule(cases[call], otherwise[answer]) for call, answer in answers.items() if call in numbers}


def program_of(
    policy: Policy, stage: FilterStage, machine: str, pid: int, seal: int = 0, *, watched: bool = False
) -> bytes:
    """Return the filter of a stage. Raises SandboxError for a machine that is not supported."""
    if machine not in NUMBERS:
        raise SandboxError("machine", f"{machine} is not supported: only 64-bit x86_64 and aarch64 are")
    rules = rules_of(policy, stage, machine, pid, seal, watched=watched)
    return assemble(machine, rules, _otherwise(policy, REFUSED, stage, watched=watched))


def _plain(policy: Policy) -> dict[str, int]:
    """Return the answer to each call that no entry allows, watched or not."""
    answers = dict.fromkeys(policy.calls, REFUSED)
    for kind, answer in (("broker", BROKERED), ("kill", KILL_PROCESS), ("enosys", ABSENT)):
        answers.update(dict.fromkeys(policy.named(kind), answer))
    return answers


def _given(entry: PolicyEntry) -> int:
    return errno_action(entry.answer) if entry.answer else DONE


def _after_import(answer: int) -> int:
    """Return the last filter's own answer to what only the first one allows."""
    return REFUSED if answer == BROKERED else answer


def _otherwise(policy: Policy, answer: int, stage: FilterStage, *, watched: bool) -> int:
    if policy.is_quiet and answer == REFUSED:
        return REFUSED
    return _heard(answer, stage) if watched else _unheard(answer)


def _heard(answer: int, stage: FilterStage) -> int:
    if answer == ABSENT:
        return ABSENT
    return USER_NOTIF if stage is FilterStage.IMPORTING else TRACE


def _unheard(answer: int) -> int:
    return ALLOW if answer == BROKERED else answer


def _rule(cases: list[Case], otherwise: int) -> Rule:
    """Return the rule. A call that is allowed whatever its arguments are gets no checks: the kernel remembers it."""
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
    if check.values == (ONCE,):
        return Check(check.argument, (STANDS_FOR,), wide=True)
    return Check(check.argument, (seal,), wide=True) if check.values == (SEAL,) else check
