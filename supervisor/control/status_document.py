"""The state of the host as a document of plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tlsrt.channels.control.health import HealthOutcome, Readiness
from tlsrt.channels.control.life import LoopState
from tlsrt.config.components import ComponentConfig
from tlsrt.config.egress import is_listed
from tlsrt.config.name_rules import address_rules
from tlsrt.config.schema import Config
from tlsrt.supervisor.process.children import Children, Sandbox
from tlsrt.supervisor.process.exit_reason import Death
from tlsrt.supervisor.process.proc import MemoryReadings
from tlsrt.supervisor.process.unkillable import UnkillableProcess
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.disk_waits import DiskWait
from tlsrt.supervisor.supervision.heartbeat import HeartbeatStatus
from tlsrt.supervisor.supervision.loop import ComponentState, Incarnation, Loop
from tlsrt.supervisor.supervision.restart_policy import RestartPolicy
from tlsrt.supervisor.supervision.service_process import ServiceProcess
from tlsrt.supervisor.supervision.violations import ViolationRecord

Document = dict[str, Any]


_NO_VIOLATIONS = ViolationRecord()  # of a loop that none was reported of


STOPPED = "stopped"  # the state of a loop that the operator keeps down
_PHI_MAX = 99.0


_OUTCOMES = {HealthOutcome.GOOD: "good", HealthOutcome.FAILED: "failing", HealthOutcome.TIMED_OUT: "silent"}


@dataclass(frozen=True, slots=True)
class StatusInput:
    """The supervisor at one moment; times in seconds of the event loop's clock."""

    now: float
    started_at: float
    pid: int
    rootless: bool
    boot_id: str
    stopping: bool
    warnings: Sequence[str]
    limits: str = ""  # which limits are enforced by what
    changing: bool = False  # a reload is being carried out
    children: Children | None = None  # in force
    stuck: Callable[[str], UnkillableProcess | None] = lambda name: None
    disk_wait: Callable[[str], DiskWait | None] = lambda name: None
    supervision: Document = field(default_factory=Document)  # see `supervision_document`
    lock: Document | None = None  # of the whole host, see `lock.py`
    quarantined: Sequence[str] = ()
    audit: Document | None = None  # how the audit log stands, see `audit_heads.py`
    helper: Document | None = None  # if a component needs it
    network_helper: Document | None = None
    devices: Callable[[Loop], list[dict[str, object]]] = lambda loop: []
    programs: Callable[[str], Sequence[Document]] = lambda process: ()
    resolver: Document | None = None  # if an egress rule has a name
    names: Sequence[Document] = ()  # of egress rules, with the addresses that they have now
    metrics: Document | None = None  # if they are served
    fork_server: int | None = None  # its pid
    spare_fork_server: int | None = None
    export: Document | None = None  # if there is a collector
    acme: Document | None = None  # if a CA is configured
    learner: Document | None = None  # once there was something to learn


def document(
    view: StatusInput,
    config: Config,
    authority: AuthorityProcess,
    loops: Sequence[Loop],
    sandboxes: Mapping[str, Sandbox],
    memory: Mapping[str, int | None],
    heartbeats: Mapping[str, HeartbeatStatus | None],
    violations: Mapping[str, ViolationRecord],
) -> Document:
    """Return the whole status as plain values for json.dumps."""
    return {
        "supervisor": {
            "pid": view.pid,
            "uptime_s": _rounded(view.now - view.started_at),
            "rootless": view.rootless,
            "boot": view.boot_id,
            "stopping": view.stopping,
            "fork_server": view.fork_server,
            "spare_fork_server": view.spare_fork_server,
        },
        "authority": _authority(view, authority, sandboxes, memory, heartbeats.get("authority")),
        "loops": [
            _loop(
                view, config, authority, loop, sandboxes, memory, heartbeats, violations.get(loop.name, _NO_VIOLATIONS)
            )
            for loop in loops
        ],
        "helper": view.helper,
        "network_helper": view.network_helper,
        "resolver": view.resolver,
        "metrics": view.metrics,
        "export": view.export,
        "acme": view.acme,
        "learner": view.learner,
        "names": list(view.names),
        "boundary": _boundary_of(view, authority, loops),
        "keys": authority.reports.keys(view.now),
        "door": {"host": config.door.host, "port": config.door.port, "locked": view.lock is not None},
        "lock": view.lock,
        "supervision": view.supervision,
        "limits": view.limits,
        "quarantined": list(view.quarantined),
        "audit": view.audit,
        "warnings": [*view.warnings, *authority.reports.warnings],
    }


