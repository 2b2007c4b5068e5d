"""The supervisor's side of the export process: room for alarms on the way, and what is told of a bad collector."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tlsrt.config.collectors import Collector, CollectorKind
from tlsrt.config.supervision import RestartConfig
from tlsrt.supervisor.events.log_entry import ALARM, ERROR, LogEntry
from tlsrt.supervisor.supervision import export_process as module
from tlsrt.supervisor.supervision.service_process import ServiceProcess

PLACE = "192.0.2.7:6514"


class Process(module.ExportProcess):
    """One whose messages and events are kept for the test; no process is behind it."""

    def __init__(self, ca: Path | None = None) -> None:
        self.said: list[tuple[object, ...]] = []
        self.events: list[tuple[object, ...]] = []
        current = SimpleNamespace(
            config=SimpleNamespace(supervision=SimpleNamespace(restart=RestartConfig())), children=None
        )
        context: Any = SimpleNamespace(
            current=current, chance=lambda: 0.0,
            event_loop=SimpleNamespace(call_later=lambda *_: None, now=0.0),
            events=SimpleNamespace(emit=lambda *words, **_: self.events.append(words)),
            console=SimpleNamespace(warning=lambda *_: None),
        )  # fmt: skip
        loops: Any = None
        collector = Collector(CollectorKind.SYSLOG, "192.0.2.7", 6514, "", "192.0.2.7", ca)
        super().__init__(context, loops, [collector], "host")

    def _send(self, name: str, *fields: int | str, descriptors: object = ()) -> None:
        self.said.append((name, *fields))


@pytest.fixture
def process(tmp_path: Path) -> Any:
    made = Process(tmp_path / "none.crt")
    yield made
    made.stopped(0)


def test_lines_of_processes_leave_room_for_alarms_on_the_way(process: Process) -> None:
    line = LogEntry(1, ERROR, "third: " + "\ufffd" * 2000, loop="third")
    while not process._lost:
        process.write(line)
    alarm = LogEntry(1, ALARM, "third: locked", "locked")
    for _ in range(20):
        process.write(alarm)
    assert process._lost == 1


def test_a_collector_whose_files_cannot_be_used_is_an_event(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServiceProcess, "_ready", lambda self: None)
    process._ready()
    assert process.events == [("collector_lost", "export", f"syslog {PLACE}: its files cannot be used")]
    assert [one[0] for one in process.said] == ["host", "entries"]


def test_no_way_for_the_last_socket_disturbs_nothing(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(collector: Collector) -> int:
        raise ConnectionRefusedError

    monkeypatch.setattr(module, "connecting_socket", refused)
    process._hand_over(0, "connected")
    process._hand_over(0, "last")
    assert process.said == [("unreachable", 0)]
