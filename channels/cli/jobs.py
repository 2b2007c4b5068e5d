"""`tlsrt jobs`, and the time of `tlsrt call --at`."""

from __future__ import annotations

import argparse

from tlsrt.channels.cli.client import client_of
from tlsrt.command_line.fitted import fitted_table
from tlsrt.command_line.table import Document
from tlsrt.errors import InvalidArgument
from tlsrt.text import printable
from tlsrt.when import shown_time, shown_when

ID_SHOWN = 8  # hex digits of an id
_COLUMNS = ("JOB", "TARGET", "METHOD", "WHEN", "NEXT", "RUNS", "LAST", "OUTCOME")
_LEAST = ("LAST", "WHEN", "RUNS", "METHOD")  # the first goes first where the terminal is narrow


def time_of(arguments: argparse.Namespace) -> str:
    """Return when a call is to be made, empty for now. Raises InvalidArgument."""
    at, after = arguments.at, vars(arguments)["in"]
    if at and after:
        raise InvalidArgument("say --at or --in, and not both")
    if after and after[-1:] not in ("s", "m", "h", "d"):
        raise InvalidArgument(f"cannot read the duration {after!r}: write 90s, 10m, 2h or 7d")
    return str(at or after)


async def jobs(arguments: argparse.Namespace) -> Document:
    """List the jobs of this client, or remove one."""
    what, job, timeout_s = arguments.what or "list", arguments.job, arguments.timeout
    if what not in ("list", "remove") or (what == "remove") != (job is not None):
        raise InvalidArgument("say `jobs`, `jobs list`, or `jobs remove ID`")
    async with client_of(arguments) as client:
        if job is not None:
            return {"removed": await client.remove_job(job, timeout_s=timeout_s)}
        return {"jobs": [dict(entry) for entry in await client.jobs(timeout_s=timeout_s)]}


def job_lines(answer: Document) -> list[str]:
    """Return the table of jobs, and below it which targets did not answer."""
    if "removed" in answer:
        return [f"removed {answer['removed']}"]
    found = [entry for entry in answer["jobs"] if "error" not in entry]
    silent = [entry for entry in answer["jobs"] if "error" in entry]
    lines = fitted_table([_COLUMNS, *(_row(entry) for entry in found)], least=_LEAST) if found else ["no jobs"]
    return [*lines, *(f"{printable(one['target'])} did not answer: {printable(one['error'])}" for one in silent)]


def _row(entry: Document) -> tuple[str, ...]:
    return (
        entry["id"][:ID_SHOWN], entry["target"], entry["method"], shown_when(entry["when"]), shown_time(entry["next"]),
        str(entry["runs"]), shown_time(entry["last"]), entry["outcome"] or "-",
    )  # fmt: skip
