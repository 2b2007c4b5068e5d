"""A jitter buffer: packets of 20 ms in any order go in, one piece each 20 ms comes out. Pure."""

from __future__ import annotations

_HALF = 1 << 15


class JitterBuffer:
    """Holds at most `most` pieces; begins when `depth` are there, and again so when it ran empty."""

    def __init__(self, depth: int = 3, most: int = 25) -> None:
        self._depth, self._most = depth, most
        self._pieces: dict[int, bytes] = {}
        self._next: int | None = None
        self._is_filling = True
        self._empty = 0
        self.lost = 0  # pieces that did not come in time
        self.late = 0  # pieces that came after their time
        self.overrun = 0  # pieces that were left out, as more came than are taken

    def put(self, sequence: int, piece: bytes) -> None:
        """Take a piece by its sequence number of 16 bits."""
        if self._next is None:
            self._next = sequence
        ahead = (sequence - self._next) & 0xFFFF
        if ahead >= _HALF:
            if self._is_filling and len(self._pieces) < self._depth and 0x10000 - ahead < self._depth:
                self._next = sequence  # what overtook it began the buffer
            else:
                self.late += 1
                return
        elif ahead >= 2 * self._most:  # the sender has jumped: what waits is of another time
            self._pieces.clear()
            self._next, self._is_filling = sequence, True
        self._pieces[sequence] = piece
        while len(self._pieces) > self._most:
            self.overrun += self._pieces.pop(self._next, None) is not None
            self._next = (self._next + 1) & 0xFFFF

    def take(self) -> bytes | None:
        """Return the piece whose turn it is; None if there is none."""
        if self._next is None:
            return None
        if self._is_filling and len(self._pieces) < self._depth:
            self._empty += 1
            if not self._pieces or self._empty <= self._depth:
                return None  # or else it is a sender that pauses
        self._empty, self._is_filling = 0, False
        piece = self._pieces.pop(self._next, None)
        if piece is None and not self._pieces:
            self._is_filling = True  # nothing waits: what comes next is not late for that
            return None
        self._next = (self._next + 1) & 0xFFFF
        self.lost += piece is None
        return piece
