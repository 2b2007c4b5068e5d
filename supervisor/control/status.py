"""The verbs `status` and `follow_status`: the state of the host as a document of plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from tlsrt.supervisor.control.audit_heads import AuditHeads
from tlsrt.supervisor.control.canary_files import CanaryFiles
from tlsrt.supervisor.control.certificates import Certificates
from tlsrt.supervisor.control.decoys import DecoyReport
from tlsrt.supervisor.control.lock import LockControl
from tlsrt.supervisor.control.requests import OperatorRequests
from tlsrt.supervisor.control.status_document import (
    Document,
    StatusInput,
    document,
    service_document,
    supervision_document,
)
from tlsrt.supervisor.control.status_stream import StatusStream
from tlsrt.supervisor.process.children import Child
from tlsrt.supervisor.process.instance_lock import host_pid
from tlsrt.supervisor.process.proc import MemoryReadings
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.devices import Devices
from tlsrt.supervisor.supervision.export_process import ExportProcess
from tlsrt.supervisor.supervision.feature import ControlVerb, Feature, StreamVerb
from tlsrt.supervisor.supervision.heartbeat import HeartbeatMonitor
from tlsrt.supervisor.supervision.helper_process import HelperProcess
from tlsrt.supervisor.supervision.learner_process import LearnerProcess
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.metrics_process import MetricsProcess
from tlsrt.supervisor.supervision.names import Names
from tlsrt.supervisor.supervision.programs import Programs
from tlsrt.supervisor.supervision.resolver_process import ResolverProcess
from tlsrt.supervisor.supervision.running_changes import RunningChanges
from tlsrt.supervisor.supervision.shutdown import Shutdown
from tlsrt.supervisor.supervision.watchdog import Watchdog


@dataclass(frozen=True, slots=True)
class StartFacts:
    """What the start of this life has fixed."""

    started_at: float  # in seconds of the event loop's clock
    rootless: bool
    boot: str  # id, in hex


@dataclass(frozen=True, slots=True)
class Standing:
    """The features that have something to say in a status."""

    lock: LockControl
    requests: OperatorRequests
    audit: AuditHeads
    canaries: CanaryFiles
    decoys: DecoyReport
    helper: HelperProcess
    network_helper: HelperProcess
    devices: Devices
    programs: Programs
    resolver: ResolverProcess
    names: Names
    metrics: MetricsProcess
    export: ExportProcess
    certificates: Certificates
    learner: LearnerProcess


class Status(Feature):
    """Serves `status` and `follow_status`."""

    def __init__(
        self, context: Context, loops: Loops, authority: AuthorityProcess, monitor: HeartbeatMonitor,
        watchdog: Watchdog, shutdown: Shutdown, changes: RunningChanges, standing: Standing, start: StartFacts,
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = loops
        self._authority = authority
        self._monitor = monitor
        self._watchdog = watchdog
        self._shutdown = shutdown
        self._changes = changes
        self._standing = standing
        self._start = start
        self._memory = MemoryReadings()

    def verbs(self) -> Mapping[str, ControlVerb | StreamVerb]:
        return {
            "status": ControlVerb(lambda request, reply: reply(self.document())),
            "follow_status": StreamVerb(StatusStream(self._context.event_loop, self.document).serve),
        }

    def document(self) -> Document:
        """Return the status as it is now."""
        now, current, loops = self._context.event_loop.now, self._context.current, self._loops.all
        standing, start = self._standing, self._start
        children = {loop.name: loop.process.child for loop in loops}
        children[AUTHORITY] = self._authority.process.child
        managers = {loop.name: loop.managed_by for loop in loops}
        service = partial(service_document, now=now, memory=self._memory)
        view = StatusInput(
            now, start.started_at, host_pid(), start.rootless, start.boot, self._shutdown.is_running,
            (*current.warnings, *standing.decoys.warnings, *standing.canaries.warnings,
             *standing.certificates.warnings()),
            current.children.limits(), self._changes.is_rolling_out, current.children, self._watchdog.stuck.of,
            self._loops.disk_waits.of,
            supervision_document(self._loops.restart_policy, loops, now), standing.lock.document(),
            standing.requests.quarantined, standing.audit.document(), service(standing.helper),
            service(standing.network_helper),
            standing.devices.document, standing.programs.document, service(standing.resolver),
            standing.names.document(), service(standing.metrics),
            _pid(current.children.fork_servers.active), _pid(current.children.fork_servers.spare),
            service(standing.export),
            standing.certificates.document(), service(standing.learner),
        )  # fmt: skip
        return document(
            view,
            self._context.current.config,
            self._authority,
            loops,
            {name: (managers.get(name) or current.children).sandbox(name) for name in children},
            {name: self._memory.of(child.host_pid, now) for name, child in children.items() if child is not None},
            {name: self._monitor.status(name, now) for name in children},
            {name: self._loops.violations.of(name) for name in children},
        )


def _pid(child: Child | None) -> int | None:
    return child.host_pid if child is not None else None
