"""The jobs of the state: who owns them, whether the owner may still call, and the end of one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tlsrt.channels.clock import Moment
from tlsrt.config.access import ClientConfig
from tlsrt.errors import CallError, PeerError
from tlsrt.supervisor.authority.model.client_registry import Registry
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.jobs import Job
from tlsrt.supervisor.authority.model.loop_table import LoopEntry
from tlsrt.supervisor.authority.sessions.key_messages import KeyMessages

Row = list[object]


class JobTable:
    """The jobs, over the map that the state keeps, and the judge of their owners."""

    def __init__(self, context: AuthorityContext, registry: Registry, messages: KeyMessages) -> None:
        self._context = context
        self._loops = context.loops
        self._registry = registry
        self._messages = messages
        self._listed: Mapping[str, ClientConfig] = {f"client/{one.name}": one for one in context.config.clients}
        self.by_id = context.state.jobs

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self.by_id.values()))

    def put_back(self, job: Job, moment: Moment) -> None:
        """Keep a job that has changed."""
        self.by_id[job.job] = job
        self._context.writer.keep(moment.now)

    def drop(self, job: Job, why: str, moment: Moment) -> None:
        """End a job at once, with a record; write that by and by."""
        self.by_id.pop(job.job, None)
        self._context.recorder.note("job_ended", job.owner, detail_of(job) | {"why": why}, moment)

    def identity_of(self, subject: str) -> str | None:
        """Return what makes a subject itself, None if it is none of this host any more."""
        enrolled = self._registry.living(subject)
        if enrolled is not None:
            return f"added {enrolled.added}"
        if subject in self._listed:
            return self._listed[subject].fingerprint.hex()
        return "component" if self._loops.has(subject) else None

    def may_put(self, subject: str) -> bool:
        """Tell whether a client may put jobs; Primary holds the sessions of one that uses HTTP, and jobs outlive it."""
        listed = self._listed.get(subject)
        uses_http = self._registry.may_use_http(subject) or (listed is not None and listed.http)
        return self._context.config.door.http_jobs or not uses_http

    def refusal(self, owner: str, target: str, method: str) -> str | None:
        """Return why a call of this owner may not be made, None if it may, to a target that may be away."""
        if self._context.state.is_revoked("subject", owner.encode()):
            return "revoked"
        methods = self._messages.rights(owner, self._context.epochs.serving).get(target, ())
        return None if target in self._loops.expected and (method in methods or "*" in methods) else "policy"

    def answer(
        self, entry: LoopEntry, number: int, error: CallError | None, rows: Sequence[object] | None = None
    ) -> None:
        """Answer a request that a loop has carried."""
        code = error.code if error is not None else ""
        self._context.outgoing.send(
            entry.loop, "job_answer", number, code, [error.message] if error is not None else list(rows or ())
        )  # fmt: skip


def check_place(entry: LoopEntry, component: str) -> None:
    """Raise PeerError for what a loop says of a component that it does not run."""
    if component not in entry.components:
        raise PeerError("not_its_component")


def detail_of(job: Job) -> dict[str, str | int]:
    """Return what every record of a job says."""
    return {"job": job.job.hex(), "target": job.target, "method": job.method}
