"""Figures of the host for its metrics process: what the supervisor knows anyway, as JSON.

Made when they are asked for, at most about once a second. What costs is one read of /proc for each process, 30 us; the
memory that `status` shows takes ten times that, so it is not asked for here.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tlsrt import __version__
from tlsrt.channels.control.health import HealthOutcome, Readiness
from tlsrt.supervisor.control.audit_heads import AuditHeads
from tlsrt.supervisor.control.certificates import Certificates
from tlsrt.supervisor.control.lock import LockControl
from tlsrt.supervisor.control.requests import OperatorRequests
from tlsrt.supervisor.events.event import HostEvent
from tlsrt.supervisor.messages.condition import Judgement, judge
from tlsrt.supervisor.process.instance_lock import host_pid
from tlsrt.supervisor.process.proc import usage_of
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.heartbeat import HeartbeatMonitor
from tlsrt.supervisor.supervision.loop import ComponentState, Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.service_process import ServiceProcess
from tlsrt.supervisor.supervision.shutdown import Shutdown

_SUSPICION_MOST = 99.0
_GOOD = {HealthOutcome.GOOD: "good", HealthOutcome.FAILED: "failing", HealthOutcome.TIMED_OUT: "silent"}
_Line = tuple[str, Sequence[str], float]  # family, labels, value


class HostFigures:
    """What there is to tell of one life of a host."""

    def __init__(
        self, context: Context, loops: Loops, authority: AuthorityProcess, monitor: HeartbeatMonitor,
        lock: LockControl, requests: OperatorRequests, audit: AuditHeads, shutdown: Shutdown,
        services: Sequence[ServiceProcess], started_at: float, certificates: Certificates,
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = loops
        self._authority = authority
        self._monitor = monitor
        self._lock = lock
        self._requests = requests
        self._audit = audit
        self._shutdown = shutdown
        self._services = services
        self._started_at = started_at
        self._certificates = certificates
        self._since_1970_s = time.time() - context.event_loop.now  # fixed, so that no start moves
        self._events: Counter[tuple[str, str]] = Counter()
        context.events.listeners.append(self._count)

    def _count(self, event: HostEvent) -> None:
        self._events[str(event.name.kind), str(event.name.severity)] += 1

    def encoded(self, asker: ServiceProcess) -> bytes:
        """Return all figures as JSON; `asker` is one of the processes that they tell of."""
        judgement = self._judgement()
        figures: dict[str, list[tuple[Sequence[str], float]]] = {}
        for family, labels, value in self._lines(judgement, (*self._services, asker)):
            figures.setdefault(family, []).append((labels, value))
        document = {"ready": judgement.is_ready, "why": judgement.line, "figures": figures}
        return json.dumps(document, separators=(",", ":")).encode()

    def _judgement(self) -> Judgement:
        authority = self._authority
        return judge({
            "supervisor": {"stopping": self._shutdown.is_running},
            "lock": self._lock.document(),
            "authority": {
                "state": authority.state, "restarts": authority.restarts, "sandbox": self._sandbox(AUTHORITY),
            },
            "loops": [
                {
                    "name": loop.name, "state": str(loop.state), "restarts": loop.restarts,
                    "sandbox": self._sandbox(loop.name), "components": [*self._components(loop)],
                }
                for loop in self._loops.all
            ],
        })  # fmt: skip

    def _sandbox(self, process: str) -> dict[str, Any]:
        children = self._context.current.children
        return {"waived": children.sandbox(process).waived} if process in children.profiles else {}

    def _components(self, loop: Loop) -> Iterator[dict[str, Any]]:
        for index, component in enumerate(self._context.current.config.components_of(loop.name)):
            checked, state = loop.process.checked.get(index), loop.process.components.get(index, ComponentState())
            yield {
                "name": component.name, "health": _GOOD[checked.outcome] if checked else "unchecked",
                "ready": None if state.readiness is Readiness.UNASKED else state.readiness is Readiness.READY,
                "tasks": state.tasks, "restarts": state.restarts,
            }  # fmt: skip

    def _lines(self, judgement: Judgement, services: Sequence[ServiceProcess]) -> Iterator[_Line]:
        yield "tlsrt_build", [__version__], 1
        yield "tlsrt_start_time_seconds", [], self._since_1970(self._started_at)
        yield "tlsrt_ready", [], int(judgement.is_ready)
        yield "tlsrt_locked", [], int(self._lock.document() is not None)
        yield "tlsrt_waived_layers", [], len(self._context.current.config.sandbox.waive)
        yield "tlsrt_epoch", [], self._authority.epoch
        yield "tlsrt_quarantined_subjects", [], len(self._requests.quarantined)
        for (kind, severity), count in self._events.items():
            yield "tlsrt_events", [kind, severity], count
        if self._authority.reports.certificate_ends:
            yield "tlsrt_certificate_not_after_seconds", ["door"], self._authority.reports.certificate_ends
        if self._certificates.ends:
            yield "tlsrt_certificate_not_after_seconds", ["acme"], self._certificates.ends
        yield from self._of_audit()
        yield from self._of_egress()
        yield from self._of_process("supervisor", host_pid(), self._started_at, is_active=True)
        authority = self._authority
        child = authority.process.child
        yield "tlsrt_process_restarts", [AUTHORITY], authority.restarts
        yield from self._of_process(
            AUTHORITY, child.host_pid if child else 0, authority.spawned_at, is_active=authority.is_booted
        )
        yield from self._of_beat(AUTHORITY, authority.lateness_us)
        for service in services:
            if service.is_wanted or service.child is not None:
                pid = service.child.host_pid if service.child is not None else 0
                yield "tlsrt_process_restarts", [service.name], service.restarts
                yield from self._of_process(service.name, pid, service.spawned_at, is_active=service.is_attested)
        for loop in self._loops.all:
            yield from self._of_loop(loop)

    def _since_1970(self, at: float) -> float:
        return round(self._since_1970_s + at, 3)

    def _of_audit(self) -> Iterator[_Line]:
        document = self._audit.document()
        if document is not None:
            yield "tlsrt_audit_records", [], document["sequence"]
            yield "tlsrt_audit_dropped_records", [], document["dropped"]
            yield "tlsrt_audit_bytes", [], document["bytes"]

    def _of_egress(self) -> Iterator[_Line]:
        for account in self._context.current.children.uses.accounts.values():
            if account.entries or account.denied:
                yield "tlsrt_egress_connections", [account.name], sum(use.connections for use in account.entries)
                yield "tlsrt_egress_open_connections", [account.name], sum(len(use.open) for use in account.entries)
                yield "tlsrt_egress_denied", [account.name], account.denied

    def _of_process(self, name: str, pid: int, spawned_at: float, *, is_active: bool) -> Iterator[_Line]:
        yield "tlsrt_process_active", [name], int(is_active)
        usage = usage_of(pid) if pid else None
        if usage is not None:
            yield "tlsrt_process_start_time_seconds", [name], self._since_1970(spawned_at)
            yield "tlsrt_process_cpu_seconds", [name], usage.cpu_s
            yield "tlsrt_process_resident_memory_bytes", [name], usage.resident_bytes
            yield "tlsrt_process_threads", [name], usage.threads

    def _of_beat(self, name: str, lateness_us: int) -> Iterator[_Line]:
        now = self._context.event_loop.now
        if self._monitor.is_watched(name):
            yield "tlsrt_heartbeat_age_seconds", [name], round(max(0.0, self._monitor.silence(name, now)), 3)
            yield "tlsrt_heartbeat_suspicion", [name], round(min(self._monitor.phi(name, now), _SUSPICION_MOST), 2)
            yield "tlsrt_event_loop_lateness_seconds", [name], lateness_us / 1e6

    def _of_loop(self, loop: Loop) -> Iterator[_Line]:
        name, beat = loop.name, loop.process.beat
        yield "tlsrt_process_restarts", [name], loop.restarts
        yield from self._of_process(name, loop.host_pid, loop.spawned_at, is_active=str(loop.state) == "active")
        yield "tlsrt_process_violations", [name], self._loops.violations.of(name).count
        yield "tlsrt_anomaly_score", [name], self._authority.reports.score(name)
        sessions = self._authority.sessions.get(name, beat.sessions if beat else 0)
        yield "tlsrt_sessions", [name], sessions
        if beat is not None:
            yield from self._of_beat(name, beat.lateness_us)
            yield "tlsrt_frames_received", [name], beat.frames_in
            yield "tlsrt_frames_sent", [name], beat.frames_out
            yield "tlsrt_frames_refused", [name], beat.refused
            yield "tlsrt_queue_frames", [name], beat.queue_depth
        for component in self._components(loop):
            labels = [name, component["name"]]
            if component["health"] != "unchecked":
                yield "tlsrt_component_healthy", labels, int(component["health"] == "good")
            if component["ready"] is not None:
                yield "tlsrt_component_ready", labels, int(component["ready"])
            yield "tlsrt_component_tasks", labels, component["tasks"]
            yield "tlsrt_component_task_restarts", labels, component["restarts"]
