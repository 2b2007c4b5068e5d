"""The kernel of the host: identity, load, pressure, memory, posture and settings, and what it says meanwhile."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypedDict

from tlsrt import (
    Component,
    Denied,
    KernelRecord,
    Length,
    MisuseError,
    NotFound,
    Pattern,
    Pressure,
    ProcessTable,
    every,
    handler,
)
from tlsrt.loops.facts.kernel_posture import (
    Drift,
    Module,
    Posture,
    read_drift,
    read_modules,
    read_posture,
    read_vulnerabilities,
    unreadable_settings,
)
from tlsrt.loops.facts.kernel_texts import parse_load, parse_pressure, parse_stat, processor_seconds
from tlsrt.loops.sampling.procfs import Interval, clocks, read_numbers, read_text
from tlsrt.loops.sampling.samples import Samples

_STAT_BYTES = 1 << 20  # one long line of interrupts: 4096 of them fit
_SETTING = re.compile(r"[a-z0-9][a-z0-9_-]*(?:\.[a-z0-9][a-z0-9_-]*)+")
# net.* is left out: Primary has a network namespace of its own, and its values would not be the host's.
SYSCTL_ROOTS = ("fs", "kernel", "vm")
# So are these: a loop has namespaces of its own for IPC and for the name of the host (ipc_namespaces(7), uts(7)).
_OWN = re.compile(r"kernel\.(?:shm|msg|auto_msgmni|hostname|domainname)\w*|kernel\.sem(?:_next_id)?|fs\.mqueue\..*")
_CHOSEN = {
    "total": "MemTotal", "free": "MemFree", "available": "MemAvailable", "buffers": "Buffers",
    "cached": "Cached", "shared": "Shmem", "slab": "Slab", "dirty": "Dirty",
    "swap_total": "SwapTotal", "swap_free": "SwapFree",
}  # fmt: skip
_LEVELS = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")  # syslog(2)
KEPT_MAX = 256  # records of the kernel's log
RECORDS_PER_S = 20.0  # that are published; a disk that fails writes thousands

SettingName = Annotated[str, Pattern(_SETTING, "a dotted name such as vm.swappiness"), Length(128, 3)]


class LogRecord(TypedDict):
    """A record of the kernel's log; `dropped` were lost before it."""

    level: str
    sequence: int
    uptime_us: int
    text: str
    dropped: int


class Process(TypedDict):
    """One process of the runtime."""

    name: str
    state: str
    restarts: int
    pid: int | None
    cpu_s: float | None
    resident_bytes: int | None
    threads: int | None


