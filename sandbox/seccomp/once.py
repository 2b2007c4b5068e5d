"""The number of one execve: with it a filter lets a process run one program, and never another. Pure.

A filter cannot count. But it sees six registers, and the kernel reads only five of execveat(2): so the filter asks for
a random number in the sixth. The launcher draws it in the new process and puts it into its filter; when the program
runs, the launcher's memory is gone and the registers are empty, no filter can be read back without a capability, and
the first wrong guess ends the process. A filter is made before the fork, with a number that stands for the real one.
"""

from __future__ import annotations

import struct

from tlsrt.errors import SandboxError
from tlsrt.sandbox.seccomp.bpf import LOW_32

STANDS_FOR = 0x91D7_4C2B_E83A_56F1  # both halves are found nowhere else in a filter
_INSTRUCTION = struct.Struct("<HBBI")
_IF_EQUAL = 0x15


def with_number(program: bytes, number: int) -> bytes:
    """Return the filter with the real number. Raises SandboxError for one that does not ask for it exactly once."""
    if not 0 < number < 1 << 64:
        raise SandboxError("seccomp", "the number of an execve must be one of 64 bits")
    halves = {STANDS_FOR >> 32: number >> 32, STANDS_FOR & LOW_32: number & LOW_32}
    made: list[bytes] = []
    found: list[int] = []
    for code, if_true, if_false, value in _INSTRUCTION.iter_unpack(program):
        is_half = code == _IF_EQUAL and value in halves
        if is_half:
            found.append(value)
        made.append(_INSTRUCTION.pack(code, if_true, if_false, halves[value] if is_half else value))
    if sorted(found) != sorted(halves):
        raise SandboxError("seccomp", "the filter does not ask for the number of one execve")
    return b"".join(made)
