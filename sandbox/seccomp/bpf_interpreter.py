"""Interpreter for the programs that `bpf.py` makes: what would the kernel answer? Pure. `sandbox explain` and the
tests ask it. It knows exactly the instructions of the assembler, and refuses any other.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from tlsrt.sandbox.seccomp.bpf import ALLOW

_DATA = struct.Struct("<iIQ6Q")  # struct seccomp_data: number, architecture, instruction pointer, arguments
_INSTRUCTION = struct.Struct("<HBBI")


_ACTION = 0xFFFF0000


@lru_cache(maxsize=8)  # a whole table of calls is asked of the same few programs
def _instructions(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(_INSTRUCTION.iter_unpack(program))


def run_all(programs: Sequence[bytes], architecture: int, number: int, arguments: Sequence[int] = ()) -> int:
    """Return the answer of several filters, the newest first: the strictest, seccomp(2).

    The order of strictness is that of the actions as signed numbers; of equal ones the newest filter's counts.
    """
    answers = [run(program, architecture, number, arguments) for program in programs]
    return min(answers, key=_strictness, default=ALLOW)


def _strictness(answer: int) -> int:
    action = answer & _ACTION
    return action - (1 << 32) if action >= 1 << 31 else action


def run(program: bytes, architecture: int, number: int, arguments: Sequence[int] = ()) -> int:
    """Return the action for a call. `number` may be given as the unsigned 32 bits of the register.

    Raises ValueError for a program that the kernel would refuse, or that holds an instruction that we never write.
    """
    signed = number - (1 << 32) if number >= 1 << 31 else number
    data = _DATA.pack(signed, architecture, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    code = _instructions(program)
    accumulator = at = 0
    while at < len(code):
        operation, if_true, if_false, operand = code[at]
        at += 1
        if operation == 0x20:  # BPF_LD|W|ABS
            (accumulator,) = struct.unpack_from("<I", data, operand)
        elif operation == 0x54:  # BPF_ALU|AND|K
            accumulator &= operand
        elif operation == 0x15:  # BPF_JMP|JEQ|K
            at += if_true if accumulator == operand else if_false
        elif operation == 0x35:  # BPF_JMP|JGE|K
            at += if_true if accumulator >= operand else if_false
        elif operation == 0x05:  # BPF_JMP|JA
            at += operand
        elif operation == 0x06:  # BPF_RET|K
            return int(operand)
        else:
            raise ValueError(f"instruction {at - 1} is unknown: {operation:#x}")
    raise ValueError("the program runs over its end")
