"""The tables of numbers and constants against the kernel headers and the standard library of this machine."""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import socket
import stat
import termios
from pathlib import Path

import pytest
from tools.programs import need

from tlsrt.sandbox import syscalls
from tlsrt.sandbox.seccomp import syscall_numbers
from tlsrt.sandbox.seccomp.constants import CONSTANTS
from tlsrt.sandbox.seccomp.generate_numbers import HEADERS, parse_defines, read_numbers, render
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

MODULES = (stat, socket, fcntl, mmap, termios, os, syscalls)
INCLUDE = Path("/usr/include/linux")


@pytest.mark.parametrize("machine", sorted(HEADERS))
def test_the_numbers_are_those_of_the_kernel_headers(machine: str) -> None:
    need("cc")
    installed = read_numbers(machine)
    common = set(installed) & set(NUMBERS[machine])
    assert len(common) > 280
    assert {name: installed[name] for name in common} == {name: NUMBERS[machine][name] for name in common}
    # Other headers may be newer or older; what they do not know are only the youngest calls.
    assert all(NUMBERS[machine][name] > 440 for name in set(NUMBERS[machine]) - common)


def test_a_table_is_made_as_it_stands_in_the_file() -> None:
    assert render(NUMBERS) == Path(syscall_numbers.__file__).read_text()
    assert all(len(set(numbers.values())) == len(numbers) for numbers in NUMBERS.values())


def test_defines_are_read_with_their_generic_names() -> None:
    defines = ("__NR3264_fcntl 25", "__NR_fcntl __NR3264_fcntl", "__NR_read 63", "__NR_syscalls 463", "_ASM_H 1")
    assert parse_defines("".join(f"#define {define}\n" for define in defines)) == {"fcntl": 25, "read": 63}


def test_a_missing_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OSError, match="install gcc"):
        read_numbers("x86_64")


def _header_value(name: str) -> int | None:
    generic = [f"../asm-generic/{name}.h" for name in ("mman", "mman-common", "socket")]
    for header in (
        "prctl.h", "seccomp.h", "sched.h", "netlink.h", "time.h", "sockios.h", "in.h", "in6.h", "tcp.h", "mman.h",
        "fcntl.h", *generic,
    ):  # fmt: skip
        match = re.search(rf"#define\s+{name}\s+(0x[0-9a-fA-F]+|\d+)", (INCLUDE / header).read_text())
        if match:
            return int(match[1], 0)
    return None


BY_HAND = {  # of headers that are not read here
    "SOCK_TYPE_MASK", "NETLINK_ROUTE", "SCHED_OTHER", "SOL_NETLINK", "TCGETS2", "TCSETS2", "EVIOCGRAB",
}  # fmt: skip


def _known(name: str) -> int | None:
    return next((int(getattr(module, name)) for module in MODULES if hasattr(module, name)), _header_value(name))


@pytest.mark.parametrize("name", sorted(set(CONSTANTS) - BY_HAND))
def test_a_constant_is_that_of_the_library_or_the_headers(name: str) -> None:
    assert _known(name) == CONSTANTS[name]
