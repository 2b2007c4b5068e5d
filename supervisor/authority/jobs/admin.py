"""Job administration: the operator's `jobs list`, `show`, `remove`, `pause` and `resume`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_requests import JobIdMessage, JobListMessage
from tlsrt.channels.frames.deferral import JOB_BYTES
from tlsrt.supervisor.authority.jobs.puts import JobPuts
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.jobs import OPERATOR, Job
from tlsrt.supervisor.authority.model.ports import Service, SupervisorHandler
from tlsrt.supervisor.authority.sessions.revocation import stored_code
from tlsrt.supervisor.messages.result_codes import ResultCode

PAGE = 48  # jobs in one answer: with the longest names and times, in four bytes a character, below a packet's cap
_ID = re.compile(rf"[0-9a-f]{{4,{2 * JOB_BYTES}}}")


class JobAdmin(Service):
    """Answers the operator."""

    def __init__(self, context: AuthorityContext, puts: JobPuts) -> None:
        self._context = context
        self._puts = puts

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {
            "job_list": self._list, "job_show": self._show, "job_remove": self._remove,
            "job_pause": self._pause, "job_resume": self._resume,
        }  # fmt: skip

    def _list(self, message: JobListMessage, moment: Moment) -> None:
        """Answer with the jobs whose ids follow one."""
        following = sorted((one for one in self._context.state.jobs.values() if one.job > message.after), key=_id_of)
        rows: list[object] = [_row(one) for one in following[:PAGE]]
        if len(following) > PAGE:
            rows.append(["more"])
        self._context.answer(message.number, ResultCode.DONE, rows)

    def _show(self, message: JobIdMessage, moment: Moment) -> None:
        job = self._found(message)
        if job is not None:
            _, *rest = self._puts.shown(job)
            self._context.answer(message.number, ResultCode.DONE, [_row(job), *rest])

    def _remove(self, message: JobIdMessage, moment: Moment) -> None:
        job = self._found(message)
        if job is not None:
            self._puts.remove(job, OPERATOR, moment, self._then(message.number, job))

    def _pause(self, message: JobIdMessage, moment: Moment) -> None:
        job = self._found(message)
        if job is not None:
            self._puts.pause(job, OPERATOR, moment, self._then(message.number, job))

    def _resume(self, message: JobIdMessage, moment: Moment) -> None:
        job = self._found(message)
        if job is not None:
            self._puts.pause(job, "", moment, self._then(message.number, job))

    def _found(self, message: JobIdMessage) -> Job | None:
        """Return the job that the first digits of an id mean; refuse what means none or several."""
        text = message.job
        if not _ID.fullmatch(text):
            self._refuse(message.number, f'"{text}" is no id: give at least 4 hex digits of one that `jobs list` shows')
            return None
        found = [one for one in self._context.state.jobs.values() if one.job.hex().startswith(text)]
        if len(found) == 1:
            return found[0]
        why = f"the ids of {len(found)} jobs begin with {text}: give more digits" if found else f"no job {text}"
        self._refuse(message.number, why)
        return None

    def _then(self, number: int, job: Job) -> Callable[[bool], None]:
        row: list[object] = [job.job, job.owner, job.target, job.method]
        return lambda is_stored: self._context.answer(number, stored_code(is_stored=is_stored), [row])

    def _refuse(self, number: int, sentence: str) -> None:
        self._context.answer(number, ResultCode.REFUSED, [sentence])


def _id_of(job: Job) -> bytes:
    return job.job


def _row(job: Job) -> list[object]:
    due, outcome = job.shown
    return [job.job, job.owner, job.target, job.method, job.when, job.missed, due, job.run, job.last, outcome]
