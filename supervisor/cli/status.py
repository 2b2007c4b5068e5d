"""`tlsrt-supervisor status` and `top`: the status of the host, once or followed."""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import sys
import termios
import tty
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tlsrt.command_line.table import Document
from tlsrt.supervisor.cli.certificate import status_lines as acme_lines
from tlsrt.supervisor.cli.exchange import ask, connect, host_of
from tlsrt.supervisor.cli.lock import state_lines
from tlsrt.supervisor.cli.status_table import COLUMNS, SHORT, cell, process_table, summary
from tlsrt.supervisor.control.client import ControlClient
from tlsrt.supervisor.process.exit_reason import said_by
from tlsrt.text import duration, printable, size, table

_HIDE_CURSOR, _SHOW_CURSOR, _CLEAR = "\x1b[?25l", "\x1b[?25h", "\x1b[2J"
_QUIT = (b"q", b"Q", b"")  # and the end of the keyboard
_TOP_COLUMNS = (
    "PROCESS", "STATE", "PID", "UP", "RESTARTS", "CPU", "MEMORY", "WOKEN/S", "IN/S", "OUT/S", "LATE", "QUEUE",
    "SESSIONS", "HEALTH",
)  # fmt: skip
_TOP_RIGHT = frozenset(_TOP_COLUMNS) - {"PROCESS", "STATE", "HEALTH"}


def status(arguments: argparse.Namespace) -> Document | int:
    """Ask for the status, of one subject if one is named, or follow it."""
    if arguments.subject:
        from tlsrt.supervisor.cli.subject import detail

        return detail(arguments)
    if arguments.check:
        from tlsrt.supervisor.cli.condition import check

        return check(arguments)
    if arguments.follow:
        return follow(arguments)
    document = ask(host_of(arguments), "status")
    if arguments.wide and not arguments.json:
        print("\n".join(wide_lines(document)))
        return 0
    return document


def follow(arguments: argparse.Namespace, hint: str = "") -> int:
    """Follow until Ctrl-C, `q` at a terminal, or the end of the supervisor; a terminal is shown the `hint` too."""
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    with connect(host_of(arguments)) as client:
        documents = client.follow("follow_status", interval_s=arguments.interval)
        if arguments.json:
            for document in documents:
                print(json.dumps(document), flush=True)
        elif is_terminal:
            _redraw(client, documents, hint)
        else:
            for document in documents:
                if "dropped" not in document:
                    print("\n".join(top_lines(document)), end="\n\n", flush=True)
    return 0


def _redraw(client: ControlClient, documents: Iterator[dict[str, Any]], hint: str) -> None:
    with _keyboard() as keyboard:
        sys.stdout.write(_HIDE_CURSOR + _CLEAR)
        try:
            for document in documents:
                if "dropped" not in document:
                    size = shutil.get_terminal_size()
                    first, _, *rest = top_lines(document)
                    sys.stdout.write(screen([first, hint, *rest], size.columns, size.lines))
                    sys.stdout.flush()
                if not client.has_line and _is_quit(client, keyboard):
                    return
        finally:
            sys.stdout.write(_SHOW_CURSOR)
            sys.stdout.flush()


def _is_quit(client: ControlClient, keyboard: int | None) -> bool:
    """Wait for the next document or a key; return whether the key ends it."""
    waited = [client.fileno()] + ([keyboard] if keyboard is not None else [])
    while True:
        ready, _, _ = select.select(waited, [], [])
        if keyboard in ready and keyboard is not None and os.read(keyboard, 1) in _QUIT:
            return True
        if client.fileno() in ready:
            return False


@contextmanager
def _keyboard() -> Iterator[int | None]:
    """Give standard input with every key at once, if it is a terminal; Ctrl-C stays what it is."""
    if not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def status_lines(status: Document) -> list[str]:
    """Return the status as people read it: how it is in a line, a table, and remarks."""
    if "subject" in status:
        from tlsrt.supervisor.cli.subject import detail_lines

        return detail_lines(status)
    return _host_lines(status, SHORT)


def wide_lines(status: Document) -> list[str]:
    """Return the same with all columns."""
    return _host_lines(status, COLUMNS)


def _host_lines(status: Document, columns: Sequence[str]) -> list[str]:
    return [header(status), summary(status), *process_table(status, columns), "", *remarks(status)]


_SERVICES = ("helper", "network_helper", "resolver", "metrics", "export", "learner")


def _grant_lines(status: Document) -> list[str]:
    """Return how helpers and resolver are, which devices are not there, and which names lead nowhere."""
    lines = [_service_line(name, status[name]) for name in _SERVICES if status.get(name)]
    lines += [one["problem"] for one in status.get("names", ()) if one["problem"]]
    return lines + [
        f"{one['component']}: device {one['name']} ({one['path']}) is {one['state']}; {one['why'] or 'it comes now'}"
        for loop in status["loops"] for one in loop.get("devices", ()) if one["state"] != "present"
    ]  # fmt: skip


