"""What each session did in the last window, from what the gate and the kernel count anyway. Pure but for `bytes_moved`.

A message costs nothing for it. With the beat, every half second, each session is sampled (its last number, its open
calls); after ten samples those that did something have a row, and rows leave a message a beat. Sessions that live for
less than a sample are not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tlsrt.channels.control.telemetry import LOOKS, NUMBER_MAX, ROWS_MAX, UNKNOWN, Row, Window
from tlsrt.loops.gate.state import GateSession

TRACKED_MAX = 2048  # sessions; those beyond are not sampled until others have ended
BytesMoved = Callable[[int], tuple[int, int] | None]  # of a connection: to us, from us


class _SeenTraffic:
    """A session at the last sample, and the window so far."""

    __slots__ = ("busy", "frames", "last", "moved", "open_calls", "peak", "refused", "session")

    def __init__(self, session: GateSession, moved: tuple[int, int] | None) -> None:
        self.session = session
        self.last = session.last
        self.refused = _refused(session)
        self.moved = moved
        self.begin()

    def begin(self) -> None:
        self.frames = self.peak = self.busy = self.open_calls = 0

    def sample(self) -> None:
        sent = self.session.last - self.last
        if sent > 0:
            self.last = self.session.last
            self.frames += sent
            self.busy += 1
            self.peak = max(self.peak, sent)
        self.open_calls = max(self.open_calls, self.session.open_calls)

    def end(self, bytes_moved: BytesMoved) -> Window | None:
        """Return the window, None if nothing was done, and begin another."""
        session, refused = self.session, _refused(self.session)
        window = None
        if self.frames or refused > self.refused:
            moved = _moved(session, bytes_moved)
            was = self.moved
            known = was is not None and moved is not None
            window = Window(
                _capped(self.frames),
                _capped(moved[0] - was[0]) if known and was and moved else UNKNOWN,
                _capped(moved[1] - was[1]) if known and was and moved else UNKNOWN,
                session.methods,
                session.targets,
                _capped(refused - self.refused),
                _capped(self.open_calls),
                self.busy,
                _capped(self.peak),
            )
            self.moved, self.refused = moved, refused
        self.begin()
        return window


class Telemetry:
    """The windows of all sessions of one gate."""

    def __init__(self, bytes_moved: BytesMoved) -> None:
        self._bytes_moved = bytes_moved
        self._seen: dict[bytes, _SeenTraffic] = {}
        self._samples = 0
        self._waiting: list[Row] = []

    def sample(self, sessions: Mapping[bytes, GateSession]) -> list[Row]:
        """Sample all sessions; return the rows to be sent now, at most ROWS_MAX."""
        self._samples += 1
        for name, session in sessions.items():
            seen = self._seen.get(name)
            if seen is None or seen.session is not session:
                if seen is None and len(self._seen) >= TRACKED_MAX:
                    continue
                self._seen[name] = _SeenTraffic(session, _moved(session, self._bytes_moved))
            else:
                seen.sample()
        if self._samples >= LOOKS:
            self._end_window(sessions)
        rows, self._waiting = self._waiting[:ROWS_MAX], self._waiting[ROWS_MAX:]
        return rows

    def _end_window(self, sessions: Mapping[bytes, GateSession]) -> None:
        self._samples = 0
        self._waiting.clear()  # of the window before: it is late, and not waited for
        for name, seen in list(self._seen.items()):
            window = seen.end(self._bytes_moved)
            if sessions.get(name) is not seen.session:
                del self._seen[name]
            elif window is not None:
                self._waiting.append((name, window))


def _moved(session: GateSession, bytes_moved: BytesMoved) -> tuple[int, int] | None:
    return None if session.origin.loop else bytes_moved(session.origin.connection)


def _refused(session: GateSession) -> int:
    """Return how many of its frames were refused. A connection has one session, so what proved nothing is its too."""
    return session.refused + (0 if session.origin.loop else session.origin.refused)


def _capped(number: int) -> int:
    return min(max(0, number), NUMBER_MAX - 1)
