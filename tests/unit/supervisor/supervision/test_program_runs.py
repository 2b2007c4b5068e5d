"""Runs of programs in the supervisor: whose turn it is, what is told of them, and what is left of slots."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fakes.children import FakeChildren

from tlsrt.channels.control.life import LoopState
from tlsrt.channels.control.program_outcome import Outcome
from tlsrt.config.listeners import ListenConfig, Listener
from tlsrt.sandbox.profile.program_profile import PlacedProgram
from tlsrt.sandbox.seccomp.broker import Broker
from tlsrt.sandbox.seccomp.notify import Notification
from tlsrt.sandbox.seccomp.program_sockets import ProgramSockets
from tlsrt.sandbox.seccomp.self_pair import Replacement
from tlsrt.supervisor.process.children import CallRules, Child, ProgramStart
from tlsrt.supervisor.process.component_listeners import ComponentListeners
from tlsrt.supervisor.process.spawn import SpawnedChild
from tlsrt.supervisor.process.undo_processes import UndoProcesses
from tlsrt.supervisor.supervision.program_run import EVENTS_BURST, ProgramRecord, ProgramRun, ProgramSlots
from tlsrt.supervisor.supervision.program_turns import ALL_BIRTHS_BURST, BIRTHS_BURST
from tlsrt.supervisor.supervision.programs import Programs
from tlsrt.supervisor.supervision.running_changes import RunningChanges


class ProgramChildren(FakeChildren):
    """Each of three processes has a program with many slots. A program is a `sleep`, or cannot be forked."""

    def __init__(self) -> None:
        super().__init__()
        self.names = [f"{loop}+p+{number}" for loop in "abc" for number in range(40)]
        self.profiles = cast(Any, dict.fromkeys(self.names))
        self.can_fork = self.is_kept = False
        self.worker = ""
        self.begun: list[str] = []
        self.removed: list[str] = []
        self.attested: list[str] = []
        self.control = -1
        self.listen: tuple[ListenConfig, ...] = ()

    def call_rules(self, name: str) -> CallRules | None:
        return CallRules(frozenset(), frozenset({"bind"})) if self.listen else None

    def proxies_of(self, process: str) -> list[PlacedProgram]:
        return []

    def programs_of(self, process: str) -> list[PlacedProgram]:
        slots = tuple(name for name in self.names if name.startswith(f"{process}+"))
        component = SimpleNamespace(address=f"third/{process}")
        program = SimpleNamespace(
            deadline_s=60.0, runs_most=len(slots), is_kept=self.is_kept, talks=False, notifies=False, passed=(),
            undo_s=0, state_mb=0, netlink=(), listen=self.listen, name="p", worker=self.worker,
        )  # fmt: skip
        return [cast(Any, SimpleNamespace(label=f"{process}/p", slots=slots, program=program, component=component))]

    def spawn_program(self, start: ProgramStart) -> Child:
        self.begun.append(start.slot)
        if not self.can_fork:
            raise OSError("no more processes")
        process = self.processes[start.slot] = subprocess.Popen(["sleep", "600"])
        self.channels[start.slot] = cast(Any, SimpleNamespace(close=lambda: None))
        self.control = os.dup(start.control)
        return SpawnedChild(process.pid, os.pidfd_open(process.pid), process.pid)

    def attest(self, name: str, pid: int) -> list[str]:
        self.attested.append(name)
        return ["uid 0"]

    def remove(self, name: str) -> None:
        self.removed.append(name)


class Stage:
    """An event loop that is turned by hand, and three processes that ask."""

    def __init__(self, listeners: ComponentListeners | None = None) -> None:
        self.children = ProgramChildren()
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.watched: dict[int, Callable[[int], None]] = {}
        self.lines: list[str] = []
        self.events: list[str] = []
        self.answers: list[tuple[Any, ...]] = []
        self.event_loop = SimpleNamespace(
            now=100.0,
            call_later=self.call_later,
            watch=self.watch,
            forget=lambda number: self.watched.pop(number, None),
        )
        self.current = SimpleNamespace(children=self.children)
        context = SimpleNamespace(
            event_loop=self.event_loop,
            current=self.current,
            console=SimpleNamespace(
                **dict.fromkeys(("bad", "warning"), lambda *words: self.lines.append(" ".join(words)))
            ),
            events=SimpleNamespace(emit=lambda name, *words, **fields: self.events.append(name)),
        )
        loops = SimpleNamespace(tell=lambda loop, *fields, **others: self.answers.append((loop.name, *fields)))
        self.changes = RunningChanges()
        slots = ProgramSlots(cast(Any, context), self.changes)
        self.programs = Programs(cast(Any, context), cast(Any, loops), slots, cast(Any, listeners), UndoProcesses())
        self.loops = {
            name: SimpleNamespace(
                name=name, managed_by=None, incarnation=1, is_living=True, log=-1, state=LoopState.ACTIVE
            )
            for name in "abc"
        }

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Any:
        self.due.append((delay_s, callback))
        return SimpleNamespace(cancel=lambda: None)

    def watch(self, number: int, callback: Callable[[int], None], events: int = 0) -> None:
        self.watched[number] = callback

    def ask(self, name: str, times: int = 1) -> None:
        for _ in range(times):
            self.programs.program_asked(cast(Any, self.loops[name]), 0)

    def turn(self) -> None:
        """Let the next callback run, and the time pass until then."""
        delay_s, callback = self.due.pop(0)
        self.event_loop.now += delay_s
        callback()

    def end(self, run: ProgramRun) -> None:
        """Kill the process of a run, and let the supervisor's side see its end."""
        assert run.child is not None
        os.kill(run.child.pid, signal.SIGKILL)
        select.select([run.child.pidfd], [], [], 10)
        self.watched[run.child.pidfd](select.EPOLLIN)

    def run_out(self) -> None:
        while self.due:
            self.turn()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    for run in [*stage.programs._running.values()]:
        if run.child is not None:
            stage.end(run)
    if stage.children.control >= 0:
        os.close(stage.children.control)


