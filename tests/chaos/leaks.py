"""What a host holds, seen from outside: processes, descriptors, sockets, control groups, shared memory."""

from __future__ import annotations

import os
import re
import socket
from collections import Counter
from pathlib import Path

import psutil
from hosts.host_processes import mark_of
from probes.descriptors import lasting

from chaos.host import UID_BASE, UIDS, ChaosHost
from chaos.plan import LOOPS

TOGETHER = 6 + len(LOOPS)  # launcher, supervisor, two fork servers, authority, learner, loops


def kind_of(link: str) -> str:
    """Return what a descriptor is, without the number of the one that it is."""
    return re.sub(r"[0-9a-f]{6,}|\d+", "N", link)


def descriptors(pid: int) -> Counter[str]:
    """Return how many descriptors of each kind a process has open."""
    return Counter(map(kind_of, lasting(pid)))


def held(host: ChaosHost) -> dict[str, Counter[str]]:
    """Return the descriptors of all processes of a host but the launcher."""
    return {name: descriptors(pid) for name, pid in host.pids().items() if name != "launcher"}


def more(before: dict[str, Counter[str]], after: dict[str, Counter[str]]) -> list[str]:
    """Return a sentence for each process that has more descriptors than before."""
    return [
        f"{name} has more descriptors than at the begin: {dict(after[name] - before[name])}"
        for name in before
        if name in after and after[name] - before[name]
    ]


def processes(host: ChaosHost) -> list[int]:
    """Return all processes with the mark of a host, living or not yet reaped."""
    return [process.pid for process in psutil.process_iter() if mark_of(process.pid) == host._mark]


def copies(host: ChaosHost) -> list[str]:
    """Return a sentence if there is more, or less, than one of each process; ask a host that is at rest."""
    wanted, there = set(host.all_pids().values()), set(processes(host))
    if len(wanted) != TOGETHER:
        return [f"the status names {len(wanted)} processes instead of {TOGETHER}"]
    return [f"there are processes {sorted(there)} instead of {sorted(wanted)}"] if there != wanted else []


def group(host: ChaosHost) -> list[str]:
    """Return the folders of control groups of a host, while those of others come and go."""
    name = re.search(r"cgroup \S*/(tlsrt-[0-9a-f]+)", "\n".join(host.console))
    return [path for path, _, _ in os.walk("/sys/fs/cgroup") if name and os.path.basename(path) == name[1]]


def shared() -> list[str]:
    """Return what the uids of loops have of shared memory."""
    files = [str(path) for path in Path("/dev/shm").iterdir() if _owner_of(path) in (UID_BASE, *UIDS.values())]
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return files + [line for line in lines if int(line.split()[7]) in (UID_BASE, *UIDS.values())]


def _owner_of(path: Path) -> int:
    try:
        return path.lstat().st_uid
    except FileNotFoundError:  # another test's
        return -1


def left(host: ChaosHost) -> list[str]:
    """Return a sentence for whatever is left of a host that was stopped."""
    found = [f"process {pid} is left" for pid in processes(host)]
    found += [f"the socket {path} is left" for path in host.config.run_dir.rglob("*") if path.is_socket()]
    found += [f"the control group {path} is left" for path in group(host)]
    found += [f"shared memory is left: {name}" for name in shared()]
    try:
        socket.create_server(("127.0.0.1", host.port)).close()
    except OSError as error:
        found.append(f"the port of the door is not free: {error}")
    return found
