"""A user-mode kernel (Debian's package user-mode-linux): Linux as a program of an ordinary user.

Its root is this machine's, read-only. A tool that is missing and cannot be installed fails the test; it is never
skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KERNEL = "linux.uml"
REGISTERS = Path(__file__).with_name("wide_registers.c")
NOBODY = 65534
INSTALL = (
    ["apt-get", "-o", "DPkg::Lock::Timeout=300", "update", "-qq"],
    ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "-qq", "--no-install-recommends", "user-mode-linux"],
)
CONSOLE = "rootfstype=hostfs rootflags=/ ro con=null con0=fd:0,fd:1 quiet"


def run_kernel(folder: Path, init: Path, memory: str, patience_s: float, environment: Mapping[str, str]) -> str:
    """Run the kernel with `init` as its first program until it ends, as nobody; return what it wrote.

    `folder` takes what is built for it and can be read by everybody; `memory` is as in `512M`, and lies in the
    TMPDIR of `environment`. Raises TimeoutExpired after `patience_s` seconds.
    """
    # An ordinary user takes up none of root's processes, and can write nothing of this machine.
    options: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": ()} if os.geteuid() == 0 else {}
    done = subprocess.run(
        [_kernel(), f"mem={memory}", *CONSOLE.split(), f"init={init}"], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, errors="replace", timeout=patience_s, check=False, cwd="/",
        env={"PATH": os.environ["PATH"], "LD_PRELOAD": str(_registers(folder)), **environment}, **options,
    )  # fmt: skip
    output: str = done.stdout + done.stderr
    return output


def _kernel() -> str:
    if shutil.which(KERNEL) is None and shutil.which("apt-get") is not None and os.geteuid() == 0:
        for command in INSTALL:
            subprocess.run(command, capture_output=True, timeout=600, check=False)
    found = shutil.which(KERNEL)
    assert found is not None, "there is no linux.uml: run `apt-get install user-mode-linux` as root"
    return found


def _registers(folder: Path) -> Path:
    """Build what the kernel needs on a processor with AMX."""
    library = folder / "wide_registers.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(REGISTERS)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    library.chmod(0o755)
    return library
