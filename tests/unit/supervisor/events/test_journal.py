"""Entries for the journal: no value becomes a field, nothing waits, and a large entry comes as a file."""

from __future__ import annotations

import array
import os
import re
import resource
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.programs import need

from tlsrt.supervisor.events.catalog import EVENTS
from tlsrt.supervisor.events.event import HostEvent
from tlsrt.supervisor.events.event_kinds import Severity
from tlsrt.supervisor.events.journal import JournalSocket, encode_fields, fields_of
from tlsrt.supervisor.events.journal_catalog import FILE, catalog_text
from tlsrt.supervisor.events.log_entry import ALARM, ERROR, INFO, LogEntry, entry_of_event, entry_of_line_untrusted
from tlsrt.supervisor.process.memfd import sealed_memory

NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True)
PROCESSES = {"third/kettle": "third", "primary/kernel": "primary.facts"}
PROGRAMS = {"third.kettle/main": ("third/kettle", "main")}
COMPONENTS = ["third/kettle"]


def decode(data: bytes) -> list[tuple[str, bytes]]:
    """Read fields as journald does: JOURNAL_NATIVE_PROTOCOL."""
    found: list[tuple[str, bytes]] = []
    while data:
        head, _, rest = data.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if equals:
            found.append((name.decode(), value))
            data = rest
        else:
            (length,) = struct.unpack("<Q", rest[:8])
            found.append((name.decode(), rest[8 : 8 + length]))
            assert rest[8 + length : 9 + length] == b"\n"
            data = rest[9 + length :]
    return found


@given(st.lists(st.tuples(NAMES, st.binary(max_size=80) | st.just(b"a\nPRIORITY=0\nMESSAGE=b"))))
def test_what_goes_in_comes_out_and_nothing_else(fields: list[tuple[str, bytes]]) -> None:
    assert decode(encode_fields(fields)) == fields


@pytest.mark.parametrize("name", ["", "_PID", "message", "A B", "A=B", "A\nB", "A" * 65, "1A"])
def test_a_name_that_journald_would_not_take_is_left_out(name: str) -> None:
    assert encode_fields([(name, "x"), ("MESSAGE", "y")]) == b"MESSAGE=y\n"


def event(name: str = "died", subject: str = "third", **fields: object) -> HostEvent:
    kept = {key: value for key, value in fields.items() if isinstance(value, str | int)}
    return HostEvent(7, 1_000, 5, "boot", EVENTS[name], subject, "signal 9", kept)


def test_an_event_has_its_fields_and_where_it_came_from() -> None:
    place = ("loops.py", 12, "Loops.spawn")
    found = dict(fields_of(entry_of_event(event("violation", "third/kettle", pid=12, event="x"), PROCESSES, place)))
    assert found == {
        "MESSAGE": "third/kettle: forbidden system call: signal 9", "PRIORITY": "2", "SYSLOG_IDENTIFIER": "tlsrt",
        "MESSAGE_ID": EVENTS["violation"].message_id, "TLSRT_EVENT": "violation", "TLSRT_SUBJECT": "third/kettle",
        "TLSRT_LOOP": "third", "TLSRT_COMPONENT": "third/kettle", "TLSRT_SEQUENCE": "7", "TLSRT_PID": "12",
        "TLSRT_EVENT_FIELD": "x", "CODE_FILE": "loops.py", "CODE_LINE": "12", "CODE_FUNC": "Loops.spawn",
    }  # fmt: skip
    of_process, of_client = (entry_of_event(event(subject=one), PROCESSES) for one in ("primary.facts", "client/a"))
    assert (of_process.loop, of_process.component, of_client.loop) == ("primary.facts", "", "")
    failed = entry_of_event(event("program_failed", "third.kettle/main"), PROCESSES, None, PROGRAMS)
    assert (failed.loop, failed.component, failed.program) == ("third", "third/kettle", "main")
    assert dict(fields_of(failed))["TLSRT_PROGRAM"] == "main"


@given(st.binary(max_size=300))
def test_whatever_a_process_writes_is_one_printable_message_of_its_own(line: bytes) -> None:
    entry = entry_of_line_untrusted(line, "third", COMPONENTS, 0)
    assert entry.message.startswith(("third: ", "third/kettle: ")) and entry.message.isprintable()
    assert (entry.event, entry.message_id, entry.subject, entry.loop, entry.fields) == ("", "", "", "third", {})
    assert entry.priority > ALARM and entry.component in ("", "third/kettle")


