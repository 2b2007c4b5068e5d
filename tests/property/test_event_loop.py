"""The event loop beside asyncio's own: random programs run the same callbacks in the same order at the same times."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlsrt.channels.event_loop import EventLoop

NODES, PAIRS, RUNS_MAX = 6, 2, 120
VALUE: ContextVar[int] = ContextVar("value", default=0)
NODE, PAIR, HANDLE = st.integers(0, NODES - 1), st.integers(0, PAIRS - 1), st.integers(0, 30)
MS = st.sampled_from([0, 0, 1, 2, 5])
ACTIONS = st.one_of(
    st.tuples(st.just("soon"), NODE),
    st.tuples(st.just("later"), NODE, MS),
    st.tuples(st.just("cancel"), HANDLE),
    st.tuples(st.just("write"), PAIR),
    st.tuples(st.just("end"), PAIR),
    st.tuples(st.just("watch"), PAIR, NODE),
    st.tuples(st.just("unwatch"), PAIR),
    st.tuples(st.just("watch_writer"), PAIR, NODE),
    st.tuples(st.just("unwatch_writer"), PAIR),
    st.tuples(st.just("task"), NODE),
    st.tuples(st.just("context"), st.integers(1, 9)),
    st.tuples(st.just("work"), MS),
    st.tuples(st.just("raise")),
    st.tuples(st.just("stop")),
)  # fmt: skip
Node = list[tuple[Any, ...]]
PROGRAMS = st.lists(st.lists(ACTIONS, max_size=5), min_size=NODES, max_size=NODES)


class Clock:
    """A clock that goes on when a loop waits for a timer, and where a program says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def waited(self, timeout: float | None) -> float | None:
        """Let the time of a wait pass at once, and return the timeout to wait for."""
        if timeout is None or timeout <= 0:
            return timeout
        self.now += timeout
        return 0


def standard(clock: Clock) -> asyncio.AbstractEventLoop:
    loop: Any = asyncio.SelectorEventLoop()
    select = loop._selector.select
    loop._selector.select = lambda timeout=None: select(clock.waited(timeout))
    loop.time = lambda: clock.now
    return loop  # type: ignore[no-any-return]


def lean(clock: Clock) -> asyncio.AbstractEventLoop:
    loop: Any = EventLoop()
    poll, *others = loop._wait
    loop._wait = (lambda timeout, most: poll(clock.waited(timeout), most), *others)
    loop.time = lambda: clock.now
    return loop  # type: ignore[no-any-return]


