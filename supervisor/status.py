"""Status: values of the supervisor in, one JSON-like document out, and the table that people read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tlsrt.channels.health import Outcome
from tlsrt.config.schema import ComponentConfig, Config
from tlsrt.supervisor.audit.standing import audit_lines
from tlsrt.supervisor.causes import Death
from tlsrt.supervisor.heartbeat import Pulse
from tlsrt.supervisor.locking.lock_report import lock_lines
from tlsrt.supervisor.member import Checked, Member
from tlsrt.supervisor.office import Office
from tlsrt.supervisor.parts import Parts, Sandbox
from tlsrt.supervisor.stuck import Stuck
from tlsrt.supervisor.supervision_status import supervision_lines
from tlsrt.supervisor.violations import Record

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """What the supervisor knows about itself at one moment; times in seconds of the reactor's clock."""

    now: float
    started_at: float
    pid: int
    rootless: bool
    boot_id: str
    stopping: bool
    warnings: Sequence[str]
    limits: str = ""  # which limits are enforced by what
    changing: bool = False  # a reload is being carried out
    parts: Parts | None = None  # in force
    stuck: Callable[[str], Stuck | None] = lambda name: None
    supervision: Document = field(default_factory=Document)  # see `supervision_status.py`
    lock: Document | None = None  # of the whole host, see `locking/lock_watch.py`
    quarantined: Sequence[str] = ()
    audit: Document | None = None  # how the audit log stands, see `audit/anchors.py`


def document(
    view: View,
    config: Config,
    office: Office,
    members: Sequence[Member],
    sandboxes: Mapping[str, Sandbox],
    memory: Mapping[str, int | None],
    pulses: Mapping[str, Pulse | None],
    violations: Mapping[str, Record],
) -> Document:
    """Return the whole status as plain values for json.dumps."""
    return {
        "supervisor": {
            "pid": view.pid,
            "uptime_s": _rounded(view.now - view.started_at),
            "rootless": view.rootless,
            "boot": view.boot_id,
            "stopping": view.stopping,
        },
        "authority": _authority(view, office, sandboxes, memory, pulses.get("authority")),
        "loops": [
            _loop(view, config, office, member, sandboxes, memory, pulses, violations.get(member.name, Record()))
            for member in members
        ],
        "boundary": _boundary_of(view, office, members),
        "keys": office.keys(view.now),
        "door": {"host": config.door.host, "port": config.door.port, "locked": view.lock is not None},
        "lock": view.lock,
        "supervision": view.supervision,
        "limits": view.limits,
        "quarantined": list(view.quarantined),
        "audit": view.audit,
        "warnings": [*view.warnings, *office.warnings],
    }


def _boundary_of(view: View, office: Office, members: Sequence[Member]) -> Document:
    """Return whether all that lives is in one epoch and under the profiles in force."""
    living = [member for member in members if member.is_living]
    behind = [member.name for member in living if _epoch(member) != office.epoch or member.parts is not view.parts]
    return {"epoch": office.epoch, "equal": not behind, "behind": behind, "changing": view.changing}


def _epoch(member: Member) -> int | None:
    return member.beat.epoch if member.beat else member.attested_epoch


def _authority(
    view: View,
    office: Office,
    sandboxes: Mapping[str, Sandbox],
    memory: Mapping[str, int | None],
    pulse: Pulse | None,
) -> Document:
    child = office.child
    return {
        "pid": child.host_pid if child is not None else None,
        "state": office.state,
        "uptime_s": _rounded(view.now - office.spawned_at) if child is not None else None,
        "restarts": office.restarts,
        "lateness_ms": round(office.lateness_us / 1000, 1),
        **_pulse(pulse),
        "memory_kib": memory.get("authority"),
        "sandbox": _sandbox(sandboxes.get("authority", Sandbox())),
        "epoch": office.epoch,
        "unwritten": office.unwritten,
        "stuck": _stuck(view, "authority"),
        "last_death": _death(office.last_death),
    }


