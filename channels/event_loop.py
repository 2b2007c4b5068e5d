"""Event loop: asyncio's selector loop with turns that do less, for the processes of a host.

Theory of operation. A turn of asyncio's loop is written for every platform and every way to watch descriptors: it goes
through a selector, a list of keys and a method for each event. Here one function does the same with what epoll_wait(2)
returns. Which callbacks run, in which order, in which context, and where their exceptions go is as in asyncio
(`BaseEventLoop._run_once` of CPython 3.11 to 3.13; tests/property/test_event_loop.py compares them): first what was
called soon before, then what the kernel tells in its order, then the timers that are due. What they call soon runs in
the next turn. Only that function is replaced, and who rests is asked before each sleep. Handles, tasks, transports,
signals and executors are asyncio's own, and in debug mode the turn is too.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
import time
from collections import deque
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT
from typing import Any

LONGEST_WAIT_S = 24 * 3600.0  # as in asyncio: epoll_wait(2) takes milliseconds in an int
CANCELLED_MIN = 100  # as in asyncio: with more timers than this
CANCELLED_SHARE = 0.5  # and more than this part of them cancelled, all are looked through


class EventLoop(asyncio.SelectorEventLoop):
    """asyncio's loop on epoll(7), with lean turns."""

    # Parts of asyncio's loop that typeshed does not list.
    _clock_resolution: float
    _debug: bool
    _ready: deque[Any]
    _scheduled: list[Any]
    _stopping: bool
    _timer_cancelled_count: int

    time = staticmethod(time.monotonic)  # asyncio has a method around it

    def __init__(self) -> None:
        selector: Any = selectors.EpollSelector()
        # In one attribute: with one of its own for each, a turn takes 4 % more instructions (`make callgrind`).
        self._wait: tuple[Any, dict[int, Any], Callable[[], None] | None] = (
            selector._selector.poll, selector._fd_to_key, None,
        )  # fmt: skip
        super().__init__(selector)

    def ask_before_sleep(self, ask: Callable[[], None] | None) -> None:
        """Call this from now on whenever nothing is ready, before the loop waits; it may set timers. None: no more."""
        self._wait = (*self._wait[:2], ask)

    def _run_once(self) -> None:
        """Run one turn: wait, then call what is ready and due."""
        ready = self._ready
        poll, keys, ask = self._wait
        if ask is not None and not (ready or self._stopping):
            ask()
        if self._debug:
            super()._run_once()  # type: ignore[misc]
            return
        handle: Any
        scheduled = self._without_cancelled() if self._timer_cancelled_count else self._scheduled
        timeout: float = -1
        if ready or self._stopping:
            timeout = 0
        elif scheduled:
            timeout = min(max(scheduled[0]._when - self.time(), 0), LONGEST_WAIT_S)
        try:
            events = poll(timeout, len(keys) or 1)
        except InterruptedError:
            events = []
        for descriptor, mask in events:
            key = keys.get(descriptor)
            if key is None:
                continue
            reader, writer = key.data
            if reader is not None and mask & ~EPOLLOUT:
                if reader._cancelled:
                    self._remove_reader(key.fileobj)  # type: ignore[attr-defined]
                else:
                    ready.append(reader)
            if writer is not None and mask & ~EPOLLIN:
                if writer._cancelled:
                    self._remove_writer(key.fileobj)  # type: ignore[attr-defined]
                else:
                    ready.append(writer)
        if scheduled:
            end = self.time() + self._clock_resolution
            while scheduled and scheduled[0]._when < end:
                handle = heapq.heappop(scheduled)
                handle._scheduled = False
                ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()
        handle = None  # as in asyncio: the frame of what raised keeps this one, and so the task that died

    def _without_cancelled(self) -> list[Any]:
        """Return the timers after those that were cancelled have left their head, or all places if they are many."""
        scheduled = self._scheduled
        if len(scheduled) > CANCELLED_MIN and self._timer_cancelled_count / len(scheduled) > CANCELLED_SHARE:
            for timer in scheduled:
                if timer._cancelled:
                    timer._scheduled = False
            self._scheduled = [timer for timer in scheduled if not timer._cancelled]
            heapq.heapify(self._scheduled)
            self._timer_cancelled_count = 0
            return self._scheduled
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False
        return scheduled
