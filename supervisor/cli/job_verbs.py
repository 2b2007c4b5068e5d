"""The verbs of `tlsrt-supervisor jobs`, as data."""

from __future__ import annotations

from tlsrt.command_line.table import WIDE, Argument, Request, Verb, json_flag

ANSWER = json_flag("the same as one JSON document")

_JOB = Argument(("job",), "the id of a job, or the first digits of it", "ID")


def _change(name: str, text: str) -> Verb:
    return Verb(name, text, (_JOB, ANSWER), request=Request(f"job_{name}", ("job",)), lines=f"jobs.{name}_lines")


JOBS = (
    Verb("list", "list every call that was put off: by whom, when, and how its last run went", (WIDE, ANSWER),
         run="jobs.list_jobs", lines="jobs.job_lines"),
    Verb("show", "show a job of any owner: its next times, and how its last runs ended", (_JOB, ANSWER),
         run="jobs.show_job", lines="jobs.shown_lines"),
    _change("remove", "remove a job of any owner"),
    _change("pause", "have a job of any owner run no more until an operator resumes it"),
    _change("resume", "have a paused job of any owner go on"),
)  # fmt: skip
