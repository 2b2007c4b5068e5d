"""`tlsrt-supervisor jobs`."""

from __future__ import annotations

import argparse

from tlsrt.command_line.fitted import fitted_table
from tlsrt.command_line.table import Document
from tlsrt.supervisor.cli.exchange import ask, config_of
from tlsrt.when import shown_missed, shown_time, shown_when

ID_SHOWN = 8  # hex digits of an id
_FIELDS = ("id", "owner", "target", "method", "when", "missed", "next", "runs", "last", "outcome")
_COLUMNS = ("JOB", "OWNER", "TARGET", "METHOD", "WHEN", "NEXT", "RUNS", "LAST", "OUTCOME")
_LEAST = ("LAST", "OWNER", "WHEN", "RUNS", "METHOD")  # the first goes first where the terminal is narrow


def list_jobs(arguments: argparse.Namespace) -> Document:
    """Ask for all jobs, a page after the other."""
    config = config_of(arguments)
    jobs: list[Document] = []
    after, is_more = "", True
    while is_more:
        rows = ask(config, "job_list", after=after)["rows"]
        jobs += [dict(zip(_FIELDS, row, strict=True)) for row in rows if row != ["more"]]
        is_more = ["more"] in rows and bool(jobs)
        after = jobs[-1]["id"] if jobs else ""
    return {"jobs": sorted(jobs, key=lambda job: (not job["next"], job["next"]))}


def job_lines(answer: Document) -> list[str]:
    rows = [
        (
            job["id"][:ID_SHOWN], job["owner"], job["target"], job["method"],
            shown_when(job["when"]), shown_time(job["next"]), str(job["runs"]),
            shown_time(job["last"]), job["outcome"] or "-",
        )
        for job in answer["jobs"]
    ]  # fmt: skip
    return fitted_table([_COLUMNS, *rows], least=_LEAST) if rows else ["no jobs"]


def show_job(arguments: argparse.Namespace) -> Document:
    """Ask for all of one job."""
    rows = ask(config_of(arguments), "job_show", job=arguments.job)["rows"]
    row, upcoming, history, paused_by = rows
    ends = [{"began": began, "took_ms": took, "outcome": outcome} for began, took, outcome in history]
    return {
        **dict(zip(_FIELDS, row, strict=True)), "upcoming": upcoming, "history": ends, "paused_by": paused_by,
    }  # fmt: skip


def shown_lines(answer: Document) -> list[str]:
    about = {
        "job": answer["id"], "owner": answer["owner"], "call": f"{answer['target']} {answer['method']}",
        "when": shown_when(answer["when"]), "missed": shown_missed(answer["missed"]), "runs": str(answer["runs"]),
        "outcome": answer["outcome"] or "-", "paused by": answer["paused_by"] or "-",
        "next": ", ".join(map(shown_time, answer["upcoming"])) or "-",
    }  # fmt: skip
    rows = [(shown_time(one["began"]), f"{one['took_ms']} ms", one["outcome"]) for one in answer["history"]]
    return [
        *(f"{name:9}  {text}" for name, text in about.items()),
        *(["", *fitted_table([("BEGAN", "TOOK", "OUTCOME"), *rows])] if rows else []),
    ]


def remove_lines(answer: Document) -> list[str]:
    return _done("removed", answer)


def pause_lines(answer: Document) -> list[str]:
    return _done("paused", answer)


def resume_lines(answer: Document) -> list[str]:
    return _done("resumed", answer)


def _done(what: str, answer: Document) -> list[str]:
    return [f"{what} {job}: {method} of {target}, put by {owner}" for job, owner, target, method in answer["rows"]]
