"""How the program of a component has ended that was just added: "runs" is only said of one that goes on running."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tlsrt.config.program_kind import MAIN
from tlsrt.text import printable

SETTLE_S = 0.5  # that it has run by then
BEGIN_S = 5.0  # for its first run to begin
_LOOK_S = 0.05
_TAIL = 1 << 14
_WORDS = 300  # characters
_SAID = re.compile(rf"\b{MAIN} #\d+: (.*\S)")  # a line of the log that the program has written


def end_at_once(status: Callable[[], Mapping[str, Any]], process: str, log: str) -> str:
    """Return how the program of a process has ended and its last words; "" for one that runs.

    `status` asks the host for its status. One that has not begun in BEGIN_S says so.
    """
    limit, began = time.monotonic() + BEGIN_S, 0.0
    while True:
        record = _record(status(), process)
        now = time.monotonic()
        if record is None:
            return ""
        if record["is_down"]:
            last: str = record["last"] or ""
            number, how = last.split(": ", 1) if last.startswith("#") else ("", last)
            ended = f"ended {how}" if how.startswith("with ") else f"ended: {how}"
            return f"its program has {ended}{f' (run {number})' if number else ''}{_words(log)}"
        if record["running"] and not began:
            began = now
        if began and now >= began + SETTLE_S:
            return ""
        if now >= limit:
            return f"its program has not begun after {BEGIN_S:g} s"
        time.sleep(_LOOK_S)


def _record(document: Mapping[str, Any], process: str) -> Mapping[str, Any] | None:
    """Return what is known of the one program that is kept running there."""
    loop = next((one for one in document["loops"] if one["name"] == process), None)
    programs = loop["programs"] if loop is not None else ()
    return next((one for one in programs if one["name"].endswith(MAIN)), None)


def _words(log: str) -> str:
    """Return what it has written last: words of a program, bounded and printable."""
    data = b""
    with suppress(OSError), open(log, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        data = file.read(_TAIL)
    said = [found[1].strip() for line in data.decode(errors="replace").splitlines() if (found := _SAID.search(line))]
    return f'; it says: "{printable(said[-1], _WORDS)}"' if said else ""