def test_who_asks_much_delays_another_by_one_run_each(stage: Stage) -> None:
    stage.ask("a", BIRTHS_BURST)
    stage.ask("b", BIRTHS_BURST)
    stage.ask("c", 2)
    stage.run_out()
    assert "".join(slot[0] for slot in stage.children.begun[:6]) == "abcabc"
    assert len(stage.children.begun) == 2 * BIRTHS_BURST + 2 > ALL_BIRTHS_BURST


def test_who_asks_more_than_its_own_share_is_busy(stage: Stage) -> None:
    stage.ask("a", BIRTHS_BURST + 1)
    assert stage.answers == [("a", "program_over", 0, 0, int(Outcome.BUSY), 0)]


def test_a_run_that_waits_while_a_reload_is_taken_is_busy(stage: Stage) -> None:
    stage.ask("a")
    stage.current.children = ProgramChildren()
    stage.run_out()
    assert not stage.children.begun
    assert stage.answers == [("a", "program_over", 0, 0, int(Outcome.BUSY), 0)]


def test_no_more_lines_on_the_console_than_events(stage: Stage) -> None:
    stage.ask("a", BIRTHS_BURST)
    stage.run_out()
    assert stage.answers == [("a", "program_over", 0, 0, int(Outcome.FAILED), 0)] * BIRTHS_BURST
    assert len(stage.lines) == len(stage.events) == EVENTS_BURST


def begin_one(stage: Stage) -> Any:
    stage.children.can_fork = True
    stage.ask("a")
    stage.turn()
    (run,) = stage.programs._running.values()
    return run


def test_one_that_cannot_be_handed_over_ends_as_a_run(stage: Stage) -> None:
    """What asked for it hears of its end once, when nothing is left of the process."""

    def handed(data: object, leash: object) -> None:
        raise OSError("too many open files")

    heard: list[Outcome] = []
    rules = CallRules(frozenset(), frozenset())
    asker = SimpleNamespace(run_as=rules, handed=handed, over=heard.append)
    (placed,) = cast(Any, stage.children.programs_of("a"))
    placed.slots = placed.slots[:1]
    stage.children.can_fork = True
    assert stage.programs.begin(cast(Any, stage.loops["a"]), placed, cast(Any, asker))
    stage.turn()
    (child,) = stage.programs.children
    assert heard == []
    select.select([child.pidfd], [], [], 10)
    stage.watched[child.pidfd](select.EPOLLIN)
    assert heard == [Outcome.FAILED] and not stage.programs._running


def test_one_that_is_killed_is_not_looked_at(stage: Stage) -> None:
    run = begin_one(stage)
    stage.watched[run.leash.fileno()](select.EPOLLHUP)
    os.write(stage.children.control, b"S")
    stage.watched[run.control.fileno()](select.EPOLLIN)
    assert not stage.children.attested


def test_one_that_has_ended_is_not_looked_at(stage: Stage) -> None:
    run = begin_one(stage)
    os.write(stage.children.control, b"S")
    stage.end(run)
    assert stage.events == ["program_failed"]
    assert not stage.children.attested


