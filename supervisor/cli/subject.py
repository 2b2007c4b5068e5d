"""`status SUBJECT` and `is-active`: one loop, process or component, in detail or in one word."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from textwrap import wrap
from typing import Any

from tlsrt.command_line.table import Document
from tlsrt.config.schema import Config
from tlsrt.errors import EX_NOT_RUNNING, EX_USAGE, TlsrtError
from tlsrt.supervisor.cli.exchange import Host, ask, connect, host_of
from tlsrt.supervisor.control.client import NotRunning
from tlsrt.supervisor.process.exit_reason import said_by
from tlsrt.text import did_you_mean, duration, printable, size, table

FORMAT = 1  # of the document
RESTARTS_SHOWN = 5
WORDS_SHOWN = 5
LAYERS_WIDTH = 66  # with the titles, 80 columns
_PAST = ("died", "killed", "ended", "hung", "given_up", "kept_down", "waiting")  # events that say how it went


class NoSuchSubject(TlsrtError):
    """The host has no process or component of that name."""

    exit_code = EX_USAGE


def detail(arguments: argparse.Namespace) -> Document:
    """Return what is known of one subject."""
    host = host_of(arguments)
    status = ask(host, "status")
    entry, components = find(status, arguments.subject)
    with connect(host) as client:
        events = list(client.follow("events", since=0, follow=False, kinds=["lifecycle", "health"]))
    past = [
        {"at": one["at"], "event": one["name"], "sentence": one["sentence"]}
        for one in events
        if one.get("subject") == entry["name"] and one.get("name") in _PAST
    ]
    return {
        "format": FORMAT,
        "subject": arguments.subject,
        "uid": _uid_of(entry["pid"]),
        "process": entry,
        "components": components,
        "restarts": past[-RESTARTS_SHOWN:],
        "words": _last_words(host, entry["name"]),
        "grants": _grants(arguments, [one["address"] for one in components]),
        "waits_for": status["supervision"].get("waiting", {}).get(entry["name"], []),
    }


def find(status: Document, subject: str) -> tuple[Document, list[Document]]:
    """Return the process that a subject names or runs in, and the components that are meant. Raises NoSuchSubject."""
    entries = [{**status["authority"], "name": "authority"}, *status["loops"]]
    for entry in entries:
        hosted = [{**one, "address": _address(entry["name"], one)} for one in entry.get("components", ())]
        if entry["name"] == subject:
            return entry, hosted
        if named := [one for one in hosted if one["address"] == subject.replace(".", "/", 1)]:
            return entry, named
    addresses = [_address(loop["name"], one) for loop in status["loops"] for one in loop["components"]]
    hint = did_you_mean(subject, [*(entry["name"] for entry in entries), *addresses])
    raise NoSuchSubject(f"there is no {printable(subject, 60)!r}{hint}")


def detail_lines(answer: Document) -> list[str]:
    """Return the detail as people read it, what matters first."""
    process = answer["process"]
    rows = [("state", _state(answer)), ("process", process["name"])]
    if process["pid"] is not None:
        uid = f", uid {answer['uid']}" if answer["uid"] is not None else ""
        rows.append(("pid", f"{process['pid']}{uid}, up {duration(process['uptime_s'])}"))
    if process["memory_kib"] is not None:
        rows.append(("memory", size(process["memory_kib"] * 1024)))
    rows.append(("restarts", str(process["restarts"])))
    rows += [("", f"{one['at']}  {one['sentence']}") for one in answer["restarts"]]
    if process["last_death"]:
        said = said_by(process["last_death"].get("said") or "")
        rows.append(("last death", f"{process['last_death']['at']}  {process['last_death']['sentence']}{said}"))
    for one in answer["components"]:
        rows.append(("component", f"{one['address']}  {_health(one)}"))
    rows += [("program", _program(one)) for one in process.get("programs", ())]
    rows += [("device", f"{one['name']} ({one['path']}) is {one['state']}") for one in process.get("devices", ())]
    rows += [("grant", f"{one['kind']} {one['what']}{_why(one)}") for one in answer["grants"]]
    sandbox = process["sandbox"]
    waived = f", waived: {', '.join(sandbox['waived'])}" if sandbox["waived"] else ""
    rows.append(("sandbox", f"{len(sandbox['layers'])} layers{waived}"))
    rows += [("", line) for line in wrap(", ".join(sandbox["layers"]), LAYERS_WIDTH, break_on_hyphens=False)]
    if limits := [f"{what} by {how}" for what, how in sandbox.get("limits", {}).items() if how]:
        rows.append(("limits", ", ".join(limits)))
    if process.get("violations"):
        rows.append(("violations", f"{process['violations']}, the last: {process['last_violation']}"))
    lines = table(rows)
    if answer["words"]:
        lines += ["", "last words:", *(f"  {line}" for line in answer["words"])]
    return lines


def is_active(arguments: argparse.Namespace) -> int:
    """Print the state of the host or of one subject; the exit code is 0 if it is active, else 3."""
    state = _state_of(arguments)
    if not arguments.quiet:
        print(state)
    return 0 if state == "active" else EX_NOT_RUNNING


def _state_of(arguments: argparse.Namespace) -> str:
    try:
        status = ask(host_of(arguments), "status")
    except NotRunning:
        return "inactive"
    if not arguments.subject:
        return "deactivating" if status["supervisor"]["stopping"] else "active"
    return str(find(status, arguments.subject)[0]["state"])


def _state(answer: Document) -> str:
    state, waits = answer["process"]["state"], answer["waits_for"]
    if state == "stopped":
        return f"stopped by the operator: `tlsrt-supervisor start {answer['process']['name']}` starts it"
    return f"{state} for {', '.join(waits)}" if waits else str(state)


def _address(process: str, component: Mapping[str, Any]) -> str:
    return f"{process.partition('.')[0]}/{component['name']}"


def _health(component: Mapping[str, Any]) -> str:
    words = [component["health"]]
    if component["fails"]:
        words.append(f"{component['fails']} checks in a row failed")
    if component["ready"] is False:
        words.append("not ready")
    if component["tasks"]:
        words.append(f"{component['tasks']} tasks, restarted {component['task_restarts']} times")
    return ", ".join(words)


def _program(program: Mapping[str, Any]) -> str:
    state = f"does not run; its last end: {program.get('last')}" if program.get("is_down") else "is in order"
    return f"{program.get('name')} {state}"


def _why(grant: Mapping[str, Any]) -> str:
    return f": {grant['why']}" if grant["why"] else ""


def _uid_of(pid: int | None) -> int | None:
    """Return as whom a process runs: /proc/PID/status says it of every process, its owner's file only of some."""
    with suppress(OSError, ValueError), open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Uid:"))
    return None


def _last_words(host: Host, process: str) -> list[str]:
    """Return the last lines of its log; none where this user may not read it."""
    from tlsrt.supervisor.cli.log_subject import Subject
    from tlsrt.supervisor.cli.logs import CannotRead, Tail

    if not isinstance(host, Config):
        return []
    with suppress(CannotRead):
        found = Tail(host.log_dir, process).entries(WORDS_SHOWN, 0.0, Subject((process,)))
        return [line for entry in found[-WORDS_SHOWN:] for line in entry.lines][-WORDS_SHOWN:]
    return []


def _grants(arguments: argparse.Namespace, addresses: Sequence[str]) -> list[Document]:
    """Return what was granted to the components that have a manifest, as `component show` says it."""
    from tlsrt.supervisor.cli.component.listing import show

    found = list[Document]()
    for address in addresses:
        with suppress(TlsrtError):
            found += show(argparse.Namespace(**{**vars(arguments), "address": address}))["asks"]
    return found
