"""The kernel of the host: identity, load, pressure, memory, settings and weaknesses. Reads only."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

from tlsrt import Component, Denied, Length, NotFound, Pattern, handler
from tlsrt.loops.sampling.procfs import Interval, clocks, names, read_int, read_numbers, read_text
from tlsrt.loops.sampling.samples import Samples

_STAT_BYTES = 1 << 20  # one long line of interrupts: 4096 of them fit
_SETTING = re.compile(r"[a-z0-9][a-z0-9_-]*(?:\.[a-z0-9][a-z0-9_-]*)+")
# net.* is left out: Primary has a network namespace of its own, and its values would not be the host's.
SYSCTL_ROOTS = ("fs", "kernel", "vm")
_TICKS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
# Documentation/admin-guide/tainted-kernels.rst, bit by bit.
_TAINTS = (
    "proprietary_module", "forced_module", "unsafe_smp", "forced_unload", "machine_check", "bad_page",
    "by_user", "died", "acpi_override", "warning", "staging_driver", "firmware_workaround",
    "out_of_tree_module", "unsigned_module", "soft_lockup", "live_patched", "auxiliary", "randstruct", "test",
)  # fmt: skip

_POSTURE = (
    "kernel.kptr_restrict", "kernel.dmesg_restrict", "kernel.randomize_va_space", "kernel.modules_disabled",
    "kernel.unprivileged_bpf_disabled", "fs.protected_symlinks", "fs.protected_hardlinks",
)  # fmt: skip


class Kernel(Component):
    """Facts about the running kernel of this host."""

    class Options:
        """There are none."""

    proc = Path("/proc")
    sys = Path("/sys")

    def __init__(self) -> None:
        self._counters = Samples(self._read_counters)

    def healthy(self) -> str | None:
        return "/proc shows nothing" if read_text(self.proc / "uptime") is None else None

    @handler(idempotent=True)
    async def uname(self) -> dict[str, str | None]:
        """System, release, version, machine, host name and boot id (uname(2))."""
        answer = os.uname()
        return {
            "system": answer.sysname,
            "release": answer.release,
            "version": answer.version,
            "machine": answer.machine,
            "hostname": answer.nodename,
            "boot_id": read_text(self.proc / "sys/kernel/random/boot_id"),
        }

    @handler(idempotent=True)
    async def uptime(self) -> dict[str, Any]:
        """Seconds since boot, and when that was."""
        words = (read_text(self.proc / "uptime") or "").split()
        boot = self._stat().get("btime")
        return {"uptime_s": float(words[0]) if words else None, "booted_wall_s": boot, **clocks()}

    @handler(idempotent=True)
    async def load(self) -> dict[str, Any]:
        """Load averages over 1, 5 and 15 minutes, runnable and existing tasks (proc_loadavg(5))."""
        words = (read_text(self.proc / "loadavg") or "").split()
        if len(words) < 4 or "/" not in words[3]:
            raise NotFound("this host offers no load averages")
        running, _, tasks = words[3].partition("/")
        averages = {"load_1m": float(words[0]), "load_5m": float(words[1]), "load_15m": float(words[2])}
        return {**averages, "runnable_tasks": int(running), "tasks": int(tasks), **clocks()}

    @handler(idempotent=True)
    async def pressure(self) -> dict[str, Any]:
        """Pressure stalls of cpu, io, memory and irq: shares in percent, totals in microseconds; null without PSI."""
        kinds = {kind: self._pressure(kind) for kind in ("cpu", "io", "memory", "irq")}
        return {**kinds, **clocks()}

    def _pressure(self, kind: str) -> dict[str, dict[str, float]] | None:
        text = read_text(self.proc / "pressure" / kind)
        if not text:
            return None
        found: dict[str, dict[str, float]] = {}
        for line in text.splitlines():
            scope, *pairs = line.split()
            values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
            shares = {f"{name}_percent": float(value) for name, value in values.items() if name != "total"}
            found[scope] = {**shares, "total_us": int(values.get("total", 0))}
        return found

    @handler(idempotent=True)
    async def memory(self) -> dict[str, Any]:
        """Memory and swap in bytes, and out-of-memory kills since boot."""
        kib = read_numbers(self.proc / "meminfo")
        chosen = {
            "total": "MemTotal", "free": "MemFree", "available": "MemAvailable", "buffers": "Buffers",
            "cached": "Cached", "shared": "Shmem", "slab": "Slab", "dirty": "Dirty",
            "swap_total": "SwapTotal", "swap_free": "SwapFree",
        }  # fmt: skip
        sizes = {f"{name}_bytes": kib[source] * 1024 if source in kib else None for name, source in chosen.items()}
        return {**sizes, "oom_kills": read_numbers(self.proc / "vmstat").get("oom_kill"), **clocks()}

    @handler(idempotent=True)
    async def cmdline(self) -> str | None:
        """What the boot loader passed to the kernel."""
        return read_text(self.proc / "cmdline")

    @handler(idempotent=True)
    async def cpu_vulnerabilities(self) -> dict[str, str | None]:
        """What the kernel says of each known processor weakness: "Not affected", "Mitigation: ..." and so on."""
        folder = self.sys / "devices/system/cpu/vulnerabilities"
        return {name: read_text(folder / name) for name in names(folder)}

    @handler(idempotent=True)
    async def posture(self) -> dict[str, Any]:
        """What protects the kernel: taint flags, lockdown, security modules, key sysctls; null if not readable."""
        mask = read_int(self.proc / "sys/kernel/tainted")
        flags = None if mask is None else [name for bit, name in enumerate(_TAINTS) if mask >> bit & 1]
        return {
            "tainted": flags,
            "lockdown": read_text(self.sys / "kernel/security/lockdown"),
            "security_modules": read_text(self.sys / "kernel/security/lsm"),
            "sysctl": {name: read_text(self.proc / "sys" / name.replace(".", "/")) for name in _POSTURE},
        }

    @handler(idempotent=True)
    async def sysctl(
        self, name: Annotated[str, Pattern(_SETTING, "a dotted name such as vm.swappiness"), Length(128, 3)]
    ) -> str:
        """One kernel setting by its dotted name, such as "vm.swappiness"; only fs.*, kernel.* and vm.* are served."""
        segments = name.split(".")
        if segments[0] not in SYSCTL_ROOTS:
            raise Denied(f"only these are served: {', '.join(f'{root}.*' for root in SYSCTL_ROOTS)}")
        value = read_text((self.proc / "sys").joinpath(*segments), 4096)
        if value is None:
            raise NotFound(f"no readable setting {name}")
        return value

    @handler(idempotent=True)
    async def counters(self) -> dict[str, Any]:
        """Counters since boot: processor time in seconds by kind, context switches, forks, interrupts, page faults."""
        return self._counters.now()

    def _read_counters(self) -> dict[str, Any]:
        stat = self._stat()
        vm = read_numbers(self.proc / "vmstat")
        hertz = os.sysconf("SC_CLK_TCK")
        ticks = stat.get("cpu") or []
        return {
            "cpu_s": {kind: value / hertz for kind, value in zip(_TICKS, ticks, strict=False)} or None,
            "context_switches": stat.get("ctxt"),
            "forks": stat.get("processes"),
            "interrupts": stat.get("intr"),
            "runnable_tasks": stat.get("procs_running"),
            "blocked_tasks": stat.get("procs_blocked"),
            "page_faults": vm.get("pgfault"),
            "major_page_faults": vm.get("pgmajfault"),
            **clocks(),
        }

    def _stat(self) -> dict[str, Any]:
        """/proc/stat: a list of ticks under "cpu", the first number of every other line under its name."""
        found: dict[str, Any] = {}
        for line in (read_text(self.proc / "stat", _STAT_BYTES) or "").splitlines():
            words = line.split()
            if words[:1] == ["cpu"]:
                found["cpu"] = [int(word) for word in words[1:9]]
            elif len(words) > 1 and words[1].isdecimal():
                found[words[0]] = int(words[1])
        return found

    @handler
    async def watch(self, interval_s: Interval = 1.0) -> AsyncIterator[dict[str, Any]]:
        """The counters now and every `interval_s` seconds, at the same moments for all who watch."""
        async with aclosing(self._counters.every(interval_s)) as samples:
            async for sample in samples:
                yield sample
