"""The supervisor's end of a life channel: the table of channels/control/life.py, and a bound on the records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlsrt.channels.control.life import LIFE, LoopState
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.errors import PeerError
from tlsrt.rate_limit import Bucket

MAX_RECORDS_PER_S = 50  # an honest loop sends two beats; the bound keeps one loop from taking the supervisor's time
_CROSSING = (LoopState.DRAINING, LoopState.STOPPING)


class LifeChannel:
    """Owns the descriptor of one incarnation's life channel."""

    def __init__(self, descriptor: int) -> None:
        self._channel = ControlChannel(descriptor, LIFE)
        self._records = Bucket(MAX_RECORDS_PER_S, MAX_RECORDS_PER_S)

    def fileno(self) -> int:
        return self._channel.fileno()

    def close(self) -> None:
        """End the channel."""
        self._channel.close()

    def send(self, name: str, *fields: int | str | bytes, descriptors: Sequence[int] = ()) -> None:
        """Send one record. Raises PeerError, "hung" when the loop does not read."""
        self._channel.send(name, *fields, descriptors=descriptors)

    def receive(self, state: LoopState, now: float) -> tuple[str, list[Any]] | None:
        """Return (name, fields), or None when nothing waits. Raises PeerError, also "flood" and "closed".

        A record that was sent before `stop` arrived, and is out of place after it, is dropped.
        """
        while True:
            try:
                received = self._channel.receive("loop", state)
            except PeerError as error:
                if error.reason != "wrong_state" or state not in _CROSSING:
                    raise
                self._count(now)
                continue
            if received is None:
                return None
            self._count(now)
            return received[0], received[1]

    def _count(self, now: float) -> None:
        if not self._records.take(now):
            raise PeerError("flood")
