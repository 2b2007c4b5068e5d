"""What the supervisor imports for others: for all processes, for services that are on, and for a second authority.

What a second authority needs is imported once all is up, so that it starts in milliseconds. All of it at once would
hold up the supervisor's loop for 0.1 s of CPU, and so a revocation for as long as a busy machine takes for that (0.6 s
was seen). So it comes in steps, and whatever is waiting is done between two of them. The names are in an order in which
each brings few others along; what is not named comes with the one that needs it. A test counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

AUTHORITY_RUNTIME = "tlsrt.supervisor.authority.main"
COMMON = (  # what the authority and the loops import besides the supervisor's own; they bring what both need
    "cryptography.x509",
    "tlsrt.channels.control.telemetry",
    "tlsrt.channels.session.enrolment",
    "tlsrt.channels.session.grant",
    "tlsrt.channels.session.heard_sessions",
    "tlsrt.channels.session.job_proof",
    "tlsrt.channels.session.job_result",
    "tlsrt.channels.session.lock_statement",
    "tlsrt.budget",
    "tlsrt.cron",
    "tlsrt.when",
)
# Services of tlsrt that are off until they are added, and import no library but those that all loops have: what others
# have written for a few processes is executed there alone, confined.
SERVICES = frozenset({
    "tlsrt.loops.external.configuration",
    "tlsrt.loops.external.firewall",
    "tlsrt.loops.secondary.backup",
    "tlsrt.loops.secondary.config",
    "tlsrt.loops.secondary.secrets",
    "tlsrt.loops.secondary.updates",
    "tlsrt.loops.third.camera",
    "tlsrt.loops.third.files",
    "tlsrt.loops.third.input",
    "tlsrt.loops.third.notify",
    "tlsrt.loops.third.serial",
    "tlsrt.loops.third.sound",
})  # fmt: skip
PAUSE_S = 0.01  # between two steps: for everybody else
STEPS = (
    # what cryptography.x509 is made with
    "email.charset",
    "email.utils",
    "email.encoders",
    "cryptography.hazmat.primitives.asymmetric.ed448",
    "cryptography.hazmat.primitives.asymmetric.mldsa",
    "cryptography.hazmat.primitives.asymmetric.types",
    "cryptography.x509",
    "tlsrt.supervisor.audit.retention",
    "tlsrt.supervisor.audit.writer",
    "tlsrt.supervisor.audit.group_commit",
    "tlsrt.supervisor.authority.model.jobs",
    "tlsrt.supervisor.authority.model.join_codes",
    "tlsrt.supervisor.authority.model.client_registry",
    "tlsrt.supervisor.authority.model.state",
    "tlsrt.supervisor.authority.model.crl",
    "tlsrt.supervisor.authority.door.files",
    "tlsrt.supervisor.authority.boot",
    "tlsrt.supervisor.authority.audit_log",
    "tlsrt.supervisor.authority.sessions.manager",
    "tlsrt.supervisor.authority.keys.key_ring",
    "tlsrt.supervisor.authority.keys.epochs",
    "tlsrt.supervisor.authority.model.loop_table",
    "tlsrt.supervisor.authority.sessions.key_messages",
    "tlsrt.supervisor.authority.clients.certificates",
    "tlsrt.supervisor.authority.clients.sessions",
    "tlsrt.supervisor.authority.epoch_change",
    "tlsrt.supervisor.authority.detection.anomaly_detector",
    "tlsrt.supervisor.authority.lock.client_requests",
    "tlsrt.supervisor.authority.lock.host_lock",
    "tlsrt.supervisor.authority.sessions.revocation",
    "tlsrt.supervisor.authority.provisioning",
    "tlsrt.supervisor.authority.detection.decoys",
    "tlsrt.supervisor.authority.clients.issuing",
    "tlsrt.supervisor.authority.clients.admin",
    "tlsrt.supervisor.authority.clients.renewal",
    "tlsrt.supervisor.authority.detection.actions",
    "tlsrt.supervisor.authority.detection.admin",
    "tlsrt.supervisor.authority.detection.scoring",
    "tlsrt.supervisor.authority.detection.gate_reports",
    "tlsrt.supervisor.authority.detection.service",
    "tlsrt.supervisor.authority.jobs.runs",
    "tlsrt.supervisor.authority.jobs.admin",
    "tlsrt.supervisor.authority.reload",
    "tlsrt.supervisor.authority.trust_connection",
    AUTHORITY_RUNTIME,
)


class Preload:
    """The steps that are left. `load` imports one; whatever it raises ends them, and the next authority tells of it."""

    def __init__(self, load: Callable[[str], None]) -> None:
        self._left: Iterator[str] = iter(STEPS)
        self._load = load

    def step(self) -> bool:
        """Import the next; tell whether there may be more."""
        name = next(self._left, None)
        if name is None:
            return False
        try:
            self._load(name)
        except Exception as error:
            cause = error.__cause__ or error  # what imports says it in its own words, of this cause
            is_absent = isinstance(cause, ModuleNotFoundError) and cause.name == name
            if name.startswith("tlsrt.") or not is_absent:  # another version of a library may not have it
                self._left = iter(())  # code that has changed on the disk: nothing of it is in use here
        return True
