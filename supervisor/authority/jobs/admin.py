"""Job administration: the operator's `jobs list` and `jobs remove`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_requests import JobListMessage, JobRemoveMessage
from tlsrt.channels.frames.deferral import JOB_BYTES
from tlsrt.supervisor.authority.jobs.puts import JobPuts
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.jobs import Job
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
        return {"job_list": self._list, "job_remove": self._remove}

    def _list(self, message: JobListMessage, moment: Moment) -> None:
        """Answer with the jobs whose ids follow one."""
        following = sorted((one for one in self._context.state.jobs.values() if one.job > message.after), key=_id_of)
        rows: list[object] = [
            [one.job, one.owner, one.target, one.method, one.when, one.missed, one.due, one.run, one.last, one.outcome]
            for one in following[:PAGE]
        ]
        if len(following) > PAGE:
            rows.append(["more"])
        self._context.answer(message.number, ResultCode.DONE, rows)

    def _remove(self, message: JobRemoveMessage, moment: Moment) -> None:
        number, text = message
        if not _ID.fullmatch(text):
            self._refuse(number, f'"{text}" is no id: give at least 4 hex digits of one that `jobs list` shows')
            return
        found = [one for one in self._context.state.jobs.values() if one.job.hex().startswith(text)]
        if len(found) != 1:
            why = f"the ids of {len(found)} jobs begin with {text}: give more digits" if found else f"no job {text}"
            self._refuse(number, why)
            return
        row: list[object] = [found[0].job, found[0].owner, found[0].target, found[0].method]
        self._puts.remove(
            found[0], "an operator", moment,
            lambda is_stored: self._context.answer(number, stored_code(is_stored=is_stored), [row]),
        )  # fmt: skip

    def _refuse(self, number: int, sentence: str) -> None:
        self._context.answer(number, ResultCode.REFUSED, [sentence])


def _id_of(job: Job) -> bytes:
    return job.job
