"""The resolver process: asks name servers, on sockets that it is handed, for the addresses of names that it is told.

What servers say is parsed here and nowhere else: in a process with a uid of its own, without key, capability, file or
network, which can make no socket. What it says back is a few addresses, and the supervisor judges those.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tlsrt.channels.control.resolver import RESOLVER, Outcome, QuestionMessage
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.errors import PeerError
from tlsrt.supervisor.process.service_main import run_service
from tlsrt.supervisor.resolver.dns import AAAA, NO_ERROR, NO_SUCH_NAME, A, DnsAnswer, Question, decode_untrusted

_LONGEST_PACKET = 4096  # of a datagram; we say nothing of EDNS, so 512 is what a server may send
_LONGEST_STREAM = 2 + 65535
_STRANGE_MOST = 8  # packets on the way that are no answer: forged, or late
_OUTCOMES = {NO_ERROR: Outcome.FOUND, NO_SUCH_NAME: Outcome.NO_SUCH_NAME}


@dataclass(slots=True)
class _Asking:
    """One question on its way."""

    message: QuestionMessage
    question: Question
    server: socket.socket
    until: float
    is_sent: bool = False
    strange: int = 0
    heard: bytearray = field(default_factory=bytearray)


class Resolver:
    """Asks all questions at the same time, each on its own socket."""

    def __init__(
        self, channel: int, clock: Callable[[], float] = time.monotonic, chance: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._supervisor = ControlChannel(channel, RESOLVER)
        self._clock = clock
        self._chance = chance
        self._waiting = select.poll()
        self._asking: dict[int, _Asking] = {}

    def run(self) -> int:
        """Serve until the supervisor closes the channel; return the exit code."""
        self._supervisor.send("sealed")
        self._waiting.register(self._supervisor.fileno(), select.POLLIN)
        while True:
            ready = self._waiting.poll(self._timeout_ms())
            for descriptor, _ in ready:
                if descriptor in self._asking:
                    self._go_on(descriptor, self._asking[descriptor])
            for descriptor, asking in [*self._asking.items()]:
                if asking.until <= self._clock():
                    self._end(descriptor, asking, Outcome.SILENT)
            received = self._supervisor.receive("supervisor", "sealed", descriptors=True)
            if received is not None:
                self._begin(received[1], received[2][0])

    def _timeout_ms(self) -> float | None:
        first = min((asking.until for asking in self._asking.values()), default=None)
        return None if first is None else max(0.0, (first - self._clock()) * 1000) + 1

    def _begin(self, message: QuestionMessage, descriptor: int) -> None:
        number = int.from_bytes(self._chance(2), "big")  # beside the port of the socket, what who forges has to guess
        question = Question(number, message.name, AAAA if message.is_six else A)
        server = socket.socket(fileno=descriptor)
        server.setblocking(False)
        asking = _Asking(message, question, server, self._clock() + message.wait_ms / 1000)
        self._asking[descriptor] = asking
        self._waiting.register(descriptor, select.POLLOUT)
        self._go_on(descriptor, asking)

    def _go_on(self, descriptor: int, asking: _Asking) -> None:
        """Send or receive what can be now."""
        try:
            if not asking.is_sent:
                packet = asking.question.encode()
                asking.server.send(len(packet).to_bytes(2, "big") + packet if asking.message.is_stream else packet)
                asking.is_sent = True
                self._waiting.modify(descriptor, select.POLLIN)
            answer = self._heard_untrusted(asking)
        except BlockingIOError:
            return
        except (OSError, PeerError):
            self._end(descriptor, asking, Outcome.FAILED)
            return
        if answer is None:
            return
        if answer.is_truncated:
            self._end(descriptor, asking, Outcome.FAILED if asking.message.is_stream else Outcome.TRUNCATED)
        else:
            self._end(descriptor, asking, _OUTCOMES.get(answer.code, Outcome.FAILED), answer)

    def _heard_untrusted(self, asking: _Asking) -> DnsAnswer | None:
        """Return the answer, None if it is not there yet. Raises PeerError and OSError."""
        if asking.message.is_stream:
            piece = asking.server.recv(_LONGEST_STREAM - len(asking.heard))
            if not piece:
                raise PeerError("dns_closed")
            asking.heard += piece
            size = int.from_bytes(asking.heard[:2], "big")
            if len(asking.heard) < 2 + size or len(asking.heard) < 2:
                return None
            return decode_untrusted(bytes(asking.heard[2 : 2 + size]), asking.question)
        while True:
            packet = asking.server.recv(_LONGEST_PACKET)
            try:
                return decode_untrusted(packet, asking.question)
            except PeerError:
                asking.strange += 1
                if asking.strange >= _STRANGE_MOST:
                    raise

    def _end(self, descriptor: int, asking: _Asking, outcome: Outcome, answer: DnsAnswer | None = None) -> None:
        self._waiting.unregister(descriptor)
        del self._asking[descriptor]
        asking.server.close()
        addresses = b"".join(answer.addresses) if answer is not None else b""
        self._supervisor.send(
            "heard", asking.message.number, int(outcome), answer.ttl_s if answer is not None else 0, addresses
        )


def resolver_main(channel: int) -> int:
    """Run the body of the forked, confined process; return its exit code. `channel` is owned from here on."""
    return run_service("resolver", lambda: Resolver(channel).run())
