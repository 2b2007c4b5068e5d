"""One entry of the log of a host: an event, or a line that a process has written. Pure.

Where it goes is `journal.py` or `json_lines.py`. Words of a process are one printable line, and the message of such an
entry begins with the name of the process: nothing that it writes becomes a field, an event, or words of another one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tlsrt.supervisor.events.event import Field, HostEvent
from tlsrt.supervisor.events.event_kinds import Severity
from tlsrt.text import printable

# syslog(3), and a word for JSON
ALARM, ERROR, WARNING, INFO, DEBUG = 2, 3, 4, 6, 7
WORDS: Mapping[int, str] = {ALARM: "alarm", ERROR: "error", WARNING: "warning", INFO: "info", DEBUG: "debug"}
_OF_SEVERITY = {Severity.INFO: INFO, Severity.WARNING: WARNING, Severity.ALARM: ALARM}
_OF_LEVEL = {"DEBUG": DEBUG, "INFO": INFO, "WARNING": WARNING, "ERROR": ERROR, "CRITICAL": ERROR}
_LINE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8},[0-9]{3} ([A-Z]{1,8}) ([\w./-]{1,80}): (.*)", re.DOTALL)
_RUN = re.compile(r"([a-z][a-z0-9_]{0,30}) #[0-9]{1,20}: ")  # what the runtime writes before a line of a program
IDENTIFIER = "tlsrt"
LINE_MOST = 2048  # characters of a line of a process


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What is written; empty texts are left out."""

    at_ms: int  # wall time
    priority: int
    message: str
    event: str = ""
    message_id: str = ""
    subject: str = ""
    loop: str = ""  # the process, by the name that status shows
    component: str = ""  # LOOP/NAME
    sequence: int = 0  # of an event
    fields: Mapping[str, Field] = field(default_factory=dict[str, Field])
    place: tuple[str, int, str] | None = None  # file, line and function that emitted the event
    program: str = ""  # of the component: whose run wrote the line, or what the event is about


def entry_of_event(
    event: HostEvent, processes: Mapping[str, str], place: tuple[str, int, str] | None = None,
    programs: Mapping[str, tuple[str, str]] = MappingProxyType({}),
) -> LogEntry:  # fmt: skip
    """Return the entry of an event.

    `processes` are those of the components, by address; `programs` are a component and a name, by what a program is
    called.
    """
    subject = event.subject
    component, program = programs.get(subject, (subject if subject in processes else "", ""))
    loop = processes.get(component, subject if subject in processes.values() else "")
    return LogEntry(
        event.wall_ms, _OF_SEVERITY[event.name.severity], f"{subject}: {event.sentence}", event.name.name,
        event.name.message_id, subject, loop, component, event.seq, event.fields, place, program,
    )  # fmt: skip


def entry_of_line_untrusted(
    line: bytes, process: str, components: Collection[str], at_ms: int, programs: Collection[tuple[str, str]] = ()
) -> LogEntry:  # fmt: skip
    """Return the entry of a line that a process has written. Cannot fail; a line of no known form is all message.

    `programs` are pairs of a component and a name. The process may be captured: it can choose the words, which of its
    programs wrote them, and how grave it says that they are, but no field besides.
    """
    text = line.decode(errors="replace")
    priority, component, program = INFO, "", ""
    if (found := _LINE.fullmatch(text)) is not None and found[1] in _OF_LEVEL:
        priority, text = _OF_LEVEL[found[1]], found[3]
        component = found[2] if found[2] in components else ""
        if (run := _RUN.match(text)) is not None and (component, run[1]) in programs:
            program = run[1]
    words = printable(text, LINE_MOST)
    return LogEntry(
        at_ms, priority, f"{component or process}: {words}", loop=process, component=component, program=program
    )
