"""The supervisor's side of the resolver: questions about names, each with a socket to the server that is asked.

The resolver makes no socket, so it reaches whom the supervisor has connected it to; each question has a socket of its
own, whose port is another one each time. What comes back is a number, a time and addresses.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from tlsrt.channels.control.resolver import RESOLVER, Outcome
from tlsrt.config.resolver import NameServer
from tlsrt.config.schema import Config
from tlsrt.errors import PeerError
from tlsrt.supervisor.process.children import Child, Children, HelperStart
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.exit_reason import Cause
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.service_process import ServiceProcess

NAME = "resolver"
WAITING_MAX = 32  # questions on their way, each with a socket
_MOST_ADDRESSES = 32
LATE_S = 2.0  # after the time that the server has

Heard = Callable[[Outcome, int, list[bytes]], None]  # how it ended, the time to live in seconds, the addresses


class ResolverProcess(ServiceProcess):
    """The one resolver, over all its incarnations."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, NAME, RESOLVER)
        self._questions: dict[int, tuple[bool, Heard, Timer]] = {}  # for IPv6, who asks, until when
        self._number = 0

    @property
    def is_busy(self) -> bool:
        """Tell whether it can be asked nothing now."""
        return not self.is_attested or len(self._questions) >= WAITING_MAX

    def is_needed(self, config: Config) -> bool:
        return config.needs_resolver

    def fork(self, children: Children, start: HelperStart) -> Child:
        return children.spawn_resolver(start)

    def ask(
        self, name: str, server: NameServer, wait_s: float, heard: Heard, *, is_six: bool, is_stream: bool
    ) -> None:  # fmt: skip
        """Have a name asked for. `heard` is called, perhaps before this returns."""
        if self._channel is None or self.is_busy:
            heard(Outcome.FAILED, 0, [])
            return
        try:
            descriptor = connected_socket(server, is_stream=is_stream)
        except OSError:
            heard(Outcome.FAILED, 0, [])
            return
        self._number += 1
        question = (self._number, name.encode("ascii"), int(is_six), int(is_stream), round(wait_s * 1000))
        is_late = partial(self.kill, "does not answer", Cause.DEADLINE)
        self._questions[self._number] = is_six, heard, self._context.event_loop.call_later(wait_s + LATE_S, is_late)
        try:
            self._channel.send("question", *question, descriptors=(descriptor,))
        except PeerError as error:
            self.kill(f"does not read its channel: {error.reason}")
        finally:
            os.close(descriptor)

    def take(self, name: str, message: Any, descriptors: list[int]) -> None:
        if message.number not in self._questions:
            raise PeerError("unasked")
        is_six, heard, timer = self._questions.pop(message.number)
        timer.cancel()
        heard(*checked_untrusted(message.outcome, message.ttl_s, message.addresses, is_six=is_six))

    def lost(self) -> None:
        questions, self._questions = self._questions, {}
        for _, _, timer in questions.values():
            timer.cancel()
        for _, heard, _ in questions.values():
            heard(Outcome.FAILED, 0, [])


def checked_untrusted(
    outcome: int, ttl_s: int, addresses: bytes, *, is_six: bool
) -> tuple[Outcome, int, list[bytes]]:  # fmt: skip
    """Return what the resolver says as values. Raises PeerError for what it cannot say. Pure."""
    size = 16 if is_six else 4
    if len(addresses) % size or len(addresses) > size * _MOST_ADDRESSES or ttl_s >= 1 << 31:
        raise PeerError("bad_addresses")
    try:
        known = Outcome(outcome)
    except ValueError:
        raise PeerError("bad_outcome") from None
    return known, ttl_s, [addresses[at : at + size] for at in range(0, len(addresses), size)]


def connected_socket(server: NameServer, *, is_stream: bool) -> int:
    """Return a socket that is connected to a name server, or being so. Raises OSError."""
    family = socket.AF_INET6 if server.is_six else socket.AF_INET
    kind = socket.SOCK_STREAM if is_stream else socket.SOCK_DGRAM
    scope = socket.if_nametoindex(server.scope) if server.scope else 0
    place = (server.host, server.port, 0, scope) if server.is_six else (server.host, server.port)
    with socket.socket(family, kind | socket.SOCK_NONBLOCK) as made:
        try:
            made.connect(place)
        except BlockingIOError:
            pass
        return made.detach()
