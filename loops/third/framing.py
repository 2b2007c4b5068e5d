"""Frames on a serial line: bytes to frames and back, for lines, length prefixes, SLIP and COBS. Pure.

A frame that is damaged, or longer than it may be, is left out and counted; what follows it is found again: by the next
delimiter, or with a length prefix by a silence, which the caller tells of.
"""

from __future__ import annotations

from typing import Literal, Protocol

_END, _ESC, _ESC_END, _ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD  # SLIP, RFC 1055


class Framing(Protocol):
    """One direction of bytes to frames, and frames to bytes."""

    damaged: int  # frames that were left out

    @property
    def is_inside(self) -> bool:
        """Whether a frame has begun and not ended."""
        ...

    def feed(self, data: bytes) -> list[bytes]:
        """Take what came, in pieces of any size; return the frames that are whole now. Cannot fail."""
        ...

    def encode(self, frame: bytes) -> bytes:
        """Return a frame as it is sent. Raises ValueError for one that cannot be."""
        ...

    def reset(self) -> None:
        """Forget half a frame: the other side has begun anew."""
        ...


class Delimited:
    """Frames that end with a delimiter."""

    def __init__(self, delimiter: bytes, most: int) -> None:
        self.delimiter = delimiter
        self.damaged = 0
        self._most = most
        self._rest = b""
        self._skips = False  # the frame was too long: all of it up to the delimiter is left out

    @property
    def is_inside(self) -> bool:
        return bool(self._rest) or self._skips

    def feed(self, data: bytes) -> list[bytes]:
        *whole, rest = (self._rest + data).split(self.delimiter)
        found = []
        for frame in whole:
            if self._skips or len(frame) > self._most:
                self.damaged += 1
                self._skips = False
            else:
                found.append(frame)
        if len(rest) > self._most + len(self.delimiter):
            self._skips = True
            rest = rest[-len(self.delimiter) + 1 :] if len(self.delimiter) > 1 else b""
        self._rest = rest
        return found

    def encode(self, frame: bytes) -> bytes:
        if self.delimiter in frame:
            raise ValueError("the delimiter of the line stands in it")
        if len(frame) > self._most:
            raise ValueError(f"it is longer than {self._most} bytes")
        return frame + self.delimiter

    def reset(self) -> None:
        self._rest, self._skips = b"", False


class TextLines(Delimited):
    """Lines; a carriage return at the end of one is left out."""

    def feed(self, data: bytes) -> list[bytes]:
        return [line.removesuffix(b"\r") for line in super().feed(data)]


class LengthPrefixed:
    """Frames behind a number of their bytes."""

    def __init__(self, width: int, order: Literal["big", "little"], most: int) -> None:
        self.damaged = 0
        self._width = width
        self._order = order
        self._most = min(most, (1 << 8 * width) - 1)
        self._rest = b""
        self._skips = False  # the number was none: nothing is known until there is a silence

    @property
    def is_inside(self) -> bool:
        return bool(self._rest) or self._skips

    def feed(self, data: bytes) -> list[bytes]:
        found: list[bytes] = []
        if self._skips:
            return found
        rest = self._rest + data
        while len(rest) >= self._width:
            length = int.from_bytes(rest[: self._width], self._order)
            if length > self._most:
                self.damaged += 1
                self._skips, rest = True, b""
                break
            if len(rest) < self._width + length:
                break
            found.append(rest[self._width : self._width + length])
            rest = rest[self._width + length :]
        self._rest = rest
        return found

    def encode(self, frame: bytes) -> bytes:
        if len(frame) > self._most:
            raise ValueError(f"it is longer than {self._most} bytes")
        return len(frame).to_bytes(self._width, self._order) + frame

    def reset(self) -> None:
        self._rest, self._skips = b"", False


class Slip(Delimited):
    """SLIP, RFC 1055. Frames of no bytes are what stands between two ENDs, and are none."""

    def __init__(self, most: int) -> None:
        super().__init__(bytes([_END]), 2 * most)
        self._longest = most

    def feed(self, data: bytes) -> list[bytes]:
        found = []
        for coded in super().feed(data):
            frame = _unescaped(coded)
            if frame is None or len(frame) > self._longest:
                self.damaged += 1
            elif frame:
                found.append(frame)
        return found

    def encode(self, frame: bytes) -> bytes:
        if not 0 < len(frame) <= self._longest:
            raise ValueError(f"a frame has 1 to {self._longest} bytes")
        escaped = frame.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
        return self.delimiter + escaped + self.delimiter


def _unescaped(coded: bytes) -> bytes | None:
    first, *pieces = coded.split(bytes([_ESC]))
    found = bytearray(first)
    for piece in pieces:
        if not piece or piece[0] not in (_ESC_END, _ESC_ESC):
            return None
        found.append(_END if piece[0] == _ESC_END else _ESC)
        found += piece[1:]
    return bytes(found)


class Cobs(Delimited):
    """Consistent Overhead Byte Stuffing (Cheshire and Baker, 1999), frames ended by a zero."""

    def __init__(self, most: int) -> None:
        super().__init__(b"\0", most + most // 254 + 1)
        self._longest = most

    def feed(self, data: bytes) -> list[bytes]:
        found = []
        for coded in super().feed(data):
            if not coded:
                continue  # two zeros in a row: some senders begin a frame with one
            frame = _unstuffed(coded)
            if frame is None or len(frame) > self._longest:
                self.damaged += 1
            else:
                found.append(frame)
        return found

    def encode(self, frame: bytes) -> bytes:
        if len(frame) > self._longest:
            raise ValueError(f"it is longer than {self._longest} bytes")
        coded = bytearray()
        groups = frame.split(b"\0")
        for number, group in enumerate(groups):
            rest = group
            while len(rest) >= 254:
                coded += b"\xff" + rest[:254]
                rest = rest[254:]
            if rest or len(group) < 254 or number < len(groups) - 1:
                coded += bytes([len(rest) + 1]) + rest
        return bytes(coded) + self.delimiter


def _unstuffed(coded: bytes) -> bytes | None:
    found, at = bytearray(), 0
    while at < len(coded):
        code = coded[at]
        if at + code > len(coded):
            return None
        found += coded[at + 1 : at + code]
        at += code
        if code < 255 and at < len(coded):
            found.append(0)
    return bytes(found)
