"""Every verb at a terminal of 80 columns, against a host that runs: no line is wider, but for what is one piece."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator

import pytest
from hosts.running_host import RunningHost, running

from tlsrt.command_line.table import Verb
from tlsrt.supervisor.cli.verbs import VERBS

COLUMNS = 80
# The verbs of the table that a host answers which runs and is in use.
ASKED: dict[str, list[list[str]]] = {
    "status": [[], ["third"], ["secondary/store"], ["--check"]], "is-active": [[]],
    "events": [["-n", "40"], ["--timeline"]],
    "explain": [["died"], ["78"]], "reload": [["--dry-run"]], "sessions": [[]], "component list": [[]],
    "component show": [["secondary/store"]], "certificate show": [[]], "client list": [[]], "jobs list": [[]],
    "policy graph": [[]], "honeypot list": [[]], "quarantine list": [[]], "anomalies": [[]], "doctor": [[]],
    "check": [[]], "seal": [["--diff"]], "config show": [[], ["--all"]], "sandbox check": [[]],
    "sandbox show": [["third"]], "audit verify": [[]], "audit key": [[]], "version": [[]], "secret list": [[]],
    "install": [["--dry-run", "--root", "/nowhere"]], "uninstall": [["--dry-run", "--root", "/nowhere"]],
    "honeypot test": [[]], "backup verify": [["/nowhere"]], "restart": [["third"], ["nothing"]], "rotate": [[]],
    "client add": [["phone", "--allow", "secondary/store: get"]], "lock": [["--reason", "a terminal of 80 columns"]],
    "unlock": [[]],
}  # fmt: skip


def leaves(verbs: tuple[Verb, ...] = VERBS, above: str = "") -> Iterator[str]:
    for verb in verbs:
        if verb.verbs:
            yield from leaves(verb.verbs, f"{above}{verb.name} ")
        elif not verb.is_raw and verb.name not in ("help", "completion"):
            yield f"{above}{verb.name}"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request)


def shown(host: RunningHost, *words: str) -> list[str]:
    """Return the lines that a terminal gets, of answer and errors."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    found: list[bytes] = []

    def read() -> None:
        while not found or not found[-1].endswith(b"\0"):
            found.append(os.read(ours, 65536))

    reader = threading.Thread(target=read)
    reader.start()
    subprocess.run(
        host.command(*words), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, cwd=host.base, check=False
    )
    os.write(theirs, b"\0")
    reader.join()
    os.close(ours)
    os.close(theirs)
    text = re.sub(r"\x1b\[[0-9;]*m", "", b"".join(found).decode().rstrip("\0"))
    assert "Traceback" not in text, text
    return text.splitlines()


def test_what_is_asked_is_in_the_table() -> None:
    assert ASKED.keys() <= {*leaves()}


@pytest.mark.parametrize("verb", ASKED)
def test_no_line_of_a_verb_is_wider_than_the_terminal(host: RunningHost, verb: str) -> None:
    for words in ASKED[verb]:
        lines = shown(host, *verb.split(), *words)
        assert lines, words
        for line in lines:
            pieces = re.findall(r"(?:[^\s`]|`[^`]*`|`)+", line)
            is_command = line.lstrip().startswith(("tlsrt ", "tlsrt-supervisor ", "systemctl "))
            assert len(line) <= COLUMNS or len(pieces) == 1 or is_command, f"{verb} {words}: {line}"
