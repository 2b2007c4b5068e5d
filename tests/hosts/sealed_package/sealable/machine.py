"""A component that asks psutil about the host, one call after the other."""

from __future__ import annotations

import psutil

from tlsrt import Component, handler

OF_THE_HOST = (
    "cpu_count", "getloadavg", "users", "disk_usage", "cpu_percent", "cpu_times", "cpu_stats", "cpu_freq",
    "virtual_memory", "swap_memory", "boot_time", "pids", "disk_partitions", "disk_io_counters", "sensors_battery",
    "net_io_counters", "net_connections", "net_if_addrs", "net_if_stats",
)  # fmt: skip
ITS_OWN = {f"Process().{name}": name for name in ("memory_info", "cpu_times")}


class Machine(Component):
    """Tells which calls of psutil work."""

    @handler
    async def attempt(self, name: str) -> str:
        """Call a function of psutil, or a method of this process; return "works", or the exception."""
        try:
            if name in ITS_OWN:
                getattr(psutil.Process(), ITS_OWN[name])()
            else:
                getattr(psutil, OF_THE_HOST[OF_THE_HOST.index(name)])(*(["/"] if name == "disk_usage" else []))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "works"
