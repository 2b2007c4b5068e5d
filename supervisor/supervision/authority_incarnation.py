"""One process of the authority, as the supervisor knows it."""

from __future__ import annotations

from dataclasses import dataclass

from tlsrt.supervisor.process.children import Child
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.exit_reason import KillReason
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor


@dataclass(slots=True)
class AuthorityIncarnation:
    """What belongs to one process of the authority; the next one starts with a new object."""

    child: Child | None = None
    syscall_monitor: SyscallMonitor | None = None
    deadline: Timer | None = None  # for its boot, or its end
    is_boot_due: bool = False  # `boot` was asked for, and was not sent
    is_attested: bool = False  # it has sealed itself, and was what its profile says
    differs: bool = False  # it was not what its profile says
    booted_at: float | None = None
    has_beaten: bool = False
    is_being_replaced: bool = False  # it makes room for one under a new profile
    kill_reason: KillReason | None = None
    unwritten: str = ""  # why its state is not on the disk as it should be

    def set_deadline(self, timer: Timer | None) -> None:
        """Replace its one running deadline."""
        if self.deadline is not None:
            self.deadline.cancel()
        self.deadline = timer

    def close(self) -> None:
        """Give back what it holds: it has ended."""
        self.set_deadline(None)
        if self.syscall_monitor is not None:
            self.syscall_monitor.close()
