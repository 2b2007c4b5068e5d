"""The supervisor's side of the export process: room for alarms, words about bad collectors, and changes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tlsrt.channels.control.export import ConnectMessage, DroppedMessage, TroubleMessage
from tlsrt.channels.control.life import LoopState
from tlsrt.config.collectors import OtlpConfig, SyslogConfig, TracesConfig
from tlsrt.config.log import LogConfig
from tlsrt.config.supervision import RestartConfig
from tlsrt.errors import PeerError
from tlsrt.sandbox.seccomp.name_pins import NamePins
from tlsrt.supervisor.events.log_entry import ALARM, ERROR, LogEntry
from tlsrt.supervisor.supervision import export_process as module
from tlsrt.supervisor.supervision.service_process import ServiceProcess

PLACE = "192.0.2.7:6514"
NAMED = SyslogConfig(address="logs.test", within=(ip_network("127.0.0.0/8"),))


class Process(module.ExportProcess):
    """One whose messages and events are kept for the test; no process is behind it."""

    def __init__(self, syslog: SyslogConfig) -> None:
        self.said: list[tuple[object, ...]] = []
        self.events: list[tuple[object, ...]] = []
        self.later: list[Callable[[], None]] = []
        self.kills: list[str] = []
        self.is_hung = False
        self.asked_again: list[str] = []
        self.pins = NamePins()
        self.current: Any = SimpleNamespace(config=None, children=SimpleNamespace(pins=self.pins))
        self.configure(syslog)
        context: Any = SimpleNamespace(
            current=self.current, chance=lambda: 0.0,
            event_loop=SimpleNamespace(call_later=lambda _, action: self.later.append(action), now=0.0),
            events=SimpleNamespace(emit=lambda *words, **_: self.events.append(words), listeners=[]),
            console=SimpleNamespace(warning=lambda *_: None),
        )  # fmt: skip
        loops: Any = SimpleNamespace(all=())
        super().__init__(context, loops, SimpleNamespace(ask_again=self.asked_again.append), "host")

    def configure(
        self, syslog: SyslogConfig | None = None, otlp: OtlpConfig | None = None, traces: TracesConfig | None = None
    ) -> None:
        """Put a configuration in force, as a reload does."""
        log, traces = LogConfig(syslog=syslog or SyslogConfig(), otlp=otlp or OtlpConfig()), traces or TracesConfig()
        self.current.config = SimpleNamespace(
            supervision=SimpleNamespace(restart=RestartConfig()), log=log, traces=traces,
            collectors=(*log.collectors, *traces.collectors),
        )  # fmt: skip

    @property
    def is_attested(self) -> bool:
        return True

    def look(self) -> None:
        """No process is to be started."""

    def reload(self) -> None:
        before, self.later = self.later, []
        self._hear_event(SimpleNamespace(name=SimpleNamespace(name="reloaded")))  # type: ignore[arg-type]
        self.run_later()
        self.later += before

    def run_later(self) -> None:
        later, self.later = self.later, []
        for action in later:
            action()

    def _put(self, name: str, *fields: int | str, descriptors: Sequence[int] = ()) -> None:
        if self.is_hung:
            raise PeerError("hung")
        self.said.append((name, *fields))

    def kill(self, reason: str, cause: object = None) -> None:
        assert self.is_hung, reason
        self.kills.append(reason)
        self.lost()


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    monkeypatch.setattr(ServiceProcess, "_ready", lambda self: None)
    made = Process(SyslogConfig(address=PLACE, ca=tmp_path / "none.crt"))
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


def test_a_collector_whose_files_cannot_be_used_is_an_event(process: Process) -> None:
    process._ready()
    assert process.events == []  # a reload is an event itself: who hears of it says nothing before it is over
    process.run_later()
    assert process.events == [("collector_lost", "export", f"syslog {PLACE}: its files cannot be used")]
    assert [one[0] for one in process.said] == ["host", "collector_gone", "entries"]


def test_what_is_for_one_whose_files_cannot_be_used_is_kept_until_it_is_gone(process: Process, tmp_path: Path) -> None:
    process.configure(traces=TracesConfig(endpoint="http://127.0.0.1"))
    process._spans["third"] = process._writer.dup()  # type: ignore[union-attr]
    process.reload()
    process.said.clear()
    bad = TracesConfig(endpoint="https://127.0.0.1", name="a.test", ca=tmp_path / "none.crt")
    for traces in (bad, TracesConfig(endpoint="http://127.0.0.1"), bad, None):
        process.configure(SyslogConfig(address=PLACE), traces=traces)
        process.reload()
    said = [one[:2] for one in process.said if one != ("collector", 0)]
    assert [one for one in process.said if one[0] == "collector_gone"] == [
        ("collector_gone", 2, 1), ("collector_gone", 2, 1), ("collector_gone", 2, 0)
    ]  # fmt: skip
    assert ("spans", "third") not in said and said.count(("collector", 2)) == 1


def test_it_is_not_started_before_what_a_reload_has_brought_is_there(process: Process) -> None:
    process.configure()
    process.reload()
    assert not process.is_needed(process.current.config)
    process.configure(SyslogConfig(address=PLACE))
    assert not process.is_needed(process.current.config)  # an epoch may begin before a reload is over
    process.reload()
    assert process.is_needed(process.current.config)
    process._ready()
    assert process.said[-1] == ("entries",)


def test_what_was_on_the_way_to_one_that_is_gone_is_for_no_other(process: Process) -> None:
    process.write(LogEntry(1, ALARM, "third: locked", "locked"))
    process.configure()
    process.reload()
    process.configure(otlp=OtlpConfig(endpoint="http://127.0.0.1"))
    process.reload()
    assert process._reader is not None
    with pytest.raises(BlockingIOError):
        process._reader.recv(1)


def test_one_that_does_not_read_is_ended_after_the_reload(process: Process) -> None:
    process.configure(SyslogConfig(address=PLACE), OtlpConfig(endpoint="http://127.0.0.1"))
    process.reload()
    process.is_hung = True
    process.configure(traces=TracesConfig(endpoint="http://127.0.0.1"))  # two are gone
    process._hear_event(SimpleNamespace(name=SimpleNamespace(name="reloaded")))  # type: ignore[arg-type]
    assert process.kills == []
    process.run_later()
    assert process.kills == ["does not read its channel: hung"]


def test_no_socket_for_entries_ends_nothing(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(24, "Too many open files")

    process.configure()
    process.reload()
    with monkeypatch.context() as patch:
        patch.setattr(module, "_packet_pair", refuse)
        process.configure(SyslogConfig(address=PLACE))
        process.reload()
    assert not process.is_needed(process.current.config)
    process.reload()
    assert process.is_needed(process.current.config)


def test_no_way_for_the_last_socket_disturbs_nothing(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(address: str, port: int) -> int:
        raise ConnectionRefusedError

    monkeypatch.setattr(module, "connecting_socket", refused)
    process.configure(SyslogConfig(address=PLACE))
    process.reload()
    process.said.clear()
    process._hand_over(0, "connected")
    process._hand_over(0, "last")
    assert process.said == [("unreachable", 0)]


def test_a_reload_tells_what_has_changed_and_no_more(process: Process) -> None:
    process.configure(SyslogConfig(address=PLACE), OtlpConfig(endpoint="http://127.0.0.1"))
    process.reload()
    assert [one[:4] for one in process.said] == [
        ("collector", 0, "syslog", PLACE), ("collector", 1, "otlp logs", "127.0.0.1:4318")
    ]  # fmt: skip
    process.said.clear()
    process.reload()
    assert process.said == []
    process.configure(otlp=OtlpConfig(endpoint="http://127.0.0.1:99"))
    process.reload()
    assert process.said == [
        ("collector_gone", 0, 0), ("collector", 1, "otlp logs", "127.0.0.1:99", "/v1/logs", "")
    ]  # fmt: skip


def test_what_crosses_a_reload_on_its_way_is_no_offence(process: Process) -> None:
    process.configure(otlp=OtlpConfig(endpoint="http://127.0.0.1"))
    process.reload()
    process.take("connect", ConnectMessage(1, 0), [])
    process.configure(traces=TracesConfig(endpoint="http://127.0.0.1"))
    process.reload()  # and what was due for the connection comes now
    process.run_later()
    for name, message in (
        ("connect", ConnectMessage(1, 1)), ("trouble", TroubleMessage(1, 1)), ("dropped", DroppedMessage(0, 7))
    ):  # fmt: skip
        process.take(name, message, [])
    assert [one[0] for one in process.said] == ["collector", "collector_gone", "collector"] and process.events == []
    with pytest.raises(PeerError, match="no_such_collector"):
        process.take("connect", ConnectMessage(3, 0), [])
    with pytest.raises(PeerError, match="flood"):
        many_words(process)


def many_words(process: Process) -> None:
    for _ in range(100):
        process.take("connect", ConnectMessage(0, 0), [])


def test_an_answer_about_a_name_leads_to_the_named_port_of_what_is_listed(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[tuple[str, int]] = []

    def refused(address: str, port: int) -> int:
        reached.append((address, port))
        raise ConnectionRefusedError

    monkeypatch.setattr(module, "connecting_socket", refused)
    process.configure(NAMED)
    process.reload()
    process.take("connect", ConnectMessage(0, 0), [])
    process.run_later()
    assert reached == [] and process.later  # the resolver has not been asked yet
    process.pins.set("logs.test", [bytes((127, 0, 0, 2)), bytes((127, 0, 0, 1)), bytes((169, 254, 169, 254))])
    process.pins.settled.add("logs.test")
    process.run_later()
    assert reached == [("127.0.0.1", 6514)] and process.asked_again == []
    for _ in range(2):  # another address each time that one was of no use
        process.take("connect", ConnectMessage(0, 1), [])
        process.run_later()
    assert reached[1:] == [("127.0.0.2", 6514), ("127.0.0.1", 6514)] and process.asked_again == ["logs.test"] * 2
    process.pins.set("logs.test", [bytes((169, 254, 169, 254)), bytes((8, 8, 8, 8))])
    process.take("connect", ConnectMessage(0, 1), [])
    process.run_later()
    assert len(reached) == 3 and process.said[-1] == ("unreachable", 0)


def test_spans_are_said_as_the_configuration_has_it_now(process: Process) -> None:
    told: list[tuple[object, ...]] = []
    loop: Any = SimpleNamespace(name="third", state=LoopState.ACTIVE, is_living=True)
    process._loops = SimpleNamespace(  # type: ignore[assignment]
        all=[loop], tell=lambda loop, *words, descriptors: told.append((loop.name, *words))
    )
    process.loop_active(loop)
    assert told == []
    process.configure(traces=TracesConfig(endpoint="http://127.0.0.1", ratio=0.25, most_per_s=1.5))
    process.reload()
    process.reload()
    assert told == [("third", "spans", 250_000_000, 1500)]
    assert process.said[-1] == ("spans", "third") and process.said[-2][0] == "collector"
    process.configure(traces=TracesConfig(endpoint="http://127.0.0.1", ratio=0.5))
    process.reload()
    assert told[1:] == [("third", "spans", 500_000_000, 10_000)]
    process._ready()
    assert process.said[-2] == ("spans", "third")  # of the next process, too
    process.configure()
    process.reload()
    assert process._spans == {} and len(told) == 2
