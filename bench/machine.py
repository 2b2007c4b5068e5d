"""What a figure depends on: machine, kernel, versions, load."""

from __future__ import annotations

import os
import platform
import ssl
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("tlsrt", "pyzmq", "cryptography", "msgpack", "PyYAML", "psutil")


def facts() -> dict[str, str]:
    """Return everything that belongs beside a table, by title."""
    import zmq
    from cryptography.hazmat.backends.openssl import backend

    cores = len(os.sched_getaffinity(0))
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "machine": f"{_processor()}, {cores} of {os.cpu_count()} cores, {_memory_gib():.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()} ({platform.python_compiler()})",
        "libraries": ", ".join([*(f"{name} {version(name)}" for name in LIBRARIES), f"libzmq {zmq.zmq_version()}"]),
        "openssl": f"{backend.openssl_version_text()} in cryptography, {ssl.OPENSSL_VERSION} in ssl",
        "load average": load(),
    }


def load() -> str:
    """Return the load averages of 1, 5 and 15 minutes."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)


def _commit() -> str:
    here = Path(__file__).resolve().parent
    asked = ["git", "-C", str(here), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, timeout=10).stdout.strip() or "unknown"
    except OSError:
        return "unknown"
