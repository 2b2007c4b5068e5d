"""What a process tells the supervisor with each beat: its figures, its components, its disks and its threads."""

from __future__ import annotations

from collections.abc import Sequence

from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.loops.runtime.component_host import ComponentHost
from tlsrt.loops.runtime.component_states import ComponentStates
from tlsrt.loops.runtime.disk_waits import DiskWaits
from tlsrt.loops.runtime.health import HealthChecks
from tlsrt.loops.runtime.heartbeat import Heartbeat
from tlsrt.loops.runtime.work_threads import AskedThreads


class LifeReports:
    """Sends what is news. A report is told once it was sent, and otherwise comes with a later beat."""

    def __init__(
        self, life: ControlChannel, heartbeat: Heartbeat, hosts: Sequence[ComponentHost], threads: AskedThreads
    ) -> None:
        self._life = life
        self._heartbeat = heartbeat
        self._threads = threads
        self._disk_waits = DiskWaits(host.component for host in hosts)
        self._health = HealthChecks(hosts)
        self._states = ComponentStates(hosts)

    def forget_components(self) -> None:
        """Tell nothing of the components any more: they do not run."""
        self._health = HealthChecks(())
        self._states = ComponentStates(())

    def begin(self, now: float) -> None:
        """Begin to ask the components how they are: they have started."""
        self._health.begin(now)

    def check(self, now: float) -> None:
        """Ask the components whose turn it is."""
        self._health.each_beat(now)

    def next_look(self, now: float) -> float:
        """Return when a beat has something to ask or to tell: now, if there is something; perhaps never."""
        is_news = self._states.changes() or self._disk_waits.next_report() is not None
        return now if is_news or self._threads.next_report() is not None else self._health.next_look(now)

    def send(self, depth: int, *figures: int) -> None:
        """Send a beat with its figures, then what is news. Raises PeerError as the channel does."""
        self._heartbeat.send(self._health.reports, depth, *figures)
        for change in self._states.changes():
            self._life.send("component", *change)
            self._states.told(*change)
        if (for_ms := self._disk_waits.next_report()) is not None:
            self._life.send("disk_wait", for_ms)
            self._disk_waits.told(for_ms)
        if (counted := self._threads.next_report()) is not None:
            self._life.send("work", *counted)
            self._threads.told(counted)
