"""Telemetry: each session's traffic as a row of whole numbers per window, from Primary.

Nothing is counted for it on the way of a message. Primary looks at what the gate and the kernel know anyway, with a
timer, and tells differences. A captured Primary may tell anything, so the reader bounds every number, and what is
made of them only ever advises.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from zlib import crc32

from tlsrt.errors import PeerError

WINDOW_MS = 5_000
LOOKS = 10  # in a window, so one every half second: with the beat
ROWS_MAX = 256  # of one message, about 18 KiB: those left out have a turn in the next window
NUMBER_MAX = 1 << 40
SET_BITS = 64
UNKNOWN = -1  # of bytes that cannot be told apart by session: components of one loop share a channel
SESSION_BYTES = 16


class Window(NamedTuple):
    """The traffic of one session in one window. Only a session that did something has one."""

    frames: int  # requests, answers, items and credits that the session sent
    bytes_in: int  # to the host, with TLS's own; UNKNOWN for a component
    bytes_out: int  # from the host, likewise
    methods: int  # what it has called so far at this gate: a bit of 64 for each pair of component and method
    targets: int  # likewise for each component
    refused: int  # frames that the gate refused
    open_calls: int  # the most that were open at a look
    busy_looks: int  # of LOOKS, those with frames since the one before
    peak: int  # most frames between two looks


Row = tuple[bytes, Window]  # session id


def pack_rows(rows: list[Row]) -> list[list[bytes | int]]:
    """Return rows as they are sent."""
    return [[session, *window] for session, window in rows]


def parse_rows_untrusted(content: list[Any]) -> list[Row]:
    """Return the rows of a message. Raise PeerError for anything but bounded whole numbers in the right places."""
    if len(content) > ROWS_MAX:
        raise PeerError("too_many_rows")
    return [_parse_row_untrusted(row) for row in content]


def _parse_row_untrusted(row: Any) -> Row:
    if not isinstance(row, list) or len(row) != 1 + len(Window._fields):
        raise PeerError("bad_row")
    session, *numbers = row
    if not isinstance(session, bytes) or len(session) != SESSION_BYTES:
        raise PeerError("bad_row")
    if any(type(number) is not int for number in numbers):
        raise PeerError("bad_row")
    window = Window(*numbers)
    counts = window._replace(bytes_in=max(0, window.bytes_in), bytes_out=max(0, window.bytes_out), methods=0, targets=0)
    sets = (window.methods, window.targets)
    if (
        not all(0 <= number < NUMBER_MAX for number in counts)
        or not all(0 <= number < 1 << SET_BITS for number in sets)
        or min(window.bytes_in, window.bytes_out) < UNKNOWN
        or window.busy_looks > LOOKS
    ):
        raise PeerError("bad_row")
    return session, window


def bit_of(name: str) -> int:
    """Return the bit of a name in a set. It is the same in every life of Primary, and that of some others too."""
    return 1 << crc32(name.encode()) % SET_BITS