def test_a_line_of_a_log_has_its_level_and_its_component() -> None:
    stamp = b"2026-01-02 03:04:05,678 "
    known = entry_of_line_untrusted(stamp + b"ERROR third/kettle: too hot", "third", COMPONENTS, 0)
    assert (known.priority, known.component, known.message) == (ERROR, "third/kettle", "third/kettle: too hot")
    other = entry_of_line_untrusted(stamp + b"CRITICAL secondary/vault: let me in", "third", COMPONENTS, 0)
    assert (other.priority, other.component, other.message) == (ERROR, "", "third: let me in")
    bare = entry_of_line_untrusted(stamp + b"ALERT third/kettle: x", "third", COMPONENTS, 0)
    assert (bare.priority, bare.component) == (INFO, "")


# The socket


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as made:
        made.bind(str(tmp_path / "socket"))
        yield made


def test_an_entry_is_a_datagram_and_a_large_one_a_sealed_file(journal: socket.socket, tmp_path: Path) -> None:
    way = JournalSocket(str(tmp_path / "socket"))
    assert way.write(LogEntry(0, INFO, "hello"))
    assert decode(journal.recv(4096)) == [("MESSAGE", b"hello"), ("PRIORITY", b"6"), ("SYSLOG_IDENTIFIER", b"tlsrt")]
    large = "x" * (1 << 20)
    assert way.write(LogEntry(0, INFO, large))
    data, rights, _, _ = journal.recvmsg(4096, socket.CMSG_SPACE(4))
    descriptor = array.array("i", rights[0][2])[0]
    try:
        assert data == b"" and decode(os.pread(descriptor, 2 << 20, 0))[0] == ("MESSAGE", large.encode())
        with pytest.raises(PermissionError):
            os.write(descriptor, b"y")
    finally:
        os.close(descriptor)


def test_a_journal_that_is_full_or_gone_is_not_waited_for(journal: socket.socket, tmp_path: Path) -> None:
    way = JournalSocket(str(tmp_path / "socket"))
    while way.write(LogEntry(0, INFO, "x")):
        continue
    journal.recv(4096)
    assert way.write(LogEntry(0, INFO, "y"))
    journal.close()
    assert not way.write(LogEntry(0, INFO, "z"))


def test_a_host_without_descriptors_loses_an_entry_and_goes_on(journal: socket.socket, tmp_path: Path) -> None:
    way = JournalSocket(str(tmp_path / "socket"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        is_taken = way.write(LogEntry(0, INFO, "x"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not is_taken and way.write(LogEntry(0, INFO, "y"))


def test_a_file_that_cannot_be_written_whole_is_closed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = os.listdir("/proc/self/fd")
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))  # SIGXFSZ is ignored in Python
    try:
        with pytest.raises(OSError, match="File too large"):
            sealed_memory(b"x" * 100, "journal")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir("/proc/self/fd") == before


# The catalog


def test_every_event_says_its_cause_and_what_matters_says_what_to_do() -> None:
    for one in EVENTS.values():
        assert one.cause and not one.cause.endswith(".") and not one.remedy.endswith("."), one.name
        assert one.remedy or one.severity is Severity.INFO, one.name
    ids = [one.message_id for one in EVENTS.values()]
    assert len(set(ids)) == len(ids) and all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    assert EVENTS["locked"].message_id == "b04a963bd6965aafa0c4bdcaa60551ba", "an id is for ever: others search for it"


def test_journalctl_takes_the_catalog(tmp_path: Path) -> None:
    need("journalctl")
    folder = tmp_path / "usr/lib/systemd/catalog"
    folder.mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    (folder / FILE).write_text(catalog_text())
    command = [shutil.which("journalctl") or "", "--root", str(tmp_path)]
    subprocess.run([*command, "--update-catalog"], check=True, capture_output=True, timeout=30)
    listed = subprocess.run([*command, "--list-catalog"], check=True, capture_output=True, text=True, timeout=30).stdout
    for one in EVENTS.values():
        assert f"{one.message_id} tlsrt: @TLSRT_SUBJECT@: {one.sentence}" in listed
