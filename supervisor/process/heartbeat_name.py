"""Whether the event loop of a process made a beat, as the kernel tells it: see channels/control/heartbeat_name.py."""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.channels.control.heartbeat_name import is_carried


def made_by_main_thread(host_pid: int, number: int, last: int, comm: Callable[[], bytes] | None = None) -> bool:
    """Tell whether the main thread of a process carries this beat, or a later one (proc_pid_comm(5)).

    `comm` reads that name where its file is open already. A process that has ended, or whose threads cannot be seen,
    made none.
    """
    try:
        if comm is not None:
            return is_carried(comm(), number, last)
        with open(f"/proc/{host_pid}/task/{host_pid}/comm", "rb", buffering=0) as file:
            return is_carried(file.read(64), number, last)
    except OSError:
        return False