def _loop(
    view: View,
    config: Config,
    office: Office,
    member: Member,
    sandboxes: Mapping[str, Sandbox],
    memory: Mapping[str, int | None],
    pulses: Mapping[str, Pulse | None],
    violations: Record,
) -> Document:
    beat = member.beat
    child = member.child
    return {
        "name": member.name,
        "state": str(member.state),
        "pid": child.host_pid if child is not None else None,
        "incarnation": member.incarnation,
        "uptime_s": _rounded(view.now - member.spawned_at) if child is not None else None,
        "restarts": member.restarts,
        "sessions": office.sessions.get(member.name, beat.sessions if beat else 0),
        "frames": {
            "in": beat.frames_in if beat else 0,
            "out": beat.frames_out if beat else 0,
            "refused": beat.refused if beat else 0,
        },
        "lateness_ms": round(beat.lateness_us / 1000, 1) if beat else None,
        "queue": beat.queue_depth if beat else 0,
        **_pulse(pulses.get(member.name)),
        "components": [
            _component(view, member.checked.get(index), component)
            for index, component in enumerate(config.components_of(member.name))
        ],
        "memory_kib": memory.get(member.name),
        "sandbox": _sandbox(sandboxes.get(member.name, Sandbox())),
        "epoch": _epoch(member),
        "stuck": _stuck(view, member.name),
        "last_death": _death(member.last_death),
        "violations": violations.count,
        "last_violation": violations.last,
        "anomaly": office.score(member.name),
    }


def _pulse(pulse: Pulse | None) -> Document:
    """The suspicion has an end here: JSON knows no infinite number."""
    if pulse is None:
        return {"health": None, "phi": None}
    return {"health": str(pulse.health), "phi": round(min(pulse.phi, _PHI_MAX), 2)}


def _stuck(view: View, name: str) -> Document | None:
    stuck = view.stuck(name)
    return {"where": stuck.where, "for_s": _rounded(view.now - stuck.since)} if stuck is not None else None


def _component(view: View, checked: Checked | None, component: ComponentConfig) -> Document:
    """Return what is known of a component; one without a check, or not asked yet, is `unchecked`."""
    return {
        "name": component.name,
        "health": _OUTCOMES[checked.outcome] if checked is not None else "unchecked",
        "fails": checked.fails if checked is not None else 0,
        "checked_s": _rounded(view.now - checked.at) if checked is not None else None,
        "then": component.health.then,
        "after": component.health.fails,
    }


