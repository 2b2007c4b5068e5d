"""Makes `syscall_numbers.py` from the kernel headers: `python -m tlsrt.sandbox.seccomp.generate_numbers >
sandbox/seccomp/syscall_numbers.py`.

Only developers run it; it needs a C compiler's preprocessor and linux-libc-dev. x86_64 has a header of its own, and
aarch64 uses the kernel's generic table with five more calls switched on (arch/arm64/include/uapi/asm/unistd.h).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping

# machine (uname -m) -> header, and what its own header would define before including it
HEADERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "x86_64": ("asm/unistd_64.h", ()),
    "aarch64": (
        "asm-generic/unistd.h",
        ("__ARCH_WANT_RENAMEAT", "__ARCH_WANT_NEW_STAT", "__ARCH_WANT_SET_GET_RLIMIT", "__ARCH_WANT_SYS_CLONE3",
         "__ARCH_WANT_MEMFD_SECRET"),
    ),
}  # fmt: skip
_DEFINE = re.compile(r"#define __NR(3264)?_(\w+) (\w+)")
# Names of the table itself, and of calls that only other machines have.
_NOT_CALLS = {"syscalls", "arch_specific_syscall"}
_COLUMN = 118


def parse_defines(text: str) -> dict[str, int]:
    """Return the numbers by name in the output of `cc -E -dM`. Pure."""
    generic: dict[str, int] = {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := _DEFINE.fullmatch(line.strip()):
            if match[1]:
                generic[f"__NR3264_{match[2]}"] = int(match[3])
            elif match[2] not in _NOT_CALLS:
                found[match[2]] = match[3]
    return {name: generic[value] if value in generic else int(value) for name, value in found.items()}


def read_numbers(machine: str) -> dict[str, int]:
    """Return the numbers of a machine from the installed headers. Raises OSError when compiler or header is missing."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise OSError("there is no C compiler: install gcc and linux-libc-dev")
    header, defines = HEADERS[machine]
    command = [compiler, "-E", "-dM", "-x", "c", *(f"-D{name}" for name in defines), "-"]
    done = subprocess.run(command, input=f"#include <{header}>\n", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"cannot read <{header}>: install linux-libc-dev: {done.stderr.strip()}")
    return parse_defines(done.stdout)


def render(tables: Mapping[str, Mapping[str, int]]) -> str:
    """Return the text of numbers.py. Pure."""
    lines = [
        '"""System call numbers by machine and name, from the kernel headers. Made by `generate_numbers.py`."""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Mapping",
        "",
        "NUMBERS: Mapping[str, Mapping[str, int]] = {",
    ]
    for machine, numbers in tables.items():
        lines.append(f'    "{machine}": {{')
        line = "       "
        for name, number in sorted(numbers.items(), key=lambda item: item[1]):
            entry = f' "{name}": {number},'
            if len(line) + len(entry) > _COLUMN:
                lines.append(line)
                line = "       "
            line += entry
        lines += [line, "    },"]
    return "\n".join([*lines, "}  # fmt: skip", ""])


if __name__ == "__main__":
    sys.stdout.write(render({machine: read_numbers(machine) for machine in HEADERS}))
