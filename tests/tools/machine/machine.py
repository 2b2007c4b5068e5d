"""A virtual machine on the files of this one: qemu with a kernel of Debian, which has devices that this one has not.

Its root is this machine's, read-only, with memory over it; nothing of this machine changes but for two folders of
packages that are unpacked and not installed. It has a camera (vivid), a clock that wakes it, and sleeps as a real
machine does. A tool that is missing and cannot be had fails the test; it is never skipped.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from hosts.installation import CHECKOUT
from tools.machine.initramfs import archive, in_order
from tools.machine.packages import newest_kernel, unpacked
from tools.programs import need

HERE = Path(__file__).parent
MODULES = ("9pnet_virtio", "9p", "overlay", "vivid")
PROBE_S = 20.0
CONSOLE = (
    "console=ttyS0 loglevel=1 panic=-1 no_console_suspend mitigations=off nokaslr apparmor=0 selinux=0 audit=0 "
    "no_timer_check"
)
END = r"^=+ .* in [0-9.]+s .*=+"  # the last line of pytest
TESTS = """#!/bin/sh
export HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONUNBUFFERED=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
cd {folder}
{python} -B -m pytest -c /dev/null --rootdir {inside} --confcutdir {inside} \\
    -p no:cacheprovider -v --color no --tb=short {tests}
"""


class Machine:
    """qemu and a kernel, which run tests."""

    def __init__(self) -> None:
        assert platform.machine() == "x86_64", "the kernel and qemu are those of x86_64"
        need("busybox")
        name = newest_kernel()
        self._kernel = unpacked(f"machine-{name}", [name])
        self._qemu = unpacked("machine-qemu", [], missing_of="qemu-system-x86")

    def _command(self, memory: str, acceleration: str) -> list[str]:
        share = self._qemu / "usr/share"
        qemu = self._qemu / "usr/bin/qemu-system-x86_64"
        processor = "host" if acceleration == "kvm" else "max,la57=off"
        [kernel] = (self._kernel / "boot").glob("vmlinuz-*")
        return [
            *([str(qemu), "-L", str(share / "seabios"), "-L", str(share / "qemu")] if qemu.exists() else [qemu.name]),
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", f"q35,accel={acceleration}",
            "-cpu", processor, "-smp", "2", "-m", memory, "-kernel", str(kernel), "-serial", "stdio",
        ]  # fmt: skip

    @cache  # noqa: B019 - there is one
    def acceleration(self) -> str:
        """Return kvm if a kernel comes up with it: some hosts have a /dev/kvm that runs none."""
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            return "tcg"
        with tempfile.TemporaryDirectory(prefix="tlsrt-machine.") as name:
            first = b"#!/bin/busybox sh\necho IT RUNS\n/bin/busybox poweroff -f\n"
            given = Path(name, "initramfs")
            given.write_bytes(archive({}, {"init": first}))
            words = [
                *self._command("512M", "kvm"),
                "-initrd",
                str(given),
                "-append",
                CONSOLE,
            ]
            return "kvm" if "IT RUNS" in _run(words, self._environment(), PROBE_S) else "tcg"

    def _environment(self) -> dict[str, str]:
        libraries = [str(self._qemu / "usr/lib/x86_64-linux-gnu")]
        return {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": ":".join(libraries)}

    def run_tests(self, tests: Sequence[Path], patience_s: float) -> str:
        """Boot, run files of tests with this interpreter, and power off; return what was written."""
        modules = in_order(self._kernel / "usr/lib/modules", MODULES)
        inside = tests[0].parent
        script = TESTS.format(
            folder=CHECKOUT, python=sys.executable, inside=inside, tests=" ".join(str(one) for one in tests)
        )
        files = {"init": (HERE / "init.sh").read_bytes(), "given/tests": script.encode()}
        with tempfile.TemporaryDirectory(prefix="tlsrt-machine.") as name:
            given = Path(name, "initramfs")
            given.write_bytes(archive(modules, files))
            words = [
                *self._command("1024M", self.acceleration()), "-initrd", str(given), "-append", CONSOLE,
                "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
                "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
            ]  # fmt: skip
            # After its sleep no program can be read any more, so it may not power off.
            return _run(words, self._environment(), patience_s, END)


def _run(words: list[str], environment: dict[str, str], patience_s: float, end: str = "") -> str:
    """Run it until it ends, or has written what `end` matches; return what it wrote."""
    limit = time.monotonic() + patience_s
    with tempfile.NamedTemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            while time.monotonic() < limit:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
                    break
                if end and re.search(end, Path(output.name).read_text(errors="replace"), re.MULTILINE):
                    break
        finally:
            process.kill()
            process.wait()
        return Path(output.name).read_text(errors="replace")