def _boundary_of(view: StatusInput, authority: AuthorityProcess, loops: Sequence[Loop]) -> Document:
    """Return whether all that lives is in one epoch and under the profiles in force."""
    living = [loop for loop in loops if loop.is_living]
    behind = [loop.name for loop in living if _epoch(loop) != authority.epoch or loop.managed_by is not view.children]
    return {"epoch": authority.epoch, "equal": not behind, "behind": behind, "changing": view.changing}


def _epoch(loop: Loop) -> int | None:
    return loop.process.beat.epoch if loop.process.beat else loop.process.attested_epoch


def _authority(
    view: StatusInput,
    authority: AuthorityProcess,
    sandboxes: Mapping[str, Sandbox],
    memory: Mapping[str, int | None],
    heartbeat: HeartbeatStatus | None,
) -> Document:
    child = authority.process.child
    return {
        "pid": child.host_pid if child is not None else None,
        "state": authority.state,
        "uptime_s": _rounded(view.now - authority.spawned_at) if child is not None else None,
        "restarts": authority.restarts,
        "lateness_ms": round(authority.lateness_us / 1000, 1),
        **_heartbeat(heartbeat),
        "memory_kib": memory.get("authority"),
        "sandbox": _sandbox(sandboxes.get("authority", Sandbox())),
        "epoch": authority.epoch,
        "unwritten": authority.unwritten,
        "stuck": _stuck(view, "authority"),
        "disk_wait": _disk_wait(view, "authority"),
        "last_death": _death(authority.last_death),
    }


def _loop(
    view: StatusInput,
    config: Config,
    authority: AuthorityProcess,
    loop: Loop,
    sandboxes: Mapping[str, Sandbox],
    memory: Mapping[str, int | None],
    heartbeats: Mapping[str, HeartbeatStatus | None],
    violations: ViolationRecord,
) -> Document:
    beat = loop.process.beat
    child = loop.process.child
    return {
        "name": loop.name,
        "state": STOPPED
        if loop.name in view.supervision.get("stopped", ()) and not loop.is_living
        else str(loop.state),
        "pid": child.host_pid if child is not None else None,
        "incarnation": loop.incarnation,
        "uptime_s": _rounded(view.now - loop.spawned_at) if child is not None else None,
        "restarts": loop.restarts,
        "sessions": authority.sessions.get(loop.name, beat.sessions if beat else 0),
        "frames": {
            "in": beat.frames_in if beat else 0,
            "out": beat.frames_out if beat else 0,
            "refused": beat.refused if beat else 0,
        },
        "lateness_ms": round(beat.lateness_us / 1000, 1) if beat else None,
        "queue": beat.queue_depth if beat else 0,
        **_heartbeat(heartbeats.get(loop.name)),
        "components": [
            _component(view, loop.process, index, component)
            for index, component in enumerate(config.components_of(loop.name))
        ],
        "threads": _threads(config, loop),
        "devices": view.devices(loop),
        "programs": list(view.programs(loop.name)),
        "memory_kib": memory.get(loop.name),
        "sandbox": _sandbox(sandboxes.get(loop.name, Sandbox())),
        "epoch": _epoch(loop),
        "stuck": _stuck(view, loop.name),
        "disk_wait": _disk_wait(view, loop.name),
        "last_death": _death(loop.last_death),
        "violations": violations.count,
        "last_violation": violations.last,
        "egress_wanted": _unlisted(config, loop.name, violations.wanted),
        "anomaly": authority.reports.score(loop.name),
    }


def service_document(service: ServiceProcess, now: float, memory: MemoryReadings) -> Document | None:
    if not service.is_wanted and service.child is None:
        return None
    pid = service.child.host_pid if service.child is not None else None
    return {
        "pid": pid,
        "state": service.state,
        "uptime_s": _rounded(now - service.spawned_at) if pid is not None else None,
        "restarts": service.restarts,
        "memory_kib": memory.of(pid, now) if pid is not None else None,
        "sandbox": _sandbox(service.managed_by.sandbox(service.name)) if pid is not None else None,
        "last_death": _death(service.last_death),
    }


def _unlisted(config: Config, process: str, wanted: Sequence[str]) -> list[str]:
    """Return the hosts that a process wanted and that no egress rule lists by now."""
    own = [loop.egress for loop in config.loops if loop.name == process]  # none: it is removed, and ends now
    asked = (
        *(one for each in own for one in each),
        *(one for each in config.components_of(process) for one in each.needs.egress),
    )
    rules = address_rules(rule for one in asked for rule in one.rules)
    return [target for target in wanted if not is_listed(rules, target)]


