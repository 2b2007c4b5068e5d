"""The life of one loop over a fake process: who hears of its end, in which order, and that nothing of it stays."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from fakes.children import FakeChildren
from hosts.scripted_supervisor import make_config

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.process.component_listeners import ComponentListeners
from tlsrt.supervisor.process.console import TerminalConsole
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.exit_reason import Cause
from tlsrt.supervisor.supervision import loops as loops_module
from tlsrt.supervisor.supervision.context import Context, Reloadable
from tlsrt.supervisor.supervision.graceful_stop import GracefulStop
from tlsrt.supervisor.supervision.heartbeat import HeartbeatMonitor
from tlsrt.supervisor.supervision.loop import Incarnation, Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.restart_policy import RestartPolicy
from tlsrt.supervisor.supervision.states import LoopEvent


class Recorder:
    """Features and an authority that take down what they hear."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.is_booted, self.epoch = True, 1
        self.channel = self

    def __getattr__(self, name: str) -> Callable[..., bool]:
        def hear(*told: Any) -> bool:
            words = [str(getattr(one, "name", one)) for one in told if isinstance(one, Loop | str | int)]
            self.heard.append(" ".join([name, *words[:2]]))
            return True

        return hear


class Host:
    """Three loops without a host around them."""

    def __init__(self, folder: Path) -> None:
        config = make_config(folder, {})
        config.log_dir.mkdir(parents=True)
        self.children = FakeChildren()
        self.event_loop = EventLoop()
        self.lock = os.open(folder / "lock", os.O_RDONLY | os.O_CREAT)
        self.recorder = cast("Any", Recorder())
        self.output = io.StringIO()
        self.context = Context(
            Reloadable(config, self.children), self.event_loop, TerminalConsole(self.output), self.lock
        )
        monitor = HeartbeatMonitor()
        policy = RestartPolicy(config.supervision, [loop.name for loop in config.loops], lambda: 1.0)
        self.each = [Loop(one, index, os.open(os.devnull, os.O_WRONLY), "") for index, one in enumerate(config.loops)]
        listeners = ComponentListeners(config)
        self.loops = Loops(self.context, self.recorder, self.each, {}, listeners, monitor, policy, self.recorder)

    def activate(self, loop: Loop) -> None:
        """Spawn a loop and say what it says until it serves."""
        self.loops.spawn(loop)
        for record in (("confined", b"", b""), ("sealed",), ("ready",), ("active",)):
            self.children.channels[loop.name].send(*record)
            self.until(lambda: loop.state in (LoopState(record[0]), LoopState.ATTESTED))  # noqa: B023
        self.until(lambda: loop.state is LoopState.ACTIVE)
        self.recorder.heard.clear()

    def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self.event_loop.run_once()

    def close(self) -> None:
        self.children.close()
        for loop in self.each:
            loop.process.close(self.event_loop.forget)
            os.close(loop.log)
        self.event_loop.close()
        os.close(self.lock)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.close()


def test_a_death_is_told_to_the_authority_then_to_other_loops_then_to_features(host: Host) -> None:
    primary, secondary = host.each[:2]
    host.activate(primary)
    host.activate(secondary)
    told = host.children.channels["secondary"]
    while told.receive("supervisor", LoopState.ACTIVE) is not None:
        continue
    os.kill(host.children.processes["primary"].pid, signal.SIGKILL)
    host.until(lambda: primary.state is LoopState.DOWN)
    assert host.recorder.heard == ["gone primary 1", "loop_died primary", "loop_changed primary"]
    assert told.receive("supervisor", LoopState.ACTIVE)[0] == "primary_down"  # type: ignore[index]


@pytest.mark.parametrize("is_stopping", [False, True])
def test_one_that_was_asked_to_end_is_told_to_who_asked_or_to_the_stop_of_the_host(
    host: Host, is_stopping: bool
) -> None:
    third = host.each[2]
    host.activate(host.each[0])
    host.activate(host.each[1])
    host.activate(third)
    GracefulStop(host.context, host.loops, third, lambda loop: host.recorder.then(loop)).begin("a test")
    if is_stopping:
        host.loops.stopping()
    os.kill(host.children.processes["third"].pid, signal.SIGTERM)
    host.until(lambda: third.state is LoopState.DOWN)
    after = ["loop_ended third"] if is_stopping else ["then third", "loop_changed third"]
    assert host.recorder.heard == [f"gone third {third.incarnation}", *after]


