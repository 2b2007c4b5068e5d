"""Cuts the bytes of a connection into SIP messages (RFC 3261, 18.3). Pure."""

from __future__ import annotations

from dataclasses import replace

from tlsrt.loops.sip.message import MAX_HEAD, SipError, SipMessage, parse_head_untrusted

_END = b"\r\n\r\n"


class SipFraming:
    """Takes bytes, gives messages; holds no more than one head and one body. After a SipError it takes no more."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: tuple[SipMessage, int] | None = None
        self._searched = 0
        self._is_broken = False

    @property
    def waiting(self) -> int:
        """Bytes of a message that is not whole yet."""
        return len(self._buffer) + (1 if self._head else 0)

    def put(self, data: bytes) -> None:
        """Take bytes, whose messages are read one by one."""
        if not self._is_broken:
            self._buffer += data

    def next_untrusted(self) -> SipMessage | None:
        """Return the next message that is whole. Raises SipError, after which the connection is to be closed."""
        if self._is_broken:
            raise SipError("a connection that has sent what is no SIP")
        try:
            return self._next()
        except SipError:
            self._is_broken = True
            self._buffer.clear()
            raise

    def feed_untrusted(self, data: bytes) -> list[SipMessage]:
        """Return the messages that are whole with these bytes. Raises SipError, also for the last one of several."""
        self.put(data)
        found: list[SipMessage] = []
        while (message := self.next_untrusted()) is not None:
            found.append(message)
        return found

    def _next(self) -> SipMessage | None:
        if self._head is None:
            while self._buffer[:2] == b"\r\n":  # RFC 5626 keeps connections open by these
                del self._buffer[:2]
                self._searched = 0
            end = self._buffer.find(_END, max(0, self._searched - 3))
            if end < 0:
                self._searched = len(self._buffer)
                if len(self._buffer) > MAX_HEAD:
                    raise SipError(f"a head of more than {MAX_HEAD} bytes", 513)
                return None
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self._searched = 0
            self._head = parse_head_untrusted(head)
        message, length = self._head
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._head = None
        return replace(message, body=body)
