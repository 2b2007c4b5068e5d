"""Where the events of a host go, by its configuration and by what standard output is."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tlsrt.supervisor.events.journal import SOCKET, JournalSocket
from tlsrt.supervisor.events.json_lines import JsonLines
from tlsrt.supervisor.events.log_output import LogSink
from tlsrt.supervisor.launch.journal_stream import STANDARD_OUTPUT, is_journal


def sink_of(wanted: str, environment: Mapping[str, str]) -> LogSink | None:
    """Return what takes entries; None for a host whose console is for people."""
    if wanted == "json":
        return JsonLines(STANDARD_OUTPUT)
    is_there = is_journal(STANDARD_OUTPUT, environment) and os.access(SOCKET, os.W_OK)  # a root of its own may lack it
    if wanted == "journal" or (wanted == "auto" and is_there):
        return JournalSocket()
    return None
