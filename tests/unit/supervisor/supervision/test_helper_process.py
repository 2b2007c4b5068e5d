"""The helper's requests: one deadline after another, and what is told of each when the helper ends."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.channels.control.helper import HELPER
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.config.supervision import RestartConfig
from tlsrt.supervisor.supervision import helper_process, service_process
from tlsrt.supervisor.supervision.helper_process import AWAY, GONE, HUNG, LEFT_MAX, REQUEST_S, HelperProcess
from tlsrt.supervisor.supervision.service_process import END_S


def _refused(descriptor: int) -> None:
    raise OSError(errno.EIO, "a driver says so")


class Clock:
    """Times that are moved by hand, and the descriptors that are watched."""

    def __init__(self) -> None:
        self.now = 100.0
        self.watched: dict[int, Callable[[int], None]] = {}
        self._timers: list[SimpleNamespace] = []
        self.forget = self.watched.pop

    def watch(self, descriptor: int, callback: Callable[[int], None]) -> None:
        self.watched[descriptor] = callback

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> SimpleNamespace:
        timer = SimpleNamespace(at=self.now + delay_s, callback=callback)
        timer.cancel = lambda: self._timers.remove(timer) if timer in self._timers else None
        self._timers.append(timer)
        return timer

    def pass_by(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [one for one in self._timers if one.at <= end + 1e-9]:
            first = min(due, key=lambda one: float(one.at))
            self._timers.remove(first)
            self.now = first.at
            first.callback()
        self.now = end


class Stage:
    """A helper whose process is the test itself, over a real channel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.killed: list[str] = []
        self.answers: dict[str, int] = {}
        said = SimpleNamespace(bad=self.ignore, emit=self.said, emit_death=self.ignore)
        config = SimpleNamespace(
            supervision=SimpleNamespace(restart=RestartConfig()), limits=SimpleNamespace(ready_timeout_s=30),
            needs_helper=True,
        )  # fmt: skip
        children = SimpleNamespace(call_rules=lambda name: None, spawn_helper=self.spawn, clear=lambda name: True)
        context = SimpleNamespace(
            current=SimpleNamespace(config=config, children=children), chance=lambda: 0.0, console=said, events=said,
            event_loop=self.clock, lock=-1,
        )  # fmt: skip
        monkeypatch.setattr(service_process, "open_log", lambda config, name: -1)
        monkeypatch.setattr(service_process, "shared_lock", lambda lock: nullcontext(-1))
        monkeypatch.setattr(service_process, "differences_of", lambda *arguments: [])
        monkeypatch.setattr(service_process, "send_signal", self.ignore)
        self.helper = HelperProcess(cast("Any", context))
        self.helper.look()
        self.channel.send("sealed")
        self.hear()
        assert self.helper.is_attested

    def ignore(self, *arguments: object, **more: object) -> None:
        """Do nothing."""

    def said(self, kind: str, name: str, words: str = "", **more: object) -> None:
        if kind == "killed":
            self.killed.append(words)

    def spawn(self, start: Any) -> SimpleNamespace:
        self.channel = ControlChannel(os.dup(start.channel), HELPER)
        return SimpleNamespace(host_pid=1, pidfd=-1)

    def hear(self) -> None:
        for descriptor, callback in [*self.clock.watched.items()]:
            if descriptor >= 0:
                callback(0)

    def ask(self, name: str, *, is_open: bool = False) -> None:
        with open("/dev/null", "rb") as place:

            def done(error: int, device: int) -> None:
                self.answers[name] = error

            if is_open:
                self.helper.open(place.fileno(), (0,) * 9, done)
            else:
                self.helper.write(place.fileno(), 1, done)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(monkeypatch)
    yield stage
    stage.channel.close()
    stage.helper.kill("the test is over")


