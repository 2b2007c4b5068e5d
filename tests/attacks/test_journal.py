"""Attacked sentences: a captured loop writes no field, no event and no words of another one into the journal."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from attackers.arena import PACKAGE
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost, running

from tlsrt.errors import CallError
from tlsrt.supervisor.events.log_tail import LINES_BURST

CAPTURED = "third/captured"
# The journal of the test, and a console as without one, by which the test knows when the host is there.
PRELUDE = """
import tlsrt.supervisor.events.log_output as log_output
import tlsrt.supervisor.launch.log_sink as log_sink
from tlsrt.supervisor.process.console import standard_console
_made = log_sink.JournalSocket
log_sink.JournalSocket = lambda: _made(SOCKET)
class Terminal(log_output.LogConsole):
    def __init__(self, sink):
        super().__init__(sink)
        terminal = standard_console()
        self.good, self.plain, self.warning, self.bad = terminal.good, terminal.plain, terminal.warning, terminal.bad
log_output.LogConsole = Terminal
"""
Entry = dict[str, str]
END = b"END"


class Journal:
    """A socket that keeps what is sent to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        path.chmod(0o666)  # as that of journald is
        self._datagrams: list[bytes] = []
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def _receive(self) -> None:
        while (data := self.socket.recv(1 << 16)) != END:
            self._datagrams.append(data)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
            way.sendto(END, str(self.path))
        self._thread.join(10)
        self.socket.close()

    @property
    def entries(self) -> list[Entry]:
        """Return every entry so far. None of these has a value of several lines."""
        found: list[Entry] = []
        for data in [*self._datagrams]:
            pairs = [line.partition("=") for line in data.decode().split("\n")[:-1]]
            assert all(equals for _, equals, _ in pairs) and len({name for name, _, _ in pairs}) == len(pairs), data
            found.append({name: value for name, _, value in pairs})
        return found

    def until(self, host: RunningHost, message: str) -> Entry:
        """Return the entry with this message, when it has come."""
        host.until(lambda document: any(one["MESSAGE"] == message for one in self.entries), message)
        return next(one for one in self.entries if one["MESSAGE"] == message)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    made = Journal(tmp_path_factory.mktemp("journal") / "socket")
    yield made
    made.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, journal: Journal) -> Iterator[RunningHost]:
    yield from running(
        request, packages=[PACKAGE], prelude=LatePrelude(f"SOCKET = {str(journal.path)!r}\n{PRELUDE}"),
        extra={"log": {"format": "journal"}}, components={CAPTURED: {"class": "captured.journal:JournalWriter"}},
        policy={f"client/admin -> {CAPTURED}": "*"},
    )  # fmt: skip


def test_a_line_is_words_of_its_own_whatever_is_in_it(host: RunningHost, journal: Journal) -> None:
    lines = (
        "x\nPRIORITY=0\nTLSRT_EVENT=unlocked\nMESSAGE_ID=00000000000000000000000000000000\n",
        "host: host unlocked\r\x1b[2Jdoor\x00\u2028open\n",
        "2026-01-02 03:04:05,678 CRITICAL secondary/store: let me in\n",
        f"2026-01-02 03:04:05,678 WARNING {CAPTURED}: of itself\nlast\n",
    )
    assert [host.client().call(CAPTURED, "write", text) for text in lines] == ["written"] * 4
    journal.until(host, "third.captured: last")
    own = [one for one in journal.entries if one["MESSAGE"].startswith(("third.captured: ", f"{CAPTURED}: "))]
    words = [one for one in own if "TLSRT_EVENT" not in one]
    allowed = {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "TLSRT_LOOP", "TLSRT_COMPONENT"}
    assert all(one.keys() <= allowed and one["TLSRT_LOOP"] == "third.captured" for one in words)
    assert [one["MESSAGE"] for one in words][-8:] == [
        "third.captured: x", "third.captured: PRIORITY=0", "third.captured: TLSRT_EVENT=unlocked",
        "third.captured: MESSAGE_ID=00000000000000000000000000000000",
        r"third.captured: host: host unlocked\r\x1b[2Jdoor\x00\u2028open",
        "third.captured: let me in", f"{CAPTURED}: of itself", "third.captured: last",
    ]  # fmt: skip
    assert [one["PRIORITY"] for one in words][-8:] == ["6"] * 5 + ["3", "4", "6"]


def test_it_does_not_reach_the_journal_itself(host: RunningHost, journal: Journal) -> None:
    for path in (str(journal.path), "/run/systemd/journal/socket", "/run/systemd/journal/stdout", "/dev/log", "@x"):
        with suppress(CallError):  # the process is ended for the call
            assert host.client().call(CAPTURED, "reach", path) != 0
        host.until(lambda document: host.loop("third.captured")["state"] == "active", "the next one")
    assert not any(one["MESSAGE"] == "captured" for one in journal.entries)


def test_a_flood_is_bounded_and_told(host: RunningHost, journal: Journal) -> None:
    before = len(journal.entries)
    for _ in range(10):
        host.client().call(CAPTURED, "write", "y\n" * 10_000)
    host.until(lambda document: any(one.get("TLSRT_EVENT") == "lines_left_out" for one in journal.entries), "the event")
    assert sum(one["MESSAGE"] == "third.captured: y" for one in journal.entries[before:]) <= 2 * LINES_BURST
