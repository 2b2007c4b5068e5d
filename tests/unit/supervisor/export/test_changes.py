"""What becomes of what is for a collector whose files cannot be used, and of what was said of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tlsrt.channels.control.export import EXPORT, CollectorGoneMessage, CollectorMessage, Trouble, TroubleMessage
from tlsrt.channels.control.seqpacket import ControlChannel, control_pair
from tlsrt.config.collectors import CollectorKind
from tlsrt.supervisor.export.main import Export
from tlsrt.supervisor.messages.exported_entry import ExportedEntry
from tlsrt.supervisor.process.memfd import file_in_memory

SYSLOG, TRACES = 0, 2


def entry(message: str) -> ExportedEntry:
    return ExportedEntry(1, 3, message, "", "third", ())


class Stage:
    """The process without its loop, and the supervisor's end of its channel."""

    def __init__(self) -> None:
        ours, theirs = control_pair()
        self.supervisor = ControlChannel(ours, EXPORT)
        self.export = Export(theirs)

    def add(self, number: int, kind: str, name: str = "") -> None:
        files = [file_in_memory(-1, 1) for _ in range(3)]
        self.export._add(CollectorMessage(number, kind, "192.0.2.1:1", "", name), files)

    def gone(self, number: int, *, is_configured: bool) -> None:
        self.export._forget(CollectorGoneMessage(number, int(is_configured)))

    def waiting(self, number: int) -> str:
        return b"".join(self.export._backlogs[number].take(1 << 20, 99)).decode()

    def close(self) -> None:
        self.export._spans.close()
        self.export._epoll.close()
        self.export._supervisor.close()
        self.supervisor.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


@pytest.mark.parametrize("is_missing", [True, False])
def test_what_waits_and_what_comes_is_kept_until_its_files_can_be_used(stage: Stage, *, is_missing: bool) -> None:
    stage.add(SYSLOG, "syslog")
    stage.export._take(entry("before"))
    if is_missing:
        stage.gone(SYSLOG, is_configured=True)
    else:
        stage.add(SYSLOG, "syslog", "collector.test")  # a CA that is empty
    stage.export._take(entry("meanwhile"))
    stage.add(SYSLOG, "syslog")
    stage.export._take(entry("after"))
    waiting = stage.waiting(SYSLOG)
    assert waiting.index("before") < waiting.index("meanwhile") < waiting.index("after")


def test_one_that_was_never_right_has_what_comes_kept_too_and_one_that_is_gone_nothing(stage: Stage) -> None:
    stage.gone(SYSLOG, is_configured=True)
    stage.export._take(entry("early"))
    stage.gone(SYSLOG, is_configured=False)
    stage.add(SYSLOG, "syslog")
    assert stage.waiting(SYSLOG) == ""
    stage.gone(SYSLOG, is_configured=True)
    stage.export._take(entry("early"))
    assert "early" in stage.waiting(SYSLOG)


def test_processes_go_on_saying_spans_while_their_collector_has_no_files(stage: Stage) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        stage.add(TRACES, str(CollectorKind.OTLP_TRACES))
        stage.export._spans.add("third", theirs.detach())
        stage.gone(TRACES, is_configured=True)
        assert not stage.export._spans.is_idle
        stage.export._take_span(b"span")
        stage.export._leave_out(3)
        assert stage.waiting(TRACES) == "span" and stage.export._backlogs[TRACES].take_dropped() == 3
        stage.gone(TRACES, is_configured=False)
        assert stage.export._spans.is_idle


@pytest.mark.parametrize("is_missing", [True, False])
def test_the_end_of_a_trouble_with_files_is_told(stage: Stage, *, is_missing: bool) -> None:
    if is_missing:
        stage.gone(SYSLOG, is_configured=True)  # which the supervisor has told
    else:
        stage.add(SYSLOG, "syslog", "collector.test")
        assert stage.supervisor.receive("export", "sealed") == ("trouble", TroubleMessage(SYSLOG, Trouble.TLS), [])
    stage.add(SYSLOG, "syslog")
    sender = stage.export._senders[SYSLOG][1]
    sender._good()
    sender.look()
    assert stage.supervisor.receive("export", "sealed") == ("trouble", TroubleMessage(SYSLOG, Trouble.NONE), [])
