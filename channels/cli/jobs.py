"""`tlsrt jobs`, and the time of `tlsrt call --at`, `--in` and `--every`."""

from __future__ import annotations

import argparse

from tlsrt.channels.cli.client import client_of
from tlsrt.command_line.fitted import fitted_table
from tlsrt.command_line.table import Document
from tlsrt.errors import InvalidArgument
from tlsrt.output import to_line
from tlsrt.text import printable
from tlsrt.when import shown_missed, shown_time, shown_when

ID_SHOWN = 8  # hex digits of an id
_DONE = {"remove": "removed", "pause": "paused", "resume": "resumed"}
_COLUMNS = ("JOB", "TARGET", "METHOD", "WHEN", "NEXT", "RUNS", "LAST", "OUTCOME")
_LEAST = ("LAST", "WHEN", "RUNS", "METHOD")  # the first goes first where the terminal is narrow


def time_of(arguments: argparse.Namespace) -> str:
    """Return when a call is to be made, empty for now. Raises InvalidArgument."""
    given = {"--at": arguments.at, "--in": vars(arguments)["in"], "--every": arguments.every}
    said = [word for word, text in given.items() if text]
    if len(said) > 1:
        raise InvalidArgument(f"say one of --at, --in and --every, and not {' and '.join(said)}")
    if not said and arguments.jitter:
        raise InvalidArgument("say --jitter with --at, --in or --every: it is of a job")
    if not said and arguments.keep_result:
        raise InvalidArgument("say --keep-result with --at, --in or --every: it is of a job")
    if given["--in"] and given["--in"][-1:] not in ("s", "m", "h", "d"):
        raise InvalidArgument(f"cannot read the duration {given['--in']!r}: write 90s, 10m, 2h or 7d")
    return f"every {arguments.every}" if arguments.every else str(arguments.at or given["--in"])


async def jobs(arguments: argparse.Namespace) -> Document:
    """List the jobs of this client, or show, remove, pause or resume one."""
    what, job, timeout_s = arguments.what or "list", arguments.job, arguments.timeout
    if what not in ("list", *_DONE, "show") or (what == "list") != (job is None):
        raise InvalidArgument("say `jobs`, `jobs list`, or `jobs show|remove|pause|resume ID`")
    async with client_of(arguments) as client:
        if job is None:
            return {"jobs": [dict(entry) for entry in await client.jobs(timeout_s=timeout_s)]}
        if what == "show":
            return dict(await client.show_job(job, timeout_s=timeout_s))
        change = {"remove": client.remove_job, "pause": client.pause_job, "resume": client.resume_job}[what]
        return {_DONE[what]: await change(job, timeout_s=timeout_s)}


def job_lines(answer: Document) -> list[str]:
    """Return the table of jobs, and below it which targets did not answer; or what was done with one."""
    for done in _DONE.values():
        if done in answer:
            return [f"{done} {answer[done]}"]
    if "upcoming" in answer:
        return shown_lines(answer)
    found = [entry for entry in answer["jobs"] if "error" not in entry]
    silent = [entry for entry in answer["jobs"] if "error" in entry]
    lines = fitted_table([_COLUMNS, *(_row(entry) for entry in found)], least=_LEAST) if found else ["no jobs"]
    return [*lines, *(f"{printable(one['target'])} did not answer: {printable(one['error'])}" for one in silent)]


def shown_lines(answer: Document) -> list[str]:
    """Return all of one job: what it calls and when, its next times, and how its last runs ended."""
    words = [to_line(one) for one in answer["args"]]
    words += [f"{name}={to_line(one)}" for name, one in answer["kwargs"].items()]
    about = {
        "job": answer["id"], "call": " ".join([answer["target"], answer["method"], *words]),
        "when": shown_when(answer["when"]), "missed": shown_missed(answer["missed"]), "runs": str(answer["runs"]),
        "outcome": answer["outcome"] or "-",
    }  # fmt: skip
    if answer["paused_by"]:
        about["paused by"] = answer["paused_by"]
    if "result_run" in answer:
        result = answer.get("result_error") or to_line(answer.get("result"))
        about["result"] = f"{result} (of run {answer['result_run']})"
    upcoming = [shown_time(due) for due in answer["upcoming"]]
    width = max(map(len, (*about, "next")))
    lines = [f"{name:{width}}  {printable(text)}" for name, text in about.items()]
    lines += [f"{'next' if not number else '':{width}}  {due}" for number, due in enumerate(upcoming or ["-"])]
    if answer["history"]:
        rows = [(shown_time(one["began"]), f"{one['took_ms']} ms", one["outcome"]) for one in answer["history"]]
        lines += ["", *fitted_table([("BEGAN", "TOOK", "OUTCOME"), *rows])]
    return lines


def _row(entry: Document) -> tuple[str, ...]:
    return (
        entry["id"][:ID_SHOWN], entry["target"], entry["method"], shown_when(entry["when"]), shown_time(entry["next"]),
        str(entry["runs"]), shown_time(entry["last"]), entry["outcome"] or "-",
    )  # fmt: skip