class Rate:
    """At most so many a second in the long run, and as many at once. Pure; times in seconds."""

    def __init__(self, per_s: float, now: float) -> None:
        self._per_s = self._left = per_s
        self._at = now

    def take(self, now: float) -> bool:
        """Tell whether one more may pass."""
        self._left = min(self._per_s, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Kernel(Component):
    """Facts about the running kernel of this host, what it says, and the settings that may be changed."""

    class Options:
        """How the kernel is to be set."""

        sysctls: Annotated[
            dict[str, str | int],
            Length(128),
            "How settings are to be, by dotted name; `drift` tells what is not. Only fs.*, kernel.* and vm.*.",
        ] = field(default_factory=dict)

        def __post_init__(self) -> None:
            for name in self.sysctls:
                if not _SETTING.fullmatch(name) or name.split(".")[0] not in SYSCTL_ROOTS:
                    raise ValueError(f"sysctls: {name[:128]!r} is no setting below fs., kernel. or vm.")
                if _OWN.fullmatch(name):
                    raise ValueError(f"sysctls: {name} is of this component's own namespace, and not the host's")

    topics = {  # noqa: RUF012
        "log": "{level, sequence, uptime_us, text, dropped}: a record of the kernel's log that the grant lets pass",
        "pressure": "{resource, stall, avg10_percent, avg60_percent, avg300_percent, total_us, dropped}",
        "drift": "{name, declared, found}: a setting that is no longer as declared",
        "oom_kills": "{new, oom_kills}: the kernel has ended processes for want of memory",
    }

    proc = Path("/proc")
    sys = Path("/sys")

    def __init__(self) -> None:
        self._counters = Samples(self._read_counters)
        self._log: deque[LogRecord] = deque(maxlen=KEPT_MAX)
        self._drifted: set[str] = set()
        self._oom_kills: int | None = None
        self._table: ProcessTable | None = None

    async def start(self) -> None:
        self._rate = Rate(RECORDS_PER_S, time.monotonic())
        unheard = []
        kinds = {"kernel_log": self._take_record, "pressure": self._take_pressure, "processes": self._take_table}
        for kind, take in kinds.items():
            try:
                events = self.host_events(kind)  # type: ignore[call-overload]
            except MisuseError:
                unheard.append(kind)
            else:
                self.spawn(partial(self._listen, events, take), name=kind, restart=False)
        if unheard:
            self.log.info("not heard, as it is not granted: %s", ", ".join(unheard))
        if unknown := unreadable_settings(self.proc, self.options.sysctls):
            self.log.warning("declared, and for root alone to read, so not looked at: %s", ", ".join(unknown))
        await self.look()

    def healthy(self) -> str | None:
        return "/proc shows nothing" if read_text(self.proc / "uptime") is None else None

    # Identity

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
        boot = self._stat()[1].get("btime")
        return {"uptime_s": float(words[0]) if words else None, "booted_wall_s": boot, **clocks()}

    @handler(idempotent=True)
    async def cmdline(self) -> str | None:
        """What the boot loader passed to the kernel."""
        return read_text(self.proc / "cmdline")

    # Load

    @handler(idempotent=True)
    async def load(self) -> dict[str, Any]:
        """Load averages over 1, 5 and 15 minutes, runnable and existing tasks (proc_loadavg(5))."""
        found = parse_load(read_text(self.proc / "loadavg"))
        if found is None:
            raise NotFound("this host offers no load averages")
        return {**found, **clocks()}

    @handler(idempotent=True)
    async def pressure(self) -> dict[str, Any]:
        """Pressure stalls of cpu, io, memory and irq: shares in percent, totals in microseconds; null without PSI."""
        files = {kind: read_text(self.proc / "pressure" / kind) for kind in ("cpu", "io", "memory", "irq")}
        return {**{kind: parse_pressure(text) for kind, text in files.items()}, **clocks()}

    @handler(idempotent=True)
    async def memory(self) -> dict[str, Any]:
        """Memory and swap in bytes, and out-of-memory kills since boot."""
        kib = read_numbers(self.proc / "meminfo")
        sizes = {f"{name}_bytes": kib[source] * 1024 if source in kib else None for name, source in _CHOSEN.items()}
        return {**sizes, "oom_kills": self._kills(), **clocks()}

    def _kills(self) -> int | None:
        return read_numbers(self.proc / "vmstat").get("oom_kill")

    @handler(idempotent=True)
    async def counters(self) -> dict[str, Any]:
        """Counters since boot: processor time in seconds by kind, context switches, forks, interrupts, page faults."""
        return self._counters.now()

    def _read_counters(self) -> dict[str, Any]:
        ticks, stat = self._stat()
        vm = read_numbers(self.proc / "vmstat")
        return {
            "cpu_s": processor_seconds(ticks, os.sysconf("SC_CLK_TCK")),
            "context_switches": stat.get("ctxt"),
            "forks": stat.get("processes"),
            "interrupts": stat.get("intr"),
            "runnable_tasks": stat.get("procs_running"),
            "blocked_tasks": stat.get("procs_blocked"),
            "page_faults": vm.get("pgfault"),
            "major_page_faults": vm.get("pgmajfault"),
            **clocks(),
        }

    def _stat(self) -> tuple[list[int], dict[str, int]]:
        return parse_stat(read_text(self.proc / "stat", _STAT_BYTES))

    @handler
    async def watch(self, interval_s: Interval = 1.0) -> AsyncIterator[dict[str, Any]]:
        """The counters now and every `interval_s` seconds, at the same moments for all who watch."""
        async with aclosing(self._counters.every(interval_s)) as samples:
            async for sample in samples:
                yield sample

    @handler(idempotent=True)
    async def processes(self) -> list[Process] | None:
        """The runtime's own processes and what they take, as they were a few seconds ago; null if that is not granted.

        What it takes is null for one that does not run.
        """
        if self._table is None:
            return None
        return [
            {"name": one.name, "state": one.state, "restarts": one.restarts, "pid": one.pid or None,
             "cpu_s": one.cpu_ms / 1000 if one.pid else None, "resident_bytes": one.resident_bytes or None,
             "threads": one.threads or None}
            for one in self._table.rows
        ]  # fmt: skip

    def _take_table(self, table: ProcessTable) -> None:
        self._table = table

    # Posture and settings

    @handler(idempotent=True)
    async def cpu_vulnerabilities(self) -> dict[str, str | None]:
        """What the kernel says of each known processor weakness: "Not affected", "Mitigation: ..." and so on."""
        return read_vulnerabilities(self.sys)

    @handler(idempotent=True)
    async def posture(self) -> Posture:
        """What protects the kernel: taint flags, lockdown, security modules, key sysctls; null if not readable."""
        return read_posture(self.proc, self.sys)

    @handler(idempotent=True)
    async def modules(self) -> list[Module] | None:
        """Every loaded module: size in bytes, who uses it, how it taints the kernel; null for one without modules."""
        return read_modules(self.proc)

    @handler(idempotent=True)
    async def sysctl(self, name: SettingName) -> str:
        """One kernel setting by its dotted name, such as "vm.swappiness"; only fs.*, kernel.* and vm.* are served."""
        if name.split(".")[0] not in SYSCTL_ROOTS:
            raise Denied(f"only these are served: {', '.join(f'{root}.*' for root in SYSCTL_ROOTS)}")
        if _OWN.fullmatch(name):
            raise Denied(f"{name} is of this component's own namespace, and not the host's")
        value = read_text((self.proc / "sys").joinpath(*name.split(".")), 4096)
        if value is None:
            raise NotFound(f"no readable setting {name}")
        return value

    @handler(idempotent=True)
    async def drift(self) -> list[Drift]:
        """Settings that are not as `sysctls` of the options declares them; none if all are, or none is declared."""
        return self._drift()

    def _drift(self) -> list[Drift]:
        return read_drift(self.proc, {name: str(value) for name, value in self.options.sysctls.items()})

    @handler(idempotent=True)
    async def change(self, setting: Annotated[str, Length(64, 1)], value: int) -> None:
        """Have a setting written that is granted under `needs: settings`, by its name there and within its range."""
        try:
            await self.set(setting, value)
        except MisuseError:
            raise NotFound(f"no setting {setting[:64]!r} is granted: name it under `needs: settings`") from None

    # What the kernel says

    @handler(idempotent=True)
    async def recent(self, level: Annotated[str, Length(9)] = "debug") -> list[LogRecord]:
        """The last 256 records of the kernel's log that the grant lets pass, as grave as `level` or graver."""
        if level not in _LEVELS:
            raise NotFound(f"no level {level!r}: {', '.join(_LEVELS)}")
        chosen = _LEVELS[: _LEVELS.index(level) + 1]
        return [record for record in self._log if record["level"] in chosen]

    async def _listen(self, events: AsyncIterator[Any], take: Any) -> None:
        async for event in events:
            take(event)

    def _take_record(self, record: KernelRecord) -> None:
        self.count("kernel_records")
        if record.dropped:
            self.count("kernel_records_dropped", record.dropped)
        told: LogRecord = {
            "level": _LEVELS[record.level & 7], "sequence": record.sequence, "uptime_us": record.time_us,
            "text": record.text, "dropped": record.dropped,
        }  # fmt: skip
        self._log.append(told)
        if self._rate.take(time.monotonic()):
            self.publish("log", told)
        else:
            self.count("kernel_records_not_published")

    def _take_pressure(self, event: Pressure) -> None:
        self.count(f"pressure_of_{event.resource}")
        shares = {"avg10_percent": event.avg10, "avg60_percent": event.avg60, "avg300_percent": event.avg300}
        told = {"resource": event.resource, "stall": event.stall, **shares}
        self.publish("pressure", {**told, "total_us": event.total_us, "dropped": event.dropped})

    @every("30s", jitter="2s")
    async def look(self) -> None:
        """Tell of settings that have drifted, and of processes that were ended for want of memory."""
        drifted = {one["name"]: one for one in self._drift()}
        for name in drifted.keys() - self._drifted:
            one = drifted[name]
            self.log.warning("%s is %s, and declared as %s", name, one["found"] or "not there", one["declared"])
            self.publish("drift", one)
            with suppress(MisuseError):  # an operator may take the alert away
                self.alert("setting_drifted")
        self._drifted = set(drifted)
        self.gauge("settings_drifted", len(drifted))
        kills, before = self._kills(), self._oom_kills
        if kills is not None and before is not None and kills > before:
            self.log.warning("the kernel has ended %d processes for want of memory", kills - before)
            self.publish("oom_kills", {"new": kills - before, "oom_kills": kills})
        self._oom_kills = kills
