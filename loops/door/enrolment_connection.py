"""A client without a certificate at the door: it may say one thing, and hears one answer. The server's end of
`tlsrt-enrol/1`.

Nothing is decided here: id, signing request and MAC go to the authority, and its answer or one word comes back. The
connection counts as unauthenticated to its end, which comes soon in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tlsrt.channels.session.enrolment import (
    ASKING_MAX,
    AUTHORITIES_MAX,
    CERTIFICATE_MAX,
    REFUSED,
    encode_message,
    parse_asking_untrusted,
)
from tlsrt.channels.tls.connection import TlsConnection
from tlsrt.channels.tls.message_link import MessageLink
from tlsrt.errors import PeerError

STAY_S = 10.0  # from the handshake to the answer: a client has its request ready
STRANGERS_MAX = 32  # of these at a time, ...
STRANGERS_PER_ADDRESS = 4  # ... and of one address
RATE_S, BURST = 1.0, 20.0  # of one address

Ask = Callable[[bytes, bytes, bytes], None]


class EnrolmentConnection(MessageLink):
    """One such client. `ask` hands its message on, `over` hears that it has gone."""

    def __init__(
        self, connection: TlsConnection, authorities: Sequence[bytes], ask: Ask, over: Callable[[], None],
        want: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(connection, ASKING_MAX, want)
        self._ask = ask
        self._over = over
        self._has_asked = False
        self._timer = self._loop.call_later(STAY_S, self.refuse, "enrol_timeout")
        listed = [each for each in authorities if len(each) <= CERTIFICATE_MAX][:AUTHORITIES_MAX]
        self.send(encode_message("authorities", listed))

    def received_untrusted(self, data: bytes) -> None:
        try:
            super().received_untrusted(data)
        except PeerError as error:
            self.refuse(error.reason)

    def payload_untrusted(self, payload: bytes) -> None:
        if self._has_asked:
            raise PeerError("enrol_twice")
        self._has_asked = True
        self._ask(*parse_asking_untrusted(payload))

    def answer(self, answer: bytes, mac: bytes) -> None:
        """Pass the authority's answer on, and end."""
        if self._has_asked and not self.connection.ended:
            self.send(encode_message("enrolled", answer, mac))
            self.flush()
            self.connection.close("enrolled")

    def refuse(self, reason: str) -> None:
        """Say the one word, whatever the reason, and end."""
        if not self.connection.ended:
            self.send(encode_message("refused", REFUSED))
            self.flush()
            self.connection.fail(reason)

    def lost(self, reason: str) -> None:
        self._timer.cancel()
        self._over()