def _service_line(name: str, service: Document) -> str:
    ended = f"; its last end: {service['last_death']['sentence']}" if service["last_death"] else ""
    return f"{name}: {service['state']}, pid {service['pid']}, started again {service['restarts']} times{ended}"


def remarks(status: Document) -> list[str]:
    """Return the lines below a table: lock, epoch, audit log, exits, violations, health, warnings."""
    authority = status["authority"]
    lock = state_lines(status["lock"])
    lines = [*lock, *([""] if lock else []), _boundary(status["boundary"])]
    if authority["unwritten"]:
        lines += [f"{authority['unwritten']}: what was revoked since then does not survive a restart"]
    lines += audit_lines(status["audit"])
    if keys := _keys(status["keys"]):
        lines.append(keys)
    if status["supervision"]:
        lines += supervision_lines(status["supervision"])
    if status["quarantined"]:
        lines += [f"in quarantine: {', '.join(status['quarantined'])}; `tlsrt-supervisor quarantine list` says why"]
    if status["limits"]:
        lines += [f"limits: {status['limits']}"]
    deaths = [(entry["name"], _words(entry["last_death"])) for entry in status["loops"] if entry["last_death"]]
    if authority["last_death"]:
        deaths.insert(0, ("authority", authority["last_death"]["sentence"]))
    lines += _stuck_lines([{**authority, "name": "authority"}, *status["loops"]])
    lines += _disk_lines([{**authority, "name": "authority"}, *status["loops"]])
    lines += _work_lines(status["loops"])
    lines += _grant_lines(status)
    lines += acme_lines(status.get("acme"))
    lines += _program_lines(status["loops"])
    lines += _unwell(status["loops"])
    wishes = [(entry["name"], target) for entry in status["loops"] for target in entry["egress_wanted"]]
    lines += [f"{name} wants {target}, and no egress rule lists it" for name, target in wishes]
    offenders = [entry for entry in status["loops"] if entry["violations"]]
    if offenders:
        lines += ["", *(_offence(entry) for entry in offenders)]
    if deaths:
        lines += ["", *(f"last death of {name}: {reason}" for name, reason in deaths)]
    if status["warnings"]:
        lines += ["", *(f"warning: {warning}" for warning in status["warnings"])]
    return lines


def _words(death: Document) -> str:
    """Return how a process ended, and apart from that what it said of it."""
    return str(death["sentence"]) + said_by(death.get("said") or "")


def _stuck_lines(entries: Sequence[Document]) -> list[str]:
    """Return a line for each process that was killed and is there still."""
    found = [(entry["name"], entry["stuck"]["where"], entry["stuck"]["for_s"]) for entry in entries if entry["stuck"]]
    lines = [
        f"{name} is stuck in the kernel ({where}): killed {duration(for_s)} ago, restarted as soon as it has exited"
        for name, where, for_s in found
    ]
    return ["", *lines] if lines else []


def _disk_lines(entries: Sequence[Document]) -> list[str]:
    """Return a line for each process that waits for its disk."""
    lines = [
        f"{entry['name']} waits for its disk, for {duration(entry['disk_wait']['for_s'])}; "
        + ("its event loop waits too" if entry["disk_wait"]["where"] else "it serves what needs no disk")
        for entry in entries
        if entry["disk_wait"]
    ]
    return ["", *lines] if lines else []


def _work_lines(loops: Sequence[Document]) -> list[str]:
    """Return a line for each process whose threads work."""
    lines = []
    for entry in loops:
        threads = entry["threads"]
        if threads and (threads["running"] or threads["waiting"]):
            given_up = f", {threads['given_up']} of them for no one any more" if threads["given_up"] else ""
            lines.append(
                f"{entry['name']} works in {threads['running']} of {threads['most']} threads{given_up}; "
                f"{threads['waiting']} wait"
            )
    return ["", *lines] if lines else []


def _program_lines(loops: Sequence[Document]) -> list[str]:
    """Return a line for each kept program or worker that is down."""
    found = [(loop["name"], one) for loop in loops for one in loop["programs"] if one["is_down"]]
    lines = [f"{one['name']} does not run; its last end: {one['last']}; see the log of {name}" for name, one in found]
    return ["", *lines] if lines else []


def _unwell(loops: Sequence[Document]) -> list[str]:
    """Return a line for each component whose last check was not good, or that is not ready."""
    found = [(loop["name"], one) for loop in loops for one in loop["components"]]
    lines = [
        f"{_address(process, one)} is {one['health']}: {_fails(one)}, see the log of {process}"
        for process, one in found
        if one["fails"]
    ]
    lines += [
        f"{_address(process, one)} is not ready, see the log of {process}"
        for process, one in found
        if one["ready"] is False
    ]
    return ["", *lines] if lines else []


def _address(process: str, one: Document) -> str:
    return f"{process.partition('.')[0]}/{one['name']}"