def test_nothing_of_an_incarnation_is_left_for_the_next(host: Host) -> None:
    primary = host.each[0]
    host.activate(primary)
    host.children.channels["primary"].send("beat", 1, 2000, 3, 4096, 5, 6, 7, 8, 1)
    host.until(lambda: primary.process.beat is not None)
    first = primary.process
    host.loops.kill(primary, LoopEvent.HUNG, "a test", Cause.HEARTBEAT)
    host.until(lambda: primary.state is LoopState.DOWN)
    assert primary.process is not first and primary.process == Incarnation()
    assert primary.last_death is not None and str(primary.last_death) == "a test"
    host.activate(primary)
    assert (primary.incarnation, primary.restarts, primary.process.beat) == (2, 0, None)


def test_a_wait_for_the_disk_is_told_once_shown_and_over_when_it_is_over(host: Host) -> None:
    secondary = host.each[1]
    host.activate(host.each[0])
    host.activate(secondary)
    channel, waits = host.children.channels["secondary"], host.loops.disk_waits
    for for_ms in (1200, 1700, 2200):
        channel.send("disk_wait", for_ms)
    host.until(lambda: waits.of("secondary") is not None)
    host.until(lambda: waits.of("secondary").since <= host.event_loop.now - 1.2)  # type: ignore[union-attr]
    assert waits.of("third") is None and secondary.state is LoopState.ACTIVE
    channel.send("disk_wait", 0)
    host.until(lambda: waits.of("secondary") is None)
    seen = [event.name.name for event in host.context.events.after(0)]
    assert [name for name in seen if name.startswith("disk")] == ["disk_wait", "disk_answers"]
    output = host.output.getvalue()
    assert "waits for its disk since 1.2 s; it serves what needs no disk" in output
    assert output.count("waits for its disk") == 1 and "its disk answers again, after " in output


def test_a_start_may_take_longer_while_the_disk_is_slow_and_no_longer_than_that(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops_module, "FRESH_S", 0.02)
    secondary = host.each[1]
    host.activate(host.each[0])
    host.loops.spawn(secondary)
    channel = host.children.channels["secondary"]
    for record in (("confined", b"", b""), ("sealed",), ("ready",)):
        channel.send(*record)
        host.until(lambda: secondary.state in (LoopState(record[0]), LoopState.ATTESTED))  # noqa: B023
    host.until(lambda: secondary.process.is_activating)
    channel.send("disk_wait", 4000)
    host.until(lambda: host.loops.disk_waits.of("secondary") is not None)
    now = host.event_loop.now
    host.loops._late(secondary, "not active in 0 s", now + 0.1)
    assert secondary.state is LoopState.READY
    host.until(lambda: secondary.state is LoopState.DOWN)
    death = secondary.last_death
    assert death is not None and death.cause is Cause.DISK and host.event_loop.now >= now + 0.1
    assert death.sentence == "not active in 0 s: it waits for its disk"


def test_a_loop_that_the_kernel_holds_for_its_disk_before_it_beats_is_not_ended_for_being_late(host: Host) -> None:
    third = host.each[2]
    host.loops.spawn(third)
    host.children.disk_waits["third"] = "D in folio_wait_bit_common"
    host.loops._late(third, "not ready in 0 s", host.event_loop.now + 100)
    wait = host.loops.disk_waits.of("third")
    assert third.state is LoopState.SPAWNED and wait is not None and wait.where.startswith("D")
    host.children.disk_waits.clear()
    host.loops.disk_waits.forget("third")
    host.loops._late(third, "not ready in 0 s", host.event_loop.now + 100)
    host.until(lambda: third.state is LoopState.DOWN)
    assert third.last_death is not None and third.last_death.cause is Cause.DEADLINE