@pytest.mark.parametrize(
    ("is_kept", "worker", "code", "is_down"),
    [(True, "", 0, True), (False, "a.b", 0, False), (False, "a.b", 3, True), (False, "", 3, False)],
)
def test_what_should_run_and_does_not_is_down(
    stage: Stage, is_kept: bool, worker: str, code: int, is_down: bool
) -> None:
    stage.children.is_kept, stage.children.worker = is_kept, worker
    run = begin_one(stage)
    assert not stage.programs.document("a")[0]["is_down"], "it runs"
    ProgramRecord.note(stage.programs._records[run.placed.label], run, Outcome.ENDED, code, f"with status {code}")
    assert not stage.programs.document("a")[0]["is_down"], "there is the next run already"
    child, run.child = run.child, None
    assert stage.programs.document("a")[0]["is_down"] is is_down
    run.child = child


def test_one_that_its_component_has_let_go_of_is_not_down_and_one_that_cannot_be_forked_is(stage: Stage) -> None:
    stage.children.is_kept = True
    run = begin_one(stage)
    stage.watched[run.leash.fileno()](select.EPOLLHUP)
    stage.programs._kill(run, Outcome.CANCELLED, "let go")
    select.select([run.child.pidfd], [], [], 10)
    stage.watched[run.child.pidfd](select.EPOLLIN)
    assert not stage.programs.document("a")[0]["is_down"]
    stage.children.can_fork = False
    stage.ask("a")
    stage.run_out()
    (found,) = stage.programs.document("a")
    assert found["is_down"] and "no more processes" in found["last"]


def test_one_that_differs_is_told_and_killed(stage: Stage) -> None:
    run = begin_one(stage)
    os.write(stage.children.control, b"S")
    stage.watched[run.control.fileno()](select.EPOLLIN)
    assert stage.events == ["difference"]
    select.select([run.child.pidfd], [], [], 10)
    stage.watched[run.child.pidfd](select.EPOLLIN)
    assert not stage.programs.children


def test_slots_that_a_reload_has_removed_are_let_go_when_nothing_runs_there(stage: Stage) -> None:
    run = begin_one(stage)
    stage.changes.is_reloading = True
    new = ProgramChildren()
    new.profiles = cast(Any, dict.fromkeys(name for name in new.names if not name.startswith("a+")))
    stage.current.children = new
    stage.programs.sweep()
    assert not new.removed, "another reload may want them"
    stage.changes.is_reloading = False
    stage.programs.sweep()
    gone = {name for name in new.names if name.startswith("a+")}
    assert set(new.removed) == gone - {run.slot}
    stage.end(run)
    assert set(new.removed) == gone and len(new.removed) == len(gone)


def bound(granted: ProgramSockets, port: int) -> socket.socket:
    """Bind as a program does; return what is put in the place of its own socket."""
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton("127.0.0.1"))
    buffer = ctypes.create_string_buffer(address, len(address))
    pidfd = os.pidfd_open(os.getpid())
    try:
        with socket.socket() as own:
            call = Notification(1, os.getpid(), "bind", (own.fileno(), ctypes.addressof(buffer), len(address), 0, 0, 0))
            outcome = granted.carry_out(call, Broker(os.getpid(), pidfd, (), None), lambda: True)
    finally:
        os.close(pidfd)
    assert isinstance(outcome, Replacement)
    ((_, given),) = outcome.places
    return given


def test_a_run_has_listeners_of_its_own_whatever_a_reload_puts_under_their_numbers() -> None:
    """A reload takes the listener away, and the next socket that the supervisor opens gets its number."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    asked = ListenConfig("mqtt", port, "things talk here")
    listener = Listener("a", "third/a", asked, "p")
    listeners = ComponentListeners(cast(Any, SimpleNamespace(listeners=[listener])))
    ((_, number),) = listeners.of_program("third/a", "p", print).items()
    stage = Stage(listeners)
    stage.children.listen = (asked,)
    run = begin_one(stage)
    channel, other = socket.socketpair()
    listeners.prepare(cast(Any, SimpleNamespace(listeners=[])))
    listeners.take()
    os.dup2(channel.fileno(), number)
    with channel, other, bound(run.monitor._sockets, port) as given:
        assert given.getsockname() == ("127.0.0.1", port)
    os.close(number)
    (copy,) = run.listeners
    stage.end(run)
    assert not run.listeners
    assert not os.path.exists(f"/proc/self/fd/{copy}")
    os.close(stage.children.control)