def _threads(config: Config, loop: Loop) -> Document | None:
    """Return what the threads of its components do, as it says; None if none has asked for threads."""
    most = sum(component.needs.threads for component in config.components_of(loop.name))
    work = loop.process.work
    return {"most": most, **(work._asdict() if work else {"running": 0, "waiting": 0, "given_up": 0})} if most else None


def _heartbeat(heartbeat: HeartbeatStatus | None) -> Document:
    """The suspicion has an end here: JSON knows no infinite number."""
    if heartbeat is None:
        return {"health": None, "phi": None, "beat_age_s": None}
    suspicion = round(min(heartbeat.phi, _PHI_MAX), 2)
    return {"health": str(heartbeat.health), "phi": suspicion, "beat_age_s": _rounded(heartbeat.age_s)}


def _disk_wait(view: StatusInput, name: str) -> Document | None:
    wait = view.disk_wait(name)
    return {"for_s": _rounded(view.now - wait.since), "where": wait.where or None} if wait is not None else None


def _stuck(view: StatusInput, name: str) -> Document | None:
    stuck = view.stuck(name)
    return {"where": stuck.where, "for_s": _rounded(view.now - stuck.since)} if stuck is not None else None


def _component(view: StatusInput, process: Incarnation, index: int, component: ComponentConfig) -> Document:
    """Return what is known of a component; one without a check, or not asked yet, is `unchecked`."""
    checked, state = process.checked.get(index), process.components.get(index, ComponentState())
    return {
        "name": component.name,
        "health": _OUTCOMES[checked.outcome] if checked is not None else "unchecked",
        "fails": checked.fails if checked is not None else 0,
        "checked_s": _rounded(view.now - checked.at) if checked is not None else None,
        "then": component.health.then,
        "after": component.health.fails,
        "ready": None if state.readiness is Readiness.UNASKED else state.readiness is Readiness.READY,
        "tasks": state.tasks,
        "task_restarts": state.restarts,
    }


def _death(death: Death | None) -> Document | None:
    if death is None:
        return None
    end = {"code": death.code} if death.signal is None else {"signal": death.signal}
    return {
        "cause": str(death.cause),
        "sentence": death.sentence,
        **({"said": death.said} if death.said else {}),  # words of the process, which may be captured
        **end,
        "at": datetime.fromtimestamp(death.at, UTC).isoformat(timespec="milliseconds"),
        "incarnation": death.incarnation,
    }


def _sandbox(sandbox: Sandbox) -> Document:
    return {
        "layers": list(sandbox.layers),
        "waived": dict(sandbox.waived),
        "cgroup": sandbox.group,
        "profile": sandbox.digest.hex(),
        "limits": dict(sandbox.limits),
    }


def _rounded(seconds: float) -> float:
    return round(max(0.0, seconds), 3)


def supervision_document(restart_policy: RestartPolicy, loops: Sequence[Loop], now: float) -> Document:
    """Return every group with its deaths that count, why it is degraded, and who waits for whom."""
    groups = {restart_policy.group_of(loop).name: restart_policy.group_of(loop) for loop in restart_policy.order}
    return {
        "degraded": any(not failure.is_asked for failure in restart_policy.failures),
        "stopped": [loop.name for loop in loops if restart_policy.is_stopped(loop.name)],
        "groups": [
            {
                "name": group.name,
                "loops": list(group.loops),
                "strategy": str(group.strategy),
                "escalate": str(group.escalation),
                "deaths": restart_policy.deaths(group.name, now),
                "limit": {"deaths": group.restart.deaths, "window_s": group.restart.window_s},
                **_state(restart_policy, group.loops),
            }
            for group in groups.values()
        ],
        "waiting": {
            loop.name: restart_policy.waits_for(loop.name) for loop in loops if loop.state is LoopState.WAITING
        },
    }


def _state(restart_policy: RestartPolicy, loops: Sequence[str]) -> Document:
    failures = [one for one in restart_policy.failures if one.loops & {*loops} and not one.is_asked]
    if failures:
        down = [loop for loop in loops if any(loop in failure.loops for failure in failures)]
        return {"state": "degraded", "down": down, "why": "; ".join(failure.sentence for failure in failures)}
    is_pending = any(restart_policy.is_pending(loop) for loop in loops)
    return {"state": "restarting" if is_pending else "healthy", "down": [], "why": None}
