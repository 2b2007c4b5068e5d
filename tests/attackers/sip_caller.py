"""A call of a peer that speaks SIP, with sound both ways: it notes when each packet comes. Blocking, with a thread."""

from __future__ import annotations

import os
import socket
import threading
import time
from types import TracebackType
from typing import Self

from attackers.sip_peer import SipPeer
from tlsrt.loops.sip.description import SrtpKey, read_untrusted, write_offer
from tlsrt.loops.sip.media import Media

KEY = SrtpKey(1, "AES_CM_128_HMAC_SHA1_80", b"x" * 30)


class SipCaller:
    """Rings third/door by a peer, says nothing but silence, and hears. Raises AssertionError if it is not answered."""

    def __init__(self, peer: SipPeer) -> None:
        self.last_s = 0.0  # by the monotonic clock, when the last packet that its key opens has come
        self.received = 0
        self._peer = peer
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.02)
        offer = write_offer("127.0.0.1", self._socket.getsockname()[1], 1, 0, (KEY,))
        call_id = os.urandom(8).hex()
        assert peer.ask(peer.request("INVITE", call_id=call_id, count=1, body=offer)) == 200, peer.last
        terms = read_untrusted(peer.last.body, (KEY,))
        to = peer.last.get("to").rpartition(";tag=")[2]
        peer.send(peer.request("ACK", call_id=call_id, count=1, to=to))
        self._media = Media(terms, KEY, 7, 1, 1)
        self._media.is_proven = True  # of two that wait for the other's first packet one has to begin
        self._place = (terms.address, terms.port)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._talk)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._socket.close()

    def until_hung_up(self) -> float:
        """Return when the other side hung up."""
        message = self._peer.receive()
        assert message is not None and message.method == "BYE", message
        return time.monotonic()

    def _talk(self) -> None:
        due_s = time.monotonic()
        while not self._is_over.is_set():
            if time.monotonic() >= due_s:
                due_s += 0.02
                if packet := self._media.next_packet():
                    self._socket.sendto(packet, self._place)
            try:
                data = self._socket.recv(2048)
            except TimeoutError:
                continue
            if self._media.take_untrusted(data):
                self.received, self.last_s = self.received + 1, time.monotonic()
