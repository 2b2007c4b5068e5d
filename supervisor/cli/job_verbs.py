"""The verbs of `tlsrt-supervisor jobs`, as data."""

from __future__ import annotations

from tlsrt.command_line.table import WIDE, Argument, Request, Verb, json_flag

ANSWER = json_flag("the same as one JSON document")

JOBS = (
    Verb("list", "list every call that was put off: by whom, when, and how its last run went", (WIDE, ANSWER),
         run="jobs.list_jobs", lines="jobs.job_lines"),
    Verb(
        "remove",
        "remove a job of any owner",
        (Argument(("job",), "the id of a job, or the first digits of it", "ID"), ANSWER),
        request=Request("job_remove", ("job",)),
        lines="jobs.removed_lines",
    ),
)  # fmt: skip
