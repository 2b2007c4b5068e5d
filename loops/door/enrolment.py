"""The clients at the door that have no certificate yet: so many at a time, so often, each known by its number."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Sequence

from tlsrt.channels.session.enrolment import PROTOCOL
from tlsrt.channels.tls.connection import Handler
from tlsrt.loops.door.enrolment_connection import (
    BURST,
    RATE_S,
    STRANGERS_MAX,
    STRANGERS_PER_ADDRESS,
    EnrolmentConnection,
)
from tlsrt.loops.door.tls_server import Connected, UnauthenticatedHandlers
from tlsrt.rate_limit import Buckets

Ask = Callable[[int, str, bytes, bytes, bytes], None]  # connection, its address, id, signing request, MAC


class EnrolmentConnections:
    """Welcomes strangers and brings them their answers. `ask` hands on what one said; PeerError ends it."""

    def __init__(self, ask: Ask) -> None:
        self.authorities: Sequence[bytes] = ()  # the door's CAs, DER
        self._ask = ask
        self._links: dict[int, EnrolmentConnection] = {}
        self._addresses: Counter[str] = Counter()
        self._rates = Buckets(BURST, RATE_S)

    def strangers(self, context: ssl.SSLContext) -> UnauthenticatedHandlers:
        """Return what a server needs to know."""
        return UnauthenticatedHandlers(PROTOCOL, context, self._welcome)

    def enrolled(self, number: int, answer: bytes, mac: bytes) -> None:
        """Pass an answer on; one that has gone is ignored."""
        if number in self._links:
            self._links[number].answer(answer, mac)

    def refused(self, number: int) -> None:
        """Say no."""
        if number in self._links:
            self._links[number].refuse("not_enrolled")

    def _welcome(self, client: Connected) -> Handler:
        number, key = client.number, client.key
        now = asyncio.get_running_loop().time()
        is_room = len(self._links) < STRANGERS_MAX and self._addresses[key] < STRANGERS_PER_ADDRESS
        has_turn = self._rates.take(key, now)
        self._addresses[key] += 1
        link = self._links[number] = EnrolmentConnection(
            client.connection, self.authorities,
            lambda code_id, request, mac: self._ask(number, client.address, code_id, request, mac),
            lambda: self._over(number, key),
        )  # fmt: skip
        if not is_room or not has_turn:
            link.refuse("too_many_strangers" if has_turn else "too_fast_stranger")
        return link

    def _over(self, number: int, key: str) -> None:
        del self._links[number]
        self._addresses[key] -= 1
        if not self._addresses[key]:
            del self._addresses[key]
