"""One blocking epoll loop with timers and signals: the whole concurrency of the supervisor.

Plain integer descriptors, no threads, no asyncio: those would live on in forked children. A callback may register and
forget descriptors freely; an event that epoll reported for a descriptor which was forgotten (and perhaps given out
again) in the same round is dropped. Timers run after the descriptors of a round, so that a timer that judges silence
finds handled what was already said. See epoll(7), signal(7).
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FrameType

from tlsrt.supervisor.process.timers import Timers

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
_SIGNAL_BYTES = 256


@dataclass(slots=True)
class _Watcher:
    descriptor: int
    callback: Callable[[int], None]


class Timer:
    """One call in the future."""

    __slots__ = ("_timers", "callback")

    def __init__(self, timers: Timers[Timer], callback: Callable[[], None]) -> None:
        self._timers = timers
        self.callback = callback

    def cancel(self) -> None:
        """Never call; may be cancelled again, and after it ran."""
        self._timers.cancel(self)


class EventLoop:
    """Waits for descriptors, times and signals; close it before a new one takes the signals."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._epoll = select.epoll()
        self._watchers: dict[int, _Watcher] = {}
        self._timers: Timers[Timer] = Timers()  # in ns
        self._signals: dict[int, Callable[[], None]] = {}
        self._wakeup: tuple[int, int] | None = None
        self.now = clock()

    def watch(self, descriptor: int, callback: Callable[[int], None], events: int = READ) -> None:
        """Call `callback(events)` whenever the descriptor is ready."""
        self._epoll.register(descriptor, events)
        self._watchers[descriptor] = _Watcher(descriptor, callback)

    def change(self, descriptor: int, events: int) -> None:
        """Wait for other events of a watched descriptor."""
        self._epoll.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Stop watching, before the descriptor is closed; one that is not watched is fine."""
        if self._watchers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call once, `delay_s` seconds after now."""
        timer = Timer(self._timers, callback)
        self._timers.set(timer, _ns(self._clock() + delay_s))
        return timer

    def call_next(self, period_s: float, callback: Callable[[], None]) -> Timer:
        """Call once at the next multiple of a period on CLOCK_BOOTTIME, where the authority feeds and loops beat too.

        Processes that wake up at the same moments find each other's words waiting, and sleep longer.
        """
        passed = time.clock_gettime(time.CLOCK_BOOTTIME) % period_s
        return self.call_later((period_s if passed < 0.75 * period_s else 2 * period_s) - passed, callback)

    def take_signals(self, handlers: dict[signal.Signals, Callable[[], None]], ignored: Iterable[int] = ()) -> None:
        """Turn signals into calls from the loop. A handler is needed for each: pid 1 is not sent any other."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = (reading, writing)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number, callback in handlers.items():
            self._signals[number] = callback
            signal.signal(number, _only_wake)
        for unwanted in ignored:
            signal.signal(unwanted, signal.SIG_IGN)
        self.watch(reading, self._read_signals)

    def run_once(self) -> None:
        """Wait for something, then handle everything that is due."""
        ready = self._epoll.poll(self._timeout())
        self.now = self._clock()
        events = [(self._watchers.get(descriptor), mask) for descriptor, mask in ready]
        for watcher, mask in events:
            if watcher is not None and self._watchers.get(watcher.descriptor) is watcher:
                watcher.callback(mask)
        self._run_timers()

    def close(self) -> None:
        """Give descriptors and signals back."""
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1)
            for number in self._signals:
                signal.signal(number, signal.SIG_DFL)
            for descriptor in self._wakeup:
                self.forget(descriptor)
                os.close(descriptor)
            self._wakeup = None
        self._epoll.close()

    def _timeout(self) -> float | None:
        when = self._timers.next()
        return None if when is None else max(0.0, when / 1e9 - self._clock())

    def _run_timers(self) -> None:
        now = _ns(self.now)
        while (when := self._timers.next()) is not None and when <= now:
            if (timer := self._timers.pop()) is not None:
                timer.callback()

    def _read_signals(self, events: int) -> None:
        if self._wakeup is None:
            return
        for number in dict.fromkeys(os.read(self._wakeup[0], _SIGNAL_BYTES)):
            callback = self._signals.get(number)
            if callback is not None:
                callback()


def _only_wake(number: int, frame: FrameType | None) -> None:
    """The wake-up descriptor has already told the loop."""


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
