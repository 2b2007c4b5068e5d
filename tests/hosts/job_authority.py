"""An authority with loops that have joined and one client, for tests of jobs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fakes.authority_service import PRIMARY, THIRD, FakeAuthorityService

from hosts.authority_host import ADMIN, Client
from tlsrt.channels.session.job_proof import job_data, prove_job
from tlsrt.supervisor.authority.jobs.puts import JobPuts
from tlsrt.supervisor.authority.jobs.runs import JobRuns
from tlsrt.supervisor.authority.model.jobs import Job
from tlsrt.supervisor.authority.model.state import AuthorityState

STORE, CONSOLE = "secondary/store", "third/console"
CALL = b"\x93\x90\x80\xc0"


class Host:
    """An authority with loops that have joined, and one client. It says what its loops say, also what is forged."""

    def __init__(self, folder: Path, store: int, *, secondary: int = 2, **given: Any) -> None:
        self.stage = FakeAuthorityService(folder, store, **given)
        self.stage.join(PRIMARY, ("secondary", secondary), THIRD)
        self.puts, self.runner = self.stage.the(JobPuts), self.stage.the(JobRuns)
        self._number = 0
        self.stage.open(1, Client(ADMIN))

    @property
    def state(self) -> AuthorityState:
        return self.stage.state

    def session(self, subject: str = "client/admin") -> Any:
        return next(one for one in self.stage.context.sessions if one.subject == subject)

    def fields(
        self, when: str = "+60", *, target: str = STORE, method: str = "put", job: bytes | None = None,
        missed: str = "once", subject: str = "client/admin", call: bytes = CALL,
        key: bytes = b"",
    ) -> dict[str, Any]:  # fmt: skip
        """Return the fields of an honest `job_put`."""
        session, epoch = self.session(subject), self.stage.context.epochs.serving
        job, deadline = os.urandom(8) if job is None else job, self.stage.now + 30_000
        self._number += 1
        data = job_data(session.session_id, target, method, deadline, job, when, missed, call, key)
        proof_key = self.puts._messages.proof_key(session, epoch)
        return {
            "number": self._number, "component": target, "session": session.session_id, "method": method, "job": job,
            "when": when, "missed": missed, "call": call, "deadline": deadline, "epoch": epoch,
            "proof_number": self._number, "proof": prove_job(AESGCM(proof_key), self._number, data), "key": key,
        }  # fmt: skip

    def say(self, fields: dict[str, Any], loop: str = "secondary") -> tuple[str, list[Any]]:
        """Say a `job_put`; return the code and the rows of the answer."""
        self.stage.hear(loop, "job_put", *fields.values())
        return self.answer(loop)

    def answer(self, loop: str = "secondary") -> tuple[str, list[Any]]:
        _, code, rows = self.stage.of(loop, "job_answer")[-1]
        return code, rows

    def put(self, when: str = "+60", **given: Any) -> bytes:
        fields = self.fields(when, **given)
        assert self.say(fields, given.get("target", STORE).partition("/")[0]) == ("", [])
        job: bytes = fields["job"]
        return job

    def runs(self, loop: str = "secondary") -> list[tuple[Any, ...]]:
        return self.stage.of(loop, "job_run")

    def over(
        self, run: tuple[Any, ...], outcome: str = "done", loop: str = "secondary", *, result: bytes = b""
    ) -> None:
        component, job, number, *_ = run
        self.stage.hear(loop, "job_over", component, job, number, outcome, result)

    def the(self, job: bytes) -> Job:
        return self.state.jobs[job]

    def reasons(self) -> list[str]:
        waiting: list[list[Any]] = list(self.stage.notes._waiting)
        return [fields["reason"] for name, _, _, fields in waiting if name == "job_refused"]
