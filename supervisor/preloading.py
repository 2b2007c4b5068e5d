"""What a second authority needs, imported by the supervisor once all is up, so that it starts in milliseconds.

All of it at once would hold up the supervisor's loop for 0.1 s of CPU, and so a revocation for as long as a busy
machine takes for that (0.6 s was seen). So it comes in steps, and whatever is waiting is done between two of them. The
names are in an order in which each brings few others along; what is not named comes with the one that needs it. A test
counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

AUTHORITY_RUNTIME = "tlsrt.supervisor.authority"
PAUSE_S = 0.01  # between two steps: for everybody else
STEPS = (
    "email.charset", "email.utils", "email.encoders",  # which cryptography.x509 is made with
    "cryptography.hazmat.primitives.asymmetric.ed448", "cryptography.hazmat.primitives.asymmetric.mldsa",
    "cryptography.hazmat.primitives.asymmetric.types",
    "cryptography.x509",
    "tlsrt.supervisor.audit.retention", "tlsrt.supervisor.audit.writer", "tlsrt.supervisor.audit.hand",
    "tlsrt.supervisor.audit.recorder", "tlsrt.supervisor.enrolment.join_codes",
    "tlsrt.supervisor.enrolment.registry", "tlsrt.supervisor.authority_state",
    "tlsrt.supervisor.revocation_list", "tlsrt.supervisor.door_files", "tlsrt.supervisor.boot_check",
    "tlsrt.supervisor.audit.office", "tlsrt.supervisor.session_manager", "tlsrt.supervisor.key_ring",
    "tlsrt.supervisor.epochs", "tlsrt.supervisor.roster", "tlsrt.supervisor.briefing",
    "tlsrt.supervisor.client_certificates", "tlsrt.supervisor.client_service", "tlsrt.supervisor.epoch_changes",
    "tlsrt.supervisor.learning.model", "tlsrt.supervisor.learning.desk", "tlsrt.supervisor.locking.client_locks",
    "tlsrt.supervisor.locking.lock_desk", "tlsrt.supervisor.revoking", "tlsrt.supervisor.trust_service",
    "tlsrt.supervisor.deception.touches", "tlsrt.supervisor.enrolment.certifier", "tlsrt.supervisor.enrolment.desk",
    "tlsrt.supervisor.enrolment.renewing", "tlsrt.supervisor.response.actions", "tlsrt.supervisor.response.desk",
    "tlsrt.supervisor.response.judge", "tlsrt.supervisor.response.reports", "tlsrt.supervisor.response.service",
    "tlsrt.supervisor.host_changes", "tlsrt.supervisor.trust_line",
    AUTHORITY_RUNTIME,
)  # fmt: skip


class Preloading:
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
        except ModuleNotFoundError as error:
            if name.startswith("tlsrt.") or error.name != name:  # another version of a library may not have it
                self._left = iter(())
        except Exception:  # code that has changed on the disk: nothing of it is in use here
            self._left = iter(())
        return True
