"""Assembler for seccomp(2) filters: a table of rules in, classic BPF bytes out. Pure.

Theory of operation. A program looks at `struct seccomp_data` (seccomp(2)): number at 0, architecture at 4, six 64-bit
arguments from 16 on. The first two checks are the same in every program: a foreign architecture is killed (its numbers
mean other calls: int 0x80), and so is a number with bit 30 set (x32, which has the architecture of x86_64). Then a
binary search over the numbers, in which neighbours with the same answer are one interval, ends at an answer or at the
argument checks of one call.

Jumps of classic BPF go forward only and, if conditional, 255 instructions at most. So code is made from the leaves
up, and every piece is the bytes of instructions whose jumps are relative: pieces can be put together in any place.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass

KILL_PROCESS = 0x80000000
USER_NOTIF = 0x7FC00000
TRACE = 0x7FF00000  # without a tracer: ENOSYS, and the call is not run
LOG = 0x7FFC0000
ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_LARGEST_ERRNO = 4095
DONE = _ERRNO  # errno 0: the caller is told that the call has succeeded, and nothing has happened

# AUDIT_ARCH_* of linux/audit.h by uname -m; both machines are little-endian, so an argument's low half comes first.
ARCHITECTURES: Mapping[str, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000
LOW_32 = 0xFFFFFFFF
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS

_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_LOAD, _AND, _RETURN, _JUMP = 0x20, 0x54, 0x06, 0x05  # BPF_LD|W|ABS, ALU|AND|K, RET|K, JMP|JA
_IF_EQUAL, _IF_AT_LEAST = 0x15, 0x35  # JMP|JEQ|K, JMP|JGE|K
_FAR = 255

_instruction = struct.Struct("<HBBI").pack  # struct sock_filter: code, jump if true, jump if not, operand
_BYTES = 8


def errno_action(number: int) -> int:
    """Return the action that answers a call with -1 and this errno, without running it."""
    if not 0 < number <= _LARGEST_ERRNO:  # 0 would tell the caller that the call has succeeded
        raise ValueError(f"errno {number} is not in 1 to {_LARGEST_ERRNO}")
    return _ERRNO | number


@dataclass(frozen=True, slots=True)
class Check:
    """True if `argument & mask` is one of `values`, over the low 32 bits. The kernel uses no more of an int.

    `wide` compares all 64 bits, for an address; then there is one value and no mask.
    """

    argument: int  # 0 to 5
    values: tuple[int, ...]
    mask: int = LOW_32
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """An action for the calls whose arguments pass all checks."""

    checks: tuple[Check, ...]
    action: int


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to one call: the first case that fits, else `otherwise`."""

    cases: tuple[Case, ...]
    otherwise: int


def assemble(machine: str, rules: Mapping[int, Rule], default: int) -> bytes:
    """Return the program for a machine (uname -m): struct sock_filter, 8 bytes each. Equal rules, equal bytes.

    Raises ValueError for a machine or number that cannot be, and for a program that is too long.
    """
    if machine not in ARCHITECTURES:
        raise ValueError(f"{machine} is not supported: only 64-bit x86_64 and aarch64 are")
    for number in rules:
        if not 0 <= number < X32_BIT:
            raise ValueError(f"{number} is not a system call number")
    code = b"".join((
        _instruction(_LOAD, 0, 0, _ARCHITECTURE_AT), _instruction(_IF_EQUAL, 1, 0, ARCHITECTURES[machine]),
        _answer(KILL_PROCESS),
        _instruction(_LOAD, 0, 0, _NUMBER_AT), _instruction(_IF_AT_LEAST, 0, 1, X32_BIT), _answer(KILL_PROCESS),
        _search(_intervals(rules, default)),
    ))  # fmt: skip
    if (length := _length(code)) > MAX_INSTRUCTIONS:
        raise ValueError(f"the program has {length} instructions, more than {MAX_INSTRUCTIONS}")
    return code


def digest(program: bytes) -> bytes:
    """Return the SHA-256 (32 bytes) of a program."""
    return hashlib.sha256(program).digest()


def _length(code: bytes) -> int:
    return len(code) // _BYTES


def _answer(action: int) -> bytes:
    return _instruction(_RETURN, 0, 0, action)


def _intervals(rules: Mapping[int, Rule], default: int) -> list[tuple[int, bytes]]:
    """Return (first number, code) for every stretch of numbers with one answer, from 0 on."""
    absent = _answer(default)
    codes = {number: _rule(rule) for number, rule in rules.items()}
    found: list[tuple[int, bytes]] = []
    for number in sorted({0, *codes, *(number + 1 for number in codes)}):
        code = codes.get(number, absent)
        if not found or found[-1][1] != code:
            found.append((number, code))
    return found


def _search(intervals: list[tuple[int, bytes]]) -> bytes:
    if len(intervals) == 1:
        return intervals[0][1]
    middle = len(intervals) // 2
    below, above = _search(intervals[:middle]), _search(intervals[middle:])
    first, length = intervals[middle][0], _length(below)
    if length <= _FAR:
        return _instruction(_IF_AT_LEAST, length, 0, first) + below + above
    return _instruction(_IF_AT_LEAST, 0, 1, first) + _instruction(_JUMP, 0, 0, length) + below + above


def _rule(rule: Rule) -> bytes:
    code = _answer(rule.otherwise)
    for case in reversed(rule.cases):
        code = _case(case) + code
    return code


def _case(case: Case) -> bytes:
    """Code that answers if all checks pass, and else runs on behind its own end."""
    code = _answer(case.action)
    for check in reversed(case.checks):
        code = _check(check, _length(code)) + code
    return code


def _check(check: Check, behind: int) -> bytes:
    """Code that runs on if the check passes, and else jumps over `behind` more instructions."""
    low_at = _ARGUMENTS_AT + 8 * check.argument
    if not 0 <= check.argument < 6 or not check.values:
        raise ValueError(f"not a check of a system call: {check}")
    load = _instruction(_LOAD, 0, 0, low_at)
    if check.wide:
        (value,) = check.values
        low = load + _instruction(_IF_EQUAL, 0, _near(behind), value & LOW_32)
        high = _instruction(_IF_EQUAL, 0, _near(behind + _length(low)), value >> 32)
        return _instruction(_LOAD, 0, 0, low_at + 4) + high + low
    masked = b"" if check.mask == LOW_32 else _instruction(_AND, 0, 0, check.mask)
    last = len(check.values) - 1
    tests = [
        _instruction(_IF_EQUAL, _near(last - index), _near(behind) if index == last else 0, value)
        for index, value in enumerate(check.values)
    ]
    return b"".join((load, masked, *tests))


def _near(distance: int) -> int:
    if distance > _FAR:
        raise ValueError("a rule has too many values to be reached by one jump")
    return distance
