"""Connections of the authority to the supervisor and the loops, and its clock."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.trust_connection import TrustConnection
from tlsrt.text import sentence

Clock = Callable[[], int]


def wall_ms() -> int:
    """Return wall time in ms: for certificates and stored revocations only."""
    return time.time_ns() // 1_000_000


class WakeUpClock:
    """Both clocks of the host; `now` is as it was read last, once per wake-up."""

    def __init__(self, now: Clock, wall: Clock) -> None:
        self._now = now
        self._wall = wall
        self.now = now()

    def read(self) -> int:
        """Read CLOCK_BOOTTIME, in ms."""
        self.now = self._now()
        return self.now

    def moment(self) -> Moment:
        """Return the time of this wake-up, and the wall time."""
        return Moment(self.now, self._wall())

    def utc(self) -> str:
        """Return the wall time of now, for a line of a log."""
        return datetime.fromtimestamp(self._wall() / 1000, UTC).isoformat(timespec="milliseconds")


class Connections:
    """All channels: the Outgoing port of the services. Owns the descriptors.

    A channel that fails is broken from then on: nothing is sent over it, and `take_broken` names it once.
    """

    def __init__(self, channel: int, trust: Mapping[str, int], clock: WakeUpClock) -> None:
        self.supervisor = ControlChannel(channel, AUTHORITY_CHANNEL)
        self._clock = clock
        self._of_loops = {loop: TrustConnection(loop, descriptor) for loop, descriptor in trust.items()}
        self._broken: dict[str, str] = {}  # loop: why
        self._lost = ""  # why the supervisor cannot be told anything any more

    # Outgoing

    def send(self, loop: str, name: str, *fields: object, descriptors: Sequence[int] = ()) -> None:
        """Send a trust message; trouble is noted, and dealt with after the handler."""
        connection = self._of_loops.get(loop)
        if connection is None or loop in self._broken:
            return
        try:
            connection.send(self._clock.now, name, *fields, descriptors=descriptors)
        except PeerError as error:
            self._broken[loop] = error.reason

    def tell(self, name: str, *fields: object, descriptors: Sequence[int] = ()) -> None:
        """Send a message to the supervisor; without it the authority ends, after the handler."""
        try:
            self.supervisor.send(name, *fields, descriptors=descriptors)
        except PeerError as error:
            self.lose(error.reason)

    def is_blocked(self, loop: str) -> bool:
        """Tell whether messages wait for this loop to read."""
        connection = self._of_loops.get(loop)
        return connection is not None and connection.is_blocked

    def log(self, line: str) -> None:
        """Write one line to the authority's log, which is its standard error."""
        try:
            print(f"{self._clock.utc()} authority: {sentence(line)}", file=sys.stderr, flush=True)
        except OSError:  # a full disk under the log stops nothing
            return

    # The supervisor

    def lose(self, reason: str) -> None:
        """Note why the supervisor cannot be told anything any more; nothing if the reason is empty."""
        self._lost = reason or self._lost

    def check_supervisor(self) -> None:
        """Raise PeerError if the supervisor is lost."""
        if self._lost:
            raise PeerError(self._lost)

    # The loops

    @property
    def loops(self) -> tuple[str, ...]:
        """Return the loops that have a channel."""
        return tuple(self._of_loops)

    def __iter__(self) -> Iterator[TrustConnection]:
        return iter(self._of_loops.values())

    def get(self, loop: str) -> TrustConnection | None:
        """Return the connection of a loop, or None."""
        return self._of_loops.get(loop)

    def open(self, loop: str, descriptor: int) -> None:
        """Begin with a new channel of a loop, whose old one was closed."""
        self._broken.pop(loop, None)
        self._of_loops[loop] = TrustConnection(loop, descriptor)

    def close(self, loop: str) -> None:
        """Close the channel of a loop."""
        connection = self._of_loops.pop(loop, None)
        if connection is not None:
            connection.close()

    def flush(self) -> None:
        """Send what waits; a loop that reads nothing for too long is broken."""
        for connection in self._of_loops.values():
            try:
                connection.flush(self._clock.now)
            except PeerError as error:
                self.break_off(connection.loop, error.reason)

    def break_off(self, loop: str, reason: str) -> None:
        """Note that a channel is broken, if it is not yet."""
        self._broken.setdefault(loop, reason)

    def is_broken(self, loop: str) -> bool:
        """Tell whether a loop's channel is broken and not yet closed."""
        return loop in self._broken

    def take_broken(self) -> tuple[str, str] | None:
        """Return a loop whose channel is broken, and why, once; or None."""
        return self._broken.popitem() if self._broken else None
