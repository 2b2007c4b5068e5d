"""The table of metrics: name, kind, unit, help, labels, and who may say it. docs/reference/metrics.md is made of it.

Names follow OpenMetrics 1.0 and the conventions of Prometheus: base units, the unit at the end of the name, `_total`
behind counters only. Nothing outside this table is ever served, so no process can bring a name of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Kind(StrEnum):
    """What a family is, as both formats name it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"  # how many, and their sum
    INFO = "info"


class Source(StrEnum):
    """Who may say it."""

    SUPERVISOR = "supervisor"
    METRICS = "metrics"  # the process that serves this
    PROCESS = "process"  # each process of a loop, of itself: its name is set by who reads
    PRIMARY = "primary"  # Primary, which has the gate
    DOOR = "door"  # the process that the door runs in: Primary, or its own


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all of its labels."""

    name: str  # without `_total` and the like
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    source: Source = Source.SUPERVISOR

    @property
    def series(self) -> str:
        """Return the name that a query uses."""
        endings = {Kind.COUNTER: "_total", Kind.INFO: "_info", Kind.HISTOGRAM: "_bucket", Kind.SUMMARY: "_sum"}
        return self.name + endings.get(self.kind, "")


_C, _G, _P = Kind.COUNTER, Kind.GAUGE, ("process",)
_SUPERVISOR = (
    Family("tlsrt_build", Kind.INFO, "Version of tlsrt.", ("version",)),
    Family("tlsrt_start_time_seconds", _G, "When this life of the host began, since 1970.", unit="seconds"),
    Family("tlsrt_ready", _G, "1 if the host serves calls: not locked, nothing down. What /readyz says."),
    Family("tlsrt_locked", _G, "1 if the host is locked."),
    Family("tlsrt_waived_layers", _G, "Layers of the sandbox that the configuration waives."),
    Family("tlsrt_epoch", _G, "Number of the epoch of keys and tokens."),
    Family("tlsrt_quarantined_subjects", _G, "Clients and components in quarantine."),
    Family("tlsrt_events", _C, "Events of the host.", ("kind", "severity")),
    Family(
        "tlsrt_certificate_not_after_seconds", _G, "When a certificate ends, since 1970.", ("certificate",), "seconds"
    ),
    Family("tlsrt_audit_records", _C, "Records of the audit log."),
    Family("tlsrt_audit_dropped_records", _C, "Records that the audit log had no room for."),
    Family("tlsrt_audit_bytes", _G, "Size of the audit log.", unit="bytes"),
    Family("tlsrt_process_active", _G, "1 if a process of the host serves.", _P),
    Family("tlsrt_process_restarts", _C, "How often a process was started again.", _P),
    Family("tlsrt_process_start_time_seconds", _G, "When a process began, since 1970.", _P, "seconds"),
    Family("tlsrt_process_cpu_seconds", _C, "Processor time of a process, in user and kernel mode.", _P, "seconds"),
    Family("tlsrt_process_resident_memory_bytes", _G, "Resident memory, shared pages included.", _P, "bytes"),
    Family("tlsrt_process_threads", _G, "Threads of a process.", _P),
    Family("tlsrt_process_violations", _C, "Forbidden system calls of a process.", _P),
    Family("tlsrt_egress_connections", _C, "Connections that a process or program began by its egress rules.", _P),
    Family("tlsrt_egress_open_connections", _G, "Those that were open when the kernel was asked last.", _P),
    Family("tlsrt_egress_denied", _C, "Connections of a process or program that no egress rule or budget allowed.", _P),
    Family("tlsrt_heartbeat_age_seconds", _G, "How long ago a process has beaten last.", _P, "seconds"),
    Family("tlsrt_heartbeat_suspicion", _G, "Suspicion that a process hangs (phi); killed near 8.", _P),
    Family("tlsrt_event_loop_lateness_seconds", _G, "Lateness of an event loop at its last beat.", _P, "seconds"),
    Family("tlsrt_frames_received", _C, "Frames that a process has received.", _P),
    Family("tlsrt_frames_sent", _C, "Frames that a process has sent.", _P),
    Family("tlsrt_frames_refused", _C, "Frames that a process has refused.", _P),
    Family("tlsrt_queue_frames", _G, "Frames that wait to be sent.", _P),
    Family("tlsrt_sessions", _G, "Open sessions; those of primary are clients.", _P),
    Family("tlsrt_anomaly_score", _G, "Anomaly score of a process.", _P),
    Family("tlsrt_component_healthy", _G, "1 if the last health check of a component was good.", (*_P, "component")),
    Family("tlsrt_component_ready", _G, "1 if a component says that it is ready.", (*_P, "component")),
    Family("tlsrt_component_tasks", _G, "Tasks that a component has running.", (*_P, "component")),
    Family("tlsrt_component_task_restarts", _C, "Restarts of a component's tasks.", (*_P, "component")),
)
_PC = ("process", "component")
_PROCESS = (
    Family("tlsrt_calls", _C, "Calls that were answered, by `result` or `error`.", (*_PC, "method", "outcome")),
    Family("tlsrt_call_duration_seconds", Kind.HISTOGRAM, "From the arrival of a call at its component to its answer.",
           (*_PC, "method"), "seconds"),
    Family("tlsrt_component_calls_in_flight", _G, "Calls that a component has not answered yet.", _PC),
    Family("tlsrt_component_counted", _C, "What a component counts by `self.count`.", (*_PC, "name")),
    Family("tlsrt_component_value", _G, "What a component says by `self.gauge`.", (*_PC, "name")),
    Family("tlsrt_component_time_seconds", Kind.SUMMARY, "What a component times by `self.time`.", (*_PC, "name"),
           "seconds"),
    Family("tlsrt_component_longest_time_seconds", _G, "The longest of these, since its process began.", (*_PC, "name"),
           "seconds"),
    Family("tlsrt_spans", _C, "Spans that a process has said, for a collector of traces.", _P),
    Family("tlsrt_lost_spans", _C, "Spans that were sampled and for which there was no room.", _P),
)  # fmt: skip
_PRIMARY = (
    Family("tlsrt_gate_frames", _C, "Frames by the gate's verdict: passed, or why not.", ("verdict",)),
    Family("tlsrt_gate_open_calls", _G, "Calls that the gate let through and that have no answer yet."),
)
_DOOR = (
    Family("tlsrt_door_handshakes", _C, "TLS handshakes that were completed."),
    Family("tlsrt_door_ended_connections", _C, "Connections by how they ended, failed handshakes too.", ("reason",)),
    Family("tlsrt_door_connections", _G, "Connections at the door."),
    Family("tlsrt_door_unauthenticated_connections", _G, "Those that have shown no certificate yet."),
)
_METRICS = (
    Family("tlsrt_metrics_requests", _C, "Answers of this process, by HTTP status.", ("status",)),
    Family("tlsrt_metrics_dropped_connections", _C, "Connections that were cut: too many, too slow, or gone."),
    Family("tlsrt_metrics_refused_figures", _C, "What a process wrote for its metrics and could not be served.", _P),
)  # fmt: skip

FAMILIES: Mapping[str, Family] = {
    family.name: replace(family, source=source)
    for source, families in (
        (Source.SUPERVISOR, _SUPERVISOR),
        (Source.PROCESS, _PROCESS),
        (Source.PRIMARY, _PRIMARY),
        (Source.DOOR, _DOOR),
        (Source.METRICS, _METRICS),
    )
    for family in families
}