class Run:
    """One program in one loop. Its log is all that it could notice."""

    def __init__(self, program: list[Node], make: Callable[[Clock], asyncio.AbstractEventLoop]) -> None:
        self._program = program
        self._clock = Clock()
        self._loop = make(self._clock)
        self._loop.set_exception_handler(self._failed)
        self._pairs = [socket.socketpair() for _ in range(PAIRS)]
        self._handles: list[asyncio.Handle | asyncio.Task[None]] = []
        self._left = RUNS_MAX
        self.log: list[tuple[Any, ...]] = []
        for ends in self._pairs:
            for one in ends:
                one.setblocking(False)

    def run(self) -> list[tuple[Any, ...]]:
        try:
            for start in range(3):  # a loop that was stopped goes on where it was
                self._handles.append(self._loop.call_soon(self._node, start))
                self._loop.call_later(1000, self._loop.stop)
                self._loop.run_forever()
                self.log.append(("stopped", round(self._clock.now, 6)))
            return self.log
        finally:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._left = 0
            self._unwatch_all()
            self._loop.call_soon(self._loop.call_soon, self._loop.stop)
            self._loop.run_forever()
            for ends in self._pairs:
                for one in ends:
                    one.close()
            self._loop.close()

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.log.append(("failed", sorted(context), str(context["exception"]), context["message"].split("(")[0]))

    def _unwatch_all(self) -> None:
        for near, _ in self._pairs:
            self._loop.remove_reader(near)
            self._loop.remove_writer(near)

    def _node(self, number: int, source: str = "soon") -> None:
        self.log.append((number, source, VALUE.get(), round(self._clock.now, 6)))
        self._clock.now += 0.0001
        self._left -= 1
        if self._left < 0:
            self._unwatch_all()
            return
        for name, *arguments in self._program[number]:
            getattr(self, f"_do_{name}")(*arguments)

    def _read(self, pair: int, number: int) -> None:
        try:
            data = self._pairs[pair][0].recv(2)  # more than that is there again in the next turn
        except BlockingIOError:
            data = b"none"
        self._node(number, f"read {data!r}")

    async def _task(self, number: int) -> None:
        for _ in range(2):
            await asyncio.sleep(0)
            self.log.append(("task", number, VALUE.get()))
        await asyncio.sleep(0.001)
        self._node(number, "task")

    def _do_soon(self, number: int) -> None:
        self._handles.append(self._loop.call_soon(self._node, number))

    def _do_later(self, number: int, ms: int) -> None:
        self._handles.append(self._loop.call_later(ms / 1000, self._node, number, "later"))

    def _do_cancel(self, which: int) -> None:
        if which < len(self._handles):
            self._handles[which].cancel()

    def _do_write(self, pair: int) -> None:
        try:
            self._pairs[pair][1].send(b"abc")
        except OSError:  # it has ended
            self.log.append(("not written", pair))

    def _do_end(self, pair: int) -> None:
        self._pairs[pair][1].shutdown(socket.SHUT_RDWR)

    def _do_watch(self, pair: int, number: int) -> None:
        self._loop.add_reader(self._pairs[pair][0], self._read, pair, number)

    def _do_unwatch(self, pair: int) -> None:
        self.log.append(("unwatched", self._loop.remove_reader(self._pairs[pair][0])))

    def _do_watch_writer(self, pair: int, number: int) -> None:
        self._loop.add_writer(self._pairs[pair][0].fileno(), self._node, number, "writer")

    def _do_unwatch_writer(self, pair: int) -> None:
        self.log.append(("unwatched", self._loop.remove_writer(self._pairs[pair][0].fileno())))

    def _do_task(self, number: int) -> None:
        self._handles.append(self._loop.create_task(self._task(number)))

    def _do_context(self, value: int) -> None:
        VALUE.set(value)

    def _do_work(self, ms: int) -> None:
        self._clock.now += ms / 1000

    def _do_raise(self) -> None:
        raise ValueError("raised by a program")

    def _do_stop(self) -> None:
        self._loop.stop()


BUSY: list[Node] = [
    [("watch", 0, 3), ("watch_writer", 1, 4), ("write", 0), ("later", 1, 1), ("soon", 5), ("context", 4), ("task", 2)],
    [("write", 0), ("end", 1), ("unwatch_writer", 1), ("raise",)],
    [("stop",), ("later", 1, 0)],
    [("soon", 5), ("cancel", 2)],
    [("watch", 1, 3), ("work", 1)],
    [("later", 2, 2), ("unwatch", 0)],
]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@given(PROGRAMS)
@example(BUSY)
def test_programs_cannot_tell_it_from_asyncios_loop(program: list[Node]) -> None:
    assert Run(program, lean).run() == Run(program, standard).run()


def test_the_programs_reach_every_kind_of_callback() -> None:
    log = Run(BUSY, lean).run()
    assert {entry[1].split()[0] for entry in log if isinstance(entry[0], int)} >= {"soon", "later", "read", "writer"}
    assert {entry[0] for entry in log} >= {"failed", "stopped", "task", "unwatched"}


@pytest.mark.parametrize("debug", [False, True])
def test_who_rests_is_asked_before_each_sleep_and_not_between_turns_and_what_it_sets_ends_the_sleep(
    debug: bool,
) -> None:
    loop, log = EventLoop(), list[str]()
    loop.set_debug(debug)

    def before_sleep() -> None:
        log.append("asked")
        if log.count("asked") == 1:
            loop.call_later(0.001, log.append, "timer")
        else:
            loop.stop()

    def turn(left: int) -> None:
        log.append("turn")
        if left:
            loop.call_soon(turn, left - 1)

    loop.ask_before_sleep(before_sleep)
    loop.call_soon(turn, 2)
    try:
        loop.run_forever()
    finally:
        loop.close()
    assert log == ["turn", "turn", "turn", "asked", "timer", "asked"]
