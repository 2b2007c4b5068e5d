"""Subjects that a process names by the SHA-256 of their names: found among those that there are. Pure.

The supervisor reads no text of a component, so a name comes as a digest; what is none of a known name is refused.
Who is said to ask for an act has a session now and may call the component that says so, for a release or a revocation
its method of that name: a captured one can blame, and use, only those.
"""

from __future__ import annotations

from collections.abc import Iterable

from tlsrt.channels.control.life import RuntimeOutcome
from tlsrt.config.access import ANY, DESCRIBE
from tlsrt.config.runtime_rights import Act, digest_of_subject
from tlsrt.supervisor.authority.detection.service import DetectionService
from tlsrt.supervisor.authority.model.client_registry import Registry
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.sessions.key_messages import KeyMessages


class NotNamed(Exception):
    """An act that is not to be done, with the outcome that says why."""

    def __init__(self, outcome: RuntimeOutcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class NamedSubjects:
    """All that may be named."""

    def __init__(
        self, context: AuthorityContext, registry: Registry, messages: KeyMessages, detection: DetectionService
    ) -> None:  # fmt: skip
        self._context = context
        self._registry = registry
        self._messages = messages
        self._detection = detection

    def of_act(self, component: str, act: str, subject: bytes, asker: bytes) -> tuple[str, str]:
        """Return the names of the subject of an act and of who asks for it, "" for none. Raises NotNamed."""
        must_be_asked = act in (Act.RELEASE, Act.REVOKE)
        by = self._asker(component, asker, act if must_be_asked else "") if asker or must_be_asked else ""
        if act == Act.REVOKE:
            return self._revocable(subject, by), by
        if act == Act.RELEASE:
            return self._releasable(component, subject, by), by
        return "", by

    def _asker(self, component: str, digest: bytes, method: str) -> str:
        """Return who asks; with a method, who may call that one."""
        working = (session.subject for session in self._context.sessions if session.is_working)
        name = _found(digest, working)
        rights = self._messages.rights(name, self._context.epochs.serving).get(component, ()) if name else ()
        may = {ANY, method} & {*rights} if method else {*rights} - {DESCRIBE}
        if not may:
            raise NotNamed(RuntimeOutcome.UNASKED)
        return name

    def _revocable(self, digest: bytes, asker: str) -> str:
        name = _found(digest, (client.subject for client in self._registry))
        client = self._registry.living(name) if name else None
        listed = (f"client/{one.name}" for one in self._context.config.clients)
        if _found(digest, listed) or (client is not None and (client.may or name == asker)):
            raise NotNamed(RuntimeOutcome.KEPT)
        if client is None:
            raise NotNamed(RuntimeOutcome.UNNAMED)
        return name

    def _releasable(self, component: str, digest: bytes, asker: str) -> str:
        process = next((entry.loop for entry in self._context.loops if component in entry.components), "")
        if _found(digest, (asker, component, process)):
            raise NotNamed(RuntimeOutcome.KEPT)
        active = (applied.source.value for applied in self._detection.scoring.active)
        name = _found(digest, (*self._detection.actions.quarantined, *active))
        if not name:
            raise NotNamed(RuntimeOutcome.UNNAMED)
        return name


def _found(digest: bytes, names: Iterable[str]) -> str:
    return next((name for name in names if name and digest_of_subject(name) == digest), "")
