"""Forbidden system calls: those that no configuration may allow, whatever reason it gives. Pure.

A fragment lists them under `never`. With `when`, only calls whose arguments fit all conditions are meant, so an entry
that allows the call must contradict one of them; with `unless`, an entry must keep to all of these conditions; with
neither the call is refused whole. What a fragment kills, brokers or answers as absent cannot be asked for either.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tlsrt.sandbox.profile.fragment import NeverRule, PolicyEntry, PolicyFragment
from tlsrt.sandbox.seccomp.bpf import Check


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that cannot be had, and why; `unless` are conditions with which it can."""

    call: str
    why: str
    unless: tuple[str, ...] = ()


def refusal_of(entry: PolicyEntry, fragments: Iterable[PolicyFragment]) -> Refusal | None:
    """Return the first call that this entry may not allow beside these fragments. None if there is none."""
    for fragment in fragments:
        for kind in ("kill", "broker", "enosys"):
            for refused in fragment.lists[kind]:
                for call in entry.calls:
                    if call in refused.calls:
                        return Refusal(call, refused.why)
        for never in fragment.never:
            for call in entry.calls:
                if call in never.entry.calls and not _is_clear_of(entry, never):
                    return Refusal(call, never.entry.why, never.entry.when if never.is_unless else ())
    return None


def _is_clear_of(entry: PolicyEntry, never: NeverRule) -> bool:
    if never.is_unless:
        return all(any(_implies(own, wanted) for own in entry.checks) for wanted in never.entry.checks)
    return any(_contradict(own, bad) for own in entry.checks for bad in never.entry.checks)


def _implies(own: Check, wanted: Check) -> bool:
    """Say whether every argument that passes `own` passes `wanted` too."""
    if own.argument != wanted.argument or not (_is_plain(own) and _is_plain(wanted)):
        return own == wanted
    return wanted.mask & ~own.mask == 0 and all(value & wanted.mask in wanted.values for value in own.values)


def _contradict(one: Check, other: Check) -> bool:
    """Say whether no argument passes both."""
    if one.argument != other.argument or not (_is_plain(one) and _is_plain(other)):
        return False
    both = one.mask & other.mask
    return all((a ^ b) & both for a in one.values for b in other.values)


def _is_plain(check: Check) -> bool:
    """Say whether a check compares bits that are known now: no address, and not our own pid."""
    return not check.wide and min(check.values) >= 0