def _death(death: Death | None) -> Document | None:
    if death is None:
        return None
    end = {"code": death.code} if death.signal is None else {"signal": death.signal}
    return {
        "cause": str(death.cause),
        "sentence": death.sentence,
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


_COLUMNS = (
    "LOOP", "STATE", "PID", "UPTIME", "RESTARTS", "SESSIONS", "IN", "OUT", "REFUSED", "LATE", "PHI", "MEMORY",
    "SANDBOX", "PROFILE", "EPOCH",
)  # fmt: skip
_PHI_MAX = 99.0
_OUTCOMES = {Outcome.GOOD: "good", Outcome.FAILED: "failing", Outcome.TIMED_OUT: "silent"}
_LEFT = frozenset({"LOOP", "STATE", "SANDBOX", "PROFILE"})
_DIGEST_SHOWN = 8  # hex digits


def table(status: Document) -> str:
    """Return the status as people read it, without a last newline."""
    authority = status["authority"]
    nothing: Document = {"sessions": None, "frames": {"in": None, "out": None, "refused": None}}
    rows = [_COLUMNS, _row("authority", {**authority, **nothing})]
    rows += [_row(loop["name"], loop) for loop in status["loops"]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return "\n".join([header(status), "", *(_aligned(row, widths) for row in rows), "", *remarks(status)])


def remarks(status: Document) -> list[str]:
    """Return what is to be said below a table: the boundary, deaths, violations, whoever is unwell, warnings."""
    authority = status["authority"]
    lines = [*lock_lines(status["lock"]), _boundary(status["boundary"])]
    if authority["unwritten"]:
        lines += [f"{authority['unwritten']}: what was revoked since then does not survive a restart"]
    lines += audit_lines(status["audit"])
    if keys := _keys(status["keys"]):
        lines.append(keys)
    if status["supervision"]:
        lines += supervision_lines(status["supervision"])
    if status["quarantined"]:
        lines += [f"in quarantine: {', '.join(status['quarantined'])}; `tlsrt-supervisor quarantine list` says why"]
    if status["limits"]:
        lines += [f"limits: {status['limits']}"]
    deaths = [(entry["name"], entry["last_death"]["sentence"]) for entry in status["loops"] if entry["last_death"]]
    if authority["last_death"]:
        deaths.insert(0, ("authority", authority["last_death"]["sentence"]))
    lines += _stuck_lines([{**authority, "name": "authority"}, *status["loops"]])
    lines += _unwell(status["loops"])
    offenders = [entry for entry in status["loops"] if entry["violations"]]
    if offenders:
        lines += ["", *(_offence(entry) for entry in offenders)]
    if deaths:
        lines += ["", *(f"last death of {name}: {reason}" for name, reason in deaths)]
    if status["warnings"]:
        lines += ["", *(f"warning: {warning}" for warning in status["warnings"])]
    return lines


def _stuck_lines(entries: Sequence[Document]) -> list[str]:
    """Return a line for each process that was killed and is there still."""
    found = [(entry["name"], entry["stuck"]["where"], entry["stuck"]["for_s"]) for entry in entries if entry["stuck"]]
    lines = [
        f"{name} is stuck in the kernel ({where}): killed {duration(for_s)} ago, started again as soon as it is gone"
        for name, where, for_s in found
    ]
    return ["", *lines] if lines else []


def _unwell(loops: Sequence[Document]) -> list[str]:
    """Return a line for each component whose last check was not good."""
    found = [(loop["name"], one) for loop in loops for one in loop["components"] if one["fails"]]
    lines = [f"{loop}/{one['name']} is {one['health']}: {_fails(one)}, see the log of {loop}" for loop, one in found]
    return ["", *lines] if lines else []


def _fails(one: Document) -> str:
    times = f"{one['fails']} check{'s' if one['fails'] > 1 else ''} in a row failed"
    return times if one["then"] == "none" else f"{times}, after {one['after']} its loop is started again"


def _boundary(boundary: Document) -> str:
    if boundary["changing"]:
        return f"epoch {boundary['epoch']}: a change of profiles is under way"
    if not boundary["equal"]:
        return f"epoch {boundary['epoch']}, not yet in every loop: {', '.join(boundary['behind'])}"
    return f"epoch {boundary['epoch']} in every loop, under the profiles of the configuration"


def _keys(keys: Document) -> str:
    version, seconds = keys["key_version"], keys["previous_verifies_s"]
    if not version:
        return ""
    before = f"; tokens of version {version - 1} verify for {duration(seconds)} more" if seconds else ""
    return f"master_key version {version}{before}"


def _offence(entry: Document) -> str:
    times = f"{entry['violations']} violation{'s' if entry['violations'] > 1 else ''}"
    return f"{times} of {entry['name']}, anomaly score {entry['anomaly']}, the last: {entry['last_violation']}"


def header(status: Document) -> str:
    """Return the line above a table."""
    supervisor, door = status["supervisor"], status["door"]
    host = f"[{door['host']}]" if ":" in door["host"] else door["host"]
    words = [f"tlsrt  pid {supervisor['pid']}", f"up {duration(supervisor['uptime_s'])}"]
    words.append(f"door tls://{host}:{door['port']}{' (locked)' if door['locked'] else ''}")
    if supervisor["rootless"]:
        words.append("rootless")
    if supervisor["stopping"]:
        words.append("stopping")
    return ", ".join(words)


def _row(name: str, entry: Document) -> tuple[str, ...]:
    frames, sandbox = entry["frames"], entry["sandbox"]
    waived = len(sandbox["waived"])
    layers = f"{len(sandbox['layers'])} layers" + (f", {waived} waived" if waived else "")
    late, memory = entry["lateness_ms"], entry["memory_kib"]
    return (
        name,
        entry["state"],
        _cell(entry["pid"]),
        duration(entry["uptime_s"]) if entry["uptime_s"] is not None else "-",
        _cell(entry["restarts"]),
        _cell(entry["sessions"]),
        _cell(frames["in"]),
        _cell(frames["out"]),
        _cell(frames["refused"]),
        f"{late:.1f} ms" if late is not None else "-",
        f"{entry['phi']:.1f}" if entry["phi"] is not None else "-",
        f"{memory / 1024:.1f} MiB" if memory is not None else "-",
        layers,
        sandbox["profile"][:_DIGEST_SHOWN] or "-",
        _cell(entry["epoch"]),
    )


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.ljust(width) if title in _LEFT else cell.rjust(width)
        for cell, width, title in zip(row, widths, _COLUMNS, strict=True)
    )
    return "  ".join(cells).rstrip()


def duration(seconds: float) -> str:
    """Return a span of time in at most two units, as `3 d 4 h`, `2 min 5 s` or `1.2 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for size, unit, smaller_size, smaller in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller_size} {smaller}"
    return f"{whole} s"
