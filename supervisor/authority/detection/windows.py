"""Bounded counters over time: distinct things, events in a window, growing durations, grace. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class DistinctCounter(Generic[Key]):
    """Counts distinct things: the same one again within the window is none."""

    def __init__(self, window_ms: int = 60_000, most: int = 8192) -> None:
        self._window_ms = window_ms
        self._most = most
        self._seen: OrderedDict[tuple[Key, str], int] = OrderedDict()  # when it was new, the oldest first

    def is_new(self, who: Key, what: str, now: int) -> bool:
        """Note a thing; tell whether it is new for this key."""
        key = (who, what)
        if now - self._seen.get(key, now - self._window_ms) < self._window_ms:
            return False
        self._seen[key] = now
        self._seen.move_to_end(key)
        while len(self._seen) > self._most or now - next(iter(self._seen.values())) > self._window_ms:
            self._seen.popitem(last=False)
        return True

    def __len__(self) -> int:
        return len(self._seen)


class EventWindow:
    """Counts events within a window, up to `most`."""

    def __init__(self, window_ms: int, most: int) -> None:
        self._window_ms = window_ms
        self._times: deque[int] = deque(maxlen=most)

    def note(self, now: int) -> None:
        self._times.append(now)

    @property
    def times(self) -> tuple[int, ...]:
        return tuple(self._times)

    def count(self, now: int) -> int:
        return sum(1 for at in self._times if now - at < self._window_ms)


class GrowingDuration(Generic[Key]):
    """Durations that grow each time, up to a cap, with jitter."""

    def __init__(
        self, first_ms: int, cap_ms: int, jitter: float, chance: Callable[[], float], most: int = 4096
    ) -> None:
        self._first_ms = first_ms
        self._cap_ms = cap_ms
        self._jitter = jitter
        self._chance = chance  # 0 to 1
        self._most = most
        self._times: OrderedDict[Key, tuple[int, int]] = OrderedDict()  # how often so far, and until when that counts

    def next(self, who: Key, now: int) -> int:
        """Return for how long it is to last this time, in ms. After a quiet cap's time it begins anew."""
        times, until = self._times.pop(who, (0, now))
        times = times if now < until else 0
        base = min(self._cap_ms, self._first_ms * 2 ** min(times, 40))
        lasts = min(self._cap_ms, int(base * (1 + self._jitter * (2 * self._chance() - 1))))
        self._times[who] = (times + 1, now + lasts + self._cap_ms)
        if len(self._times) > self._most:
            self._times.popitem(last=False)
        return lasts

    def forget(self, who: Key) -> None:
        self._times.pop(who, None)

    def all(self, now: int) -> Iterator[tuple[Key, int, int]]:
        """Yield what still counts: key, how often so far, and until when."""
        return ((who, times, until) for who, (times, until) in self._times.items() if now < until)

    def put(self, who: Key, times: int, until: int) -> None:
        """Take back what `all` gave."""
        self._times[who] = (times, until)

    def __len__(self) -> int:
        return len(self._times)


class GracePeriod:
    """A time in which innocent peers use what has just ended, such as an epoch or a process."""

    def __init__(self, lasts_ms: int) -> None:
        self._lasts_ms = lasts_ms
        self._until = 0

    def begin(self, now: int) -> None:
        self._until = max(self._until, now + self._lasts_ms)

    def is_now(self, now: int) -> bool:
        return now < self._until