def test_the_first_one_is_what_held_it_up_and_the_others_are_only_lost(stage: Stage) -> None:
    stage.ask("first")
    stage.ask("second")
    stage.clock.pass_by(REQUEST_S)
    assert stage.answers == {"first": HUNG, "second": GONE} and len(stage.killed) == 1
    stage.ask("third")
    assert stage.answers["third"] == AWAY, "it was never sent"


def test_each_has_its_time_from_when_it_is_the_first(stage: Stage) -> None:
    stage.ask("first")
    stage.ask("second")
    stage.clock.pass_by(REQUEST_S - 1)
    stage.channel.send("done", 1, 0)
    stage.hear()
    stage.clock.pass_by(REQUEST_S - 1)
    assert stage.answers == {"first": 0} and not stage.killed
    stage.clock.pass_by(1)
    assert stage.answers == {"first": 0, "second": HUNG}


def test_one_that_closes_its_channel_and_lives_on_is_killed(stage: Stage) -> None:
    stage.ask("first")
    stage.channel.close()
    stage.hear()
    assert stage.answers == {"first": GONE} and not stage.helper.is_attested and not stage.killed
    stage.clock.pass_by(END_S)
    assert len(stage.killed) == 1 and "closed its channel" in stage.killed[0]


def test_a_device_that_is_nobodys_is_closed_by_the_helper(stage: Stage) -> None:
    reads, writes = os.pipe()
    stage.helper.put_away(writes)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writes)
    name, _, [handed] = stage.channel.receive("supervisor", "sealed", descriptors=True) or ("", None, [-1])
    assert name == "close" and os.fstat(handed).st_ino == os.fstat(reads).st_ino, "it was open until the helper had it"
    os.close(handed)
    os.close(reads)


def test_it_waits_for_a_helper_where_there_is_none(stage: Stage) -> None:
    stage.helper.kill("a test")
    kept = os.open("/dev/null", os.O_RDONLY)
    stage.helper.put_away(kept)
    assert os.fstat(kept)
    for _ in range(LEFT_MAX):
        stage.helper.put_away(os.open("/dev/null", os.O_RDONLY))
    assert len(stage.helper._left) == LEFT_MAX, "but no more of them than so many"
    for one in stage.helper._left:
        os.close(one)
    stage.helper._left.clear()


@pytest.mark.parametrize(
    ("is_open", "name", "fields"),
    [
        (False, "done", (1, 2**40)),  # no errno
        (False, "opened", (1,)),  # a device that nobody takes
        (True, "done", (1, 0)),  # no device
        (True, "done", (2, 0)),
        (False, "opened", (2,)),
    ],
)
def test_an_answer_to_something_else_ends_it(stage: Stage, is_open: bool, name: str, fields: tuple[int, ...]) -> None:
    stage.ask("first", is_open=is_open)
    reads, writes = os.pipe()
    stage.channel.send(name, *fields, descriptors=(writes,) if name == "opened" else ())
    os.close(writes)
    stage.hear()
    assert stage.answers == {"first": GONE} and stage.killed == ["helper protocol: unasked"]
    for left in stage.helper._left:  # for the next helper, as its last close may wait
        os.close(left)
    stage.helper._left.clear()
    assert os.read(reads, 1) == b"", "no descriptor is left open"
    os.close(reads)


def test_what_was_not_sent_waits_for_the_next_helper(stage: Stage) -> None:
    stage.channel.close()
    kept = os.open("/dev/null", os.O_RDONLY)
    stage.helper.put_away(kept)
    assert os.fstat(kept) and stage.helper._left == [kept] and len(stage.killed) == 1
    os.close(kept)
    stage.helper._left.clear()


def test_an_error_of_a_last_close_ends_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    device = os.open("/dev/null", os.O_RDONLY)
    with monkeypatch.context() as patched:
        patched.setattr(helper_process, "os", SimpleNamespace(close=_refused))
        stage.helper.put_away(device)
    assert stage.helper._left == [] and not stage.killed
    os.close(device)
