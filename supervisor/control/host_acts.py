"""What people have done through components: a restart, a lock, the release of a subject, the end of a client.

Each is what the operator's command does. The audit log has it, with the names that the authority has found, before it
comes here. A component locks, and cannot unlock: that takes the operator, or a client with a signed challenge.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tlsrt.channels.control.life import RuntimeOutcome
from tlsrt.config.runtime_rights import Act, Right
from tlsrt.config.supervision import PRIMARY
from tlsrt.supervisor.control.lock import LockControl
from tlsrt.supervisor.control.reports import change_document
from tlsrt.supervisor.control.requests import OperatorRequests
from tlsrt.supervisor.control.restart import RestartRequest
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Answer
from tlsrt.supervisor.supervision.loops import Loops

Ended = Callable[[RuntimeOutcome, str], None]  # with why not, or ""
HOST_ACTS = frozenset({Act.RESTART, Act.LOCK, Act.RELEASE, Act.REVOKE})


class HostActs:
    """Does them, and says how each has ended."""

    def __init__(
        self, context: Context, loops: Loops, restart: RestartRequest, lock: LockControl, requests: OperatorRequests
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = loops
        self._restart = restart
        self._lock = lock
        self._requests = requests

    def do(self, right: Right, process: str, subject: str, asker: str, ended: Ended) -> None:
        """Do one for a component in a process; `subject` and `asker` are names that the authority has found."""
        match right.act:
            case Act.RESTART:
                self._do_restart(right.targets[0], process, ended)
            case Act.LOCK:
                reason = f"asked for by {asker}" if asker else "it asked by itself"
                self._lock.engage(reason, right.component, partial(_locked, ended))
            case Act.RELEASE:
                self._requests.ask(partial(_changed, ended), change_document, "release", subject)
            case _:
                name = subject.partition("/")[2]
                self._requests.ask(partial(_changed, ended), change_document, "client_revoke", name)

    def _do_restart(self, address: str, process: str, ended: Ended) -> None:
        components = self._context.current.config.components
        target = next((one.process for one in components if one.address == address), "")
        if not target:
            ended(RuntimeOutcome.MISSING, "")
        elif target in (PRIMARY, process):
            ended(RuntimeOutcome.KEPT, "")
        elif self._loops.restart_policy.is_stopped(target):
            ended(RuntimeOutcome.HELD, "")
        else:
            self._restart.ask({"loop": target}, partial(_restarted, ended))


def _restarted(ended: Ended, answer: Answer) -> None:
    if "unavailable" in answer or "refused" in answer:
        ended(RuntimeOutcome.BUSY, str(answer.get("unavailable") or answer["refused"]))
    else:
        ended(RuntimeOutcome.FAILED if answer.get("failed", True) else RuntimeOutcome.DONE, "")


def _locked(ended: Ended, answer: Answer) -> None:
    ended(RuntimeOutcome.DONE if answer.get("lock") else RuntimeOutcome.FAILED, "")


def _changed(ended: Ended, answer: Answer) -> None:
    if "refused" in answer:
        ended(RuntimeOutcome.UNNAMED, " ".join(answer["refused"]))
    elif "subjects" in answer:
        ended(RuntimeOutcome.DONE, "")
    else:
        ended(RuntimeOutcome.FAILED, " ".join(answer.get("unavailable", [])))