def _fails(one: Document) -> str:
    times = f"{one['fails']} check{'s' if one['fails'] > 1 else ''} in a row failed"
    return times if one["then"] == "none" else f"{times}, after {one['after']} its loop is started again"


def _boundary(boundary: Document) -> str:
    if boundary["changing"]:
        return f"epoch {boundary['epoch']}: a change of profiles is under way"
    if not boundary["equal"]:
        return f"epoch {boundary['epoch']}, not yet in every loop: {', '.join(boundary['behind'])}"
    return f"epoch {boundary['epoch']} in every loop, under the profiles of the configuration"


def _keys(keys: Document) -> str:
    version, seconds = keys["key_version"], keys["previous_verifies_s"]
    if not version:
        return ""
    before = f"; tokens of version {version - 1} verify for {duration(seconds)} more" if seconds else ""
    return f"master_key version {version}{before}"


def _offence(entry: Document) -> str:
    times = f"{entry['violations']} violation{'s' if entry['violations'] > 1 else ''}"
    return f"{times} of {entry['name']}, anomaly score {entry['anomaly']}, the last: {entry['last_violation']}"


def header(status: Document) -> str:
    """Return the line above a table."""
    supervisor, door = status["supervisor"], status["door"]
    host = f"[{door['host']}]" if ":" in door["host"] else door["host"]
    words = [f"tlsrt  pid {supervisor['pid']}", f"up {duration(supervisor['uptime_s'])}"]
    words.append(f"door tls://{host}:{door['port']}{' (locked)' if door['locked'] else ''}")
    if supervisor["rootless"]:
        words.append("rootless")
    if supervisor["stopping"]:
        words.append("stopping")
    return ", ".join(words)


def supervision_lines(document: Mapping[str, Any]) -> list[str]:
    """Return a line for each degraded group, and for each loop that waits for another."""
    found = []
    for group in document["groups"]:
        if group["state"] == "degraded":
            of = "" if group["loops"] == group["down"] == [group["name"]] else f" of group {group['name']}"
            again = f"`tlsrt-supervisor restart {group['down'][0]}` tries again"
            found.append(f"degraded: {', '.join(group['down'])}{of} stays down: {group['why']}; {again}")
    for loop in document.get("stopped", ()):
        found.append(f"{loop} is stopped by the operator: `tlsrt-supervisor start {loop}` starts it")
    for loop, others in document["waiting"].items():
        found.append(f"{loop} waits for {', '.join(others) or 'what it depends on'}")
    return found


def audit_lines(audit: Document | None) -> list[str]:
    """Return the state of the audit log; nothing before the authority has reported it."""
    if audit is None:
        return []
    used = f"{size(audit['bytes'])} of {size(audit['keep_bytes'])}"
    head = audit["head"]
    signed = f"signed up to {head['sequence']} {head['age_s']:.0f} s ago" if head else "no signed head yet"
    lines = [f"audit log: file {audit['file']}, sequence {audit['sequence']}, {signed}, {used}"]
    if audit["dropped"]:
        lines.append(f"{audit['dropped']} records were dropped, for which there was no room: the log says how many")
    if audit["problem"]:
        lines.append(f"{printable(audit['problem'])}; until then no session is opened, no reload is taken")
    return lines


def top_lines(status: Document) -> list[str]:
    """Return the whole picture, a line each, without anything that steers a terminal."""
    supervisor = {**status["supervisor"], "state": "stopping" if status["supervisor"]["stopping"] else "active"}
    rows = [_TOP_COLUMNS, _top_row("supervisor", supervisor), _top_row("authority", status["authority"])]
    rows += [_top_row(loop["name"], loop) for loop in status["loops"]]
    lines = [header(status), "", *table(rows, _TOP_RIGHT), "", *remarks(status)]
    return [printable(line) for line in lines]


def screen(lines: Sequence[str], columns: int, rows: int) -> str:
    """Return the text that redraws a terminal of that size (ECMA-48: CUP, EL, ED)."""
    shown = [line[: max(1, columns)] for line in lines[: max(1, rows - 1)]]
    return "\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in shown) + "\x1b[J"


def _top_row(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    usage = entry.get("usage") or {}
    has_frames = "frames" in entry
    memory, late = entry.get("memory_kib"), entry.get("lateness_ms")
    return (
        name,
        str(entry["state"]),
        cell(entry["pid"]),
        duration(entry["uptime_s"]) if entry["uptime_s"] is not None else "-",
        cell(entry.get("restarts")),
        f"{usage['cpu_percent']:.1f} %" if usage else "-",
        size(memory * 1024) if memory is not None else "-",
        _rate(usage.get("woken_s")),
        _rate(usage.get("frames_in_s") if has_frames else None),
        _rate(usage.get("frames_out_s") if has_frames else None),
        f"{late:.1f} ms" if late is not None else "-",
        cell(entry.get("queue")),
        cell(entry.get("sessions")),
        cell(entry.get("health")),
    )


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
