"""WebSocket as the door speaks it (RFC 6455), the server's side: payloads in binary messages. Pure.

A browser cannot open a TLS connection of its own, so its payloads travel in here, one a message, without the length
that they have on a TLS stream. Taken are binary messages, whole or in fragments, ping, pong and close. Everything else
is refused: text, frames without a mask, extensions (so there is no compression), lengths that are not the shortest
(RFC 6455, 5.2), and empty messages, which are no payload. What is held is bounded by `cap` before it is read.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence

from tlsrt.errors import PeerError

FRAGMENTS_MAX = 1024  # of one message: an empty one costs as much as a full one
CONTROLS_MAX = 64  # ping, pong and close in one read
CONTROL_MAX = 125  # bytes in a control frame (RFC 6455, 5.5)
NORMAL, PROTOCOL_ERROR, UNSUPPORTED, TOO_BIG = 1000, 1002, 1003, 1009  # close codes (RFC 6455, 7.4.1)
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_FIN, _RESERVED, _MASKED, _IS_CONTROL = 0x80, 0x70, 0x80, 0x08
_MASK_BYTES = 4


def accept_key(key: str) -> str:
    """Return what the server answers to a Sec-WebSocket-Key."""
    digest = hashlib.sha1((key + _GUID).encode("ascii"), usedforsecurity=False).digest()  # as RFC 6455, 4.2.2, wants it
    return base64.b64encode(digest).decode("ascii")


def frame(opcode: int, data: bytes) -> bytes:
    """Return one whole frame of a server."""
    size = len(data)
    if size <= CONTROL_MAX:
        head = bytes((_FIN | opcode, size))
    elif size < 1 << 16:
        head = bytes((_FIN | opcode, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big")
    return head + data


class WebSocketFraming:
    """Cuts what a browser sends into payloads, and frames ours. `cap` bounds the next payloads of the peer."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.is_closed = False  # the peer has said that it ends
        self._buffer = bytearray()
        self._message = bytearray()  # its fragments so far, without masks
        self._fragments = 0
        self._controls = 0  # of one read
        self._pong: bytes | None = None
        self._code = NORMAL  # what our close frame will say
        self._has_ended = False

    # -- what we send ------------------------------------------------------------------------------------------

    def encode(self, payloads: Sequence[bytes]) -> bytes:
        """Return payloads as they travel."""
        return b"".join([frame(_BINARY, payload) for payload in payloads])

    def end(self) -> bytes:
        """Return what is sent last of all: a close frame, once."""
        if self._has_ended:
            return b""
        self._has_ended = True
        return frame(_CLOSE, self._code.to_bytes(2, "big"))

    def take_reply(self) -> bytes:
        """Return the answer to the last ping of a read, or nothing (RFC 6455, 5.5.3)."""
        pong, self._pong = self._pong, None
        return b"" if pong is None or self._has_ended else frame(_PONG, pong)

    # -- what we read ------------------------------------------------------------------------------------------

    def feed_untrusted(self, data: bytes) -> Iterator[bytes]:
        """Take bytes, yield the payloads that are whole now. Raise PeerError at what no client may send.

        Iterate to the end. `cap` is read anew before each frame. After a close frame everything is dropped.
        """
        self._controls = 0
        self._buffer += data
        while not self.is_closed:
            found = self._next_frame()
            if found is None:
                return
            payload = self._take(*found)
            if payload is not None:
                yield payload
        self._buffer.clear()

    def _refuse(self, reason: str, code: int = PROTOCOL_ERROR) -> PeerError:
        self._code = code
        return PeerError(f"websocket_{reason}")

    def _next_frame(self) -> tuple[int, bytes] | None:
        """Return the first byte and the content of the next frame, or None if it is not whole."""
        buffer = self._buffer
        if not buffer:
            return None
        first = buffer[0]
        self._check_first(first)
        if len(buffer) < 2:
            return None
        if not buffer[1] & _MASKED:
            raise self._refuse("unmasked")
        short = buffer[1] & ~_MASKED
        at = 2 + {126: 2, 127: 8}.get(short, 0)
        if first & _IS_CONTROL and short > CONTROL_MAX:
            raise self._refuse("long_control")
        if len(buffer) < at:
            return None
        size = short if at == 2 else int.from_bytes(buffer[2:at], "big")
        if at > 2 and size <= (CONTROL_MAX if at == 4 else 0xFFFF):
            raise self._refuse("long_length")
        if not first & _IS_CONTROL and len(self._message) + size > self.cap:
            raise self._refuse("too_big", TOO_BIG)
        end = at + _MASK_BYTES + size
        if len(buffer) < end:
            return None
        content = _unmask(buffer[at + _MASK_BYTES : end], buffer[at : at + _MASK_BYTES])
        del buffer[:end]
        return first, content

    def _check_first(self, first: int) -> None:
        """Check the first byte: what kind of frame may come now."""
        opcode = first & 0x0F
        if first & _RESERVED:
            raise self._refuse("extension")
        if opcode == _TEXT:
            raise self._refuse("text", UNSUPPORTED)
        if opcode not in (_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG):
            raise self._refuse("opcode")
        if opcode & _IS_CONTROL:
            if not first & _FIN:
                raise self._refuse("cut_control")
        elif (opcode == _CONTINUATION) != bool(self._fragments):
            raise self._refuse("order")

    def _take(self, first: int, content: bytes) -> bytes | None:
        """Take one frame; return a payload that is whole with it."""
        opcode = first & 0x0F
        if opcode & _IS_CONTROL:
            self._take_control(opcode, content)
            return None
        self._fragments += 1
        if self._fragments > FRAGMENTS_MAX:
            raise self._refuse("fragments", TOO_BIG)
        if not first & _FIN:
            self._message += content
            return None
        payload = bytes(self._message) + content if self._message else content
        self._message.clear()
        self._fragments = 0
        if not payload:
            raise self._refuse("empty")
        return payload

    def _take_control(self, opcode: int, content: bytes) -> None:
        self._controls += 1
        if self._controls > CONTROLS_MAX:
            raise self._refuse("controls")
        if opcode == _PING:
            self._pong = content
        elif opcode == _CLOSE:
            if len(content) == 1:
                raise self._refuse("close")
            self.is_closed = True


def _unmask(data: bytearray, mask: bytearray) -> bytes:
    """Return what was masked (RFC 6455, 5.3); one operation on long integers, as a loop takes 100 times as long."""
    if not data:
        return b""
    pattern = (bytes(mask) * (len(data) // _MASK_BYTES + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(pattern, "big")).to_bytes(len(data), "big")
