"""ZMTP 3, the protocol of ZeroMQ on a stream socket, for a DEALER without security. Pure.

Theory of operation. libzmq moves every message over two threads of its own, one on each side: measured, that is half
of what a small call costs, and it keeps the parts of a message that never ends without a limit. So the links of the
host speak the protocol themselves (RFC 23 and 37: greeting, READY, messages), and a libzmq socket at the other end
notices no difference. Frames of tlsrt are one part each; what comes in several parts is dropped while it comes.

Bounds: a peer that has not shaken hands may send GREETING and one command; after that one message of `message_max`
bytes at a time, refused at its length, before a byte of it is kept.
"""

from __future__ import annotations

from tlsrt.errors import PeerError

GREETING_BYTES = 64
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(52, b"\0")
READY = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
COMMAND_MAX = 512  # READY with an identity of 255 bytes, and what newer versions may add
CRUMB_BYTES = 32  # no message of ours is shorter
CRUMBS_MAX = 256  # shorter messages, commands and parts in what is read at once; who sends more wastes our time
_MORE, _LONG, _COMMAND = 1, 2, 4
_KNOWN_FLAGS = _MORE | _LONG | _COMMAND


def message_head(length: int) -> bytes:
    """Return what goes in front of a message of one part."""
    return bytes((0, length)) if length < 256 else b"\x02" + length.to_bytes(8, "big")


class ZmtpReader:
    """What one peer has sent. `feed_untrusted` takes bytes and returns the messages that are whole now."""

    def __init__(self, message_max: int) -> None:
        self.ready = False  # the peer has shaken hands
        self._message_max = message_max
        self._greeted = False
        self._rest = bytearray()  # the begin of what is not whole yet
        self._needed = 0  # bytes without which nothing more can be read
        self._parts = False  # inside of a message of several parts
        self.multiparts = 0  # messages of several parts, dropped

    def whole_untrusted(self, data: bytearray, count: int) -> bytes:
        """Return the message if the first `count` bytes are exactly one. Else nothing, and `feed` has to read them."""
        if not self.ready or self._rest or self._parts:
            return b""
        if data[0] == 0:
            return bytes(data[2:count]) if data[1] == count - 2 else b""
        if data[0] == _LONG and count > 9 and int.from_bytes(data[1:9], "big") == count - 9 <= self._message_max:
            return bytes(memoryview(data)[9:count])
        return b""

    def feed_untrusted(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """Return whole messages, in order. Raise PeerError at what ZMTP does not allow, or at one that is too long."""
        messages: list[bytes] = []
        crumbs = 0
        if rest := self._rest:
            missing = self._needed - len(rest)
            if missing > len(data):
                rest += data
                return messages
            self._rest = bytearray()
            self._needed = 0
            if missing > 0 and not rest[0] & ~_LONG and not self._parts:  # nothing behind it is copied for its sake
                start = 9 if rest[0] else 2
                messages.append(b"".join((memoryview(rest)[start:], memoryview(data)[:missing])))
                crumbs = len(messages[0]) < CRUMB_BYTES
                data = memoryview(data)[missing:]
            else:
                rest += data
                data = rest
        view = memoryview(data)
        if not view:
            return messages
        at = 0 if self._greeted else self._greeting_untrusted(view)
        end = len(view)
        while end - at >= 2 and self._greeted:
            flags = view[at]
            if flags & _LONG:
                if end - at < 9:
                    break
                start, length = at + 9, int.from_bytes(view[at + 1 : at + 9], "big")
            else:
                start, length = at + 2, view[at + 1]
            if length > self._message_max or flags & ~_KNOWN_FLAGS:
                raise PeerError("zmtp_oversize" if length > self._message_max else "zmtp_flags")
            if flags & (_COMMAND | _MORE) or length < CRUMB_BYTES or self._parts:
                crumbs += 1
                if crumbs > CRUMBS_MAX:
                    raise PeerError("zmtp_crumbs")
            if flags & _COMMAND or not self.ready:
                if not self._command_untrusted(flags, length, view[start : start + length]):
                    break
            elif end - start < length:
                self._needed = start - at + length
                break
            elif flags & _MORE or self._parts:
                self.multiparts += not self._parts
                self._parts = bool(flags & _MORE)
            else:
                messages.append(bytes(view[start : start + length]))
            at = start + length
        if at < end:
            self._rest += view[at:]
        return messages

    def _greeting_untrusted(self, view: memoryview) -> int:
        """Check the greeting and return its length; 0 until it is whole."""
        if view[0] != 0xFF or (len(view) > 9 and view[9] != 0x7F) or (len(view) > 10 and view[10] < 3):
            raise PeerError("zmtp_greeting")
        if len(view) < GREETING_BYTES:
            return 0
        if view[12:32] != GREETING[12:32]:
            raise PeerError("zmtp_mechanism")
        self._greeted = True
        return GREETING_BYTES

    def _command_untrusted(self, flags: int, length: int, body: memoryview) -> bool:
        """Take a command; False until it is whole. The first one has to be READY of a DEALER."""
        if not flags & _COMMAND or flags & _MORE or length > COMMAND_MAX:
            raise PeerError("zmtp_command")
        if len(body) < length:
            return False
        if not self.ready:
            command = bytes(body)
            if not command.startswith(b"\x05READY") or READY[8:] not in command:
                raise PeerError("zmtp_peer")
            self.ready = True
        return True
