"""One end of a TLS 1.3 connection, sans I/O: ciphertext in, plaintext and ciphertext out. No sockets.

Theory of operation. `ssl.SSLObject` over two memory BIOs does the TLS; this class drives it and keeps four promises
that the TLS transports of asyncio do not: whatever fails, the alert is in `take_outgoing()` afterwards; a close_notify
of the peer is answered and told apart from a cut; a client that has not sent its whole hello costs no TLS state; and
what may be buffered is bounded. `receive_untrusted` never raises: it returns the plaintext that was authentic, and
`state` and `failure` tell the rest, so that one chunk and the same bytes one by one mean the same.

OpenSSL sends no alert for first bytes that are no TLS at all, and Python's `ssl` cannot refuse a hello without our
protocol, groups and suites. For all of them no key is in use yet, so the alert is a plain record of seven bytes (RFC
8446, sections 5.1 and 6) that is made here: before OpenSSL sees a hello that offers nothing of ours (client_hello.py),
and in place of a ServerHello that chose something else (server_hello.py).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum

from tlsrt.channels.tls.client_hello import GROUPS, SUITES, HelloReader, HelloVerdict, Offer
from tlsrt.channels.tls.server_hello import Choice, read_choice

RECORD_BYTES = 16384  # the most plaintext that one read returns (RFC 8446, section 5.1)
HANDSHAKE_MAX = 144 * 1024  # OpenSSL takes a hello of 128 KiB; with post-quantum shares both flights have under 8

_CLOSE_NOTIFY, _UNEXPECTED_MESSAGE, _HANDSHAKE_FAILURE, _DECODE_ERROR = 0, 10, 40, 50
_PROTOCOL_VERSION, _NO_PROTOCOL = 70, 120
_WARNING, _FATAL = 1, 2
_REFUSALS = {
    HelloVerdict.NO_PROTOCOL: ("no_protocol", _NO_PROTOCOL),
    HelloVerdict.NO_GROUP: ("no_group", _HANDSHAKE_FAILURE),
    HelloVerdict.NO_SUITE: ("no_suite", _HANDSHAKE_FAILURE),
    HelloVerdict.OLD_VERSION: ("old_version", _PROTOCOL_VERSION),
    HelloVerdict.BAD_VERSIONS: ("bad_versions", _DECODE_ERROR),
    HelloVerdict.NO_TLS: ("no_tls", _UNEXPECTED_MESSAGE),
    HelloVerdict.EMPTY_RECORD: ("empty_record", _UNEXPECTED_MESSAGE),
}
# A record that is too long, and enough to fill up one that has begun: OpenSSL answers it with an alert.
_TOO_MUCH = b"\x17\x03\x03\xff\xff" + bytes(RECORD_BYTES + 512)
_SAID = re.compile(r"^\[[^]]*\] | \(_ssl\.c.*$")
_NO_WORD = re.compile(r"[^a-z0-9]+")


class State(Enum):
    """Where a connection is. From CLOSED and FAILED there is no way back."""

    HANDSHAKE = "handshake"
    OPEN = "open"
    CLOSED = "closed"  # a close_notify was sent or answered
    FAILED = "failed"  # `failure` says why; the alert waits in take_outgoing()


_OPEN, _HANDSHAKE = State.OPEN, State.HANDSHAKE  # looking a member up costs as much as comparing it


def plain_alert(level: int, description: int) -> bytes:
    """Return an unencrypted alert record (RFC 8446, section 6)."""
    return bytes((21, 3, 3, 0, 2, level, description))


Choose = Callable[[Collection[bytes], bytes], "ssl.SSLContext | None"]


class TlsEngine:
    """One connection.

    `protocols` are the ALPN names of which it insists on one; without any, ALPN does not matter. A server takes no
    other `groups` for the key exchange and no other `suites`. With `strangers`, contexts by ALPN name, it uses such a
    context for a client that offers this name and no other; no other ever meets it. `choose` may return another context
    for a client by the ALPN names that it offers and the server name that it asks for. `guests` are names of protocols
    whose context may be one that does not insist on a certificate: who shows none is a stranger by that name.
    """

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, protocols: Sequence[str], server_name: str | None = None,
        groups: Collection[int] = GROUPS, suites: Collection[int] = SUITES,
        strangers: Mapping[str, ssl.SSLContext] | None = None, choose: Choose | None = None,
        guests: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.stranger = ""  # the ALPN name of a client without a certificate, where that is allowed
        self._guests = guests
        self._strangers = strangers or {}
        self._choose = choose
        self.state = State.HANDSHAKE
        self.failure = ""  # a word for the log
        self.detail = ""  # OpenSSL's words, for the operator of our own end
        self.peer_closed = False  # by close_notify, not by a cut
        self._context = context
        self._server_name = server_name
        self._protocols = protocols
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object: ssl.SSLObject | None = None
        known = [name.encode() for name in self._strangers]
        self._offer = Offer([name.encode() for name in protocols], groups, suites, known)
        self._hello = HelloReader(self._offer) if server_side else None
        self._is_chosen = not server_side  # what our ServerHello says was checked
        self.choice: Choice | None = None  # of a server: group and suite, once there is a ServerHello
        self._plain = b""
        self._quiet = True  # nothing was sent yet
        self._received = 0
        if not server_side:
            self._begin(server_side=False)
            self._shake_untrusted()

    # -- what the handshake established ------------------------------------------------------------------------

    @property
    def protocol(self) -> str | None:
        """The ALPN name, once open."""
        return self._object.selected_alpn_protocol() if self._object else None

    @property
    def certificate(self) -> bytes:
        """The peer's certificate, DER; empty before the handshake has ended."""
        if self._object is None or self.state is State.HANDSHAKE:
            return b""
        try:
            return self._object.getpeercert(binary_form=True) or b""
        except ValueError:  # the handshake did not get so far
            return b""

    @property
    def names(self) -> tuple[str, ...]:
        """The URIs that the peer's certificate names, once open: as true as the issuer is trusted."""
        if self._object is None or self.state is State.HANDSHAKE:
            return ()
        try:
            named = (self._object.getpeercert() or {}).get("subjectAltName", ())
            return tuple(str(each[1]) for each in named if isinstance(each, tuple) and each[0] == "URI")
        except (ValueError, ssl.SSLError):  # no handshake, or a certificate that cannot be read so far
            return ()

    @property
    def awaits_hello(self) -> bool:
        """Whether it is a server whose client has not sent its whole first flight."""
        return self._hello is not None

    # -- bytes -------------------------------------------------------------------------------------------------

    def receive_untrusted(self, data: bytes | memoryview) -> bytes:
        """Take ciphertext, return plaintext. Cannot fail: see `state`. After the end everything is dropped."""
        if self.state is _OPEN:
            self._incoming.write(data)
            return self._read_untrusted()
        if self._hello is not None and self.state is State.HANDSHAKE:
            data = self._screen_untrusted(self._hello, bytes(data))
        if not data or self.state is not State.HANDSHAKE:
            return b""
        self._incoming.write(data)
        self._received += len(data)
        self._shake_untrusted()
        return self._read_untrusted() if self._is_open() else b""

    def receive_eof(self) -> None:
        """The peer's side of the transport has ended; without a close_notify that is a cut."""
        if self.state is State.OPEN and self._object is not None:
            self._notify(self._object)  # the other direction may still be there
        if self.state in (State.HANDSHAKE, State.OPEN):
            self._fail("cut")

    def write(self, data: bytes) -> None:
        """Queue plaintext; without effect unless open."""
        if self.state is not _OPEN or self._object is None or not data:
            return
        written = self._object.write(data)  # one record
        if written < len(data):
            view = memoryview(data)[written:]
            while view:
                view = view[self._object.write(view) :]

    def close(self) -> None:
        """Queue a close_notify, if there is anything to close; then nothing more is sent or read."""
        if self.state is State.OPEN and self._object is not None:
            self._notify(self._object)
            self.state = State.CLOSED
        elif self.state is State.HANDSHAKE:
            self.state = State.CLOSED
            held = self._hello.held if self._hello else b""
            if self._quiet and (held or self._received):
                self._plain = plain_alert(_WARNING, _CLOSE_NOTIFY)

    def fail(self, reason: str) -> None:
        """End for a reason of our own (a deadline, a broken message above TLS). The peer learns that it is over."""
        if self.state in (State.HANDSHAKE, State.OPEN):
            self.close()
            self.state, self.failure = State.FAILED, reason

    @property
    def has_outgoing(self) -> bool:
        """Whether anything is to be sent."""
        return bool(self._outgoing.pending or self._plain)

    def take_outgoing(self) -> bytes:
        """Return what is to be sent now, alerts included."""
        if not self._outgoing.pending and not self._plain:
            return b""
        data = self._outgoing.read()
        if self._plain:
            data, self._plain = data + self._plain, b""
        if data:
            self._quiet = False
        return data

    def _is_open(self) -> bool:
        return self.state is _OPEN

    # -- inside ------------------------------------------------------------------------------------------------

    def _begin(self, *, server_side: bool) -> None:
        self._object = self._context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=self._server_name
        )

    def _screen_untrusted(self, hello: HelloReader, data: bytes) -> bytes:
        """Hold the hello back until it is whole; return what may be given to TLS."""
        verdict = hello.feed_untrusted(data)
        if verdict is HelloVerdict.WAIT:
            return b""
        if verdict in _REFUSALS:
            self._refuse(*_REFUSALS[verdict])
            return b""
        self._hello = None
        if verdict is HelloVerdict.STRANGER:
            self.stranger = next(iter(hello.protocols)).decode()
            self._context, self._protocols = self._strangers[self.stranger], (self.stranger,)
        elif self._choose is not None:
            self._context = self._choose(hello.protocols, hello.server_name) or self._context
        self._begin(server_side=True)
        return bytes(hello.held)

    def _shake_untrusted(self) -> None:
        assert self._object is not None
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            if not self._is_chosen and self._outgoing.pending:
                self._look_at_choice(self._object)
            if self.state is _HANDSHAKE and self._received > HANDSHAKE_MAX:
                self._end_too_long(self._object)
            return
        except ssl.SSLZeroReturnError:  # a close_notify in the middle; there is nothing that could be answered
            self.peer_closed = True
            self._fail("closed_in_handshake")
            return
        except ssl.SSLError as error:
            self._fail_tls(error)
            return
        self.state = State.OPEN
        if self._protocols and self.protocol not in self._protocols:
            self.fail("no_protocol")
        elif self.protocol in self._guests and not self.certificate:
            self.stranger = self.protocol or ""

    def _look_at_choice(self, tls: ssl.SSLObject) -> None:
        """Look at our ServerHello before it leaves; refuse in its place."""
        made = self._outgoing.read()
        choice = self.choice = read_choice(made)
        if choice is None:
            pass
        elif choice.group not in self._offer.groups:
            self._refuse("no_group", _HANDSHAKE_FAILURE)
            return
        elif choice.suite not in self._offer.suites:
            self._refuse("no_suite", _HANDSHAKE_FAILURE)
            return
        elif not choice.is_retry:
            self._is_chosen = True
            if self._protocols and tls.selected_alpn_protocol() not in self._protocols:  # a hello that was not held
                self._refuse("no_protocol", _NO_PROTOCOL)
                return
        self._outgoing.write(made)

    def _refuse(self, reason: str, alert: int) -> None:
        """Refuse while no key is in use."""
        self._plain = plain_alert(_FATAL, alert)
        self._fail(reason)

    def _end_too_long(self, tls: ssl.SSLObject) -> None:
        """Let OpenSSL say that it was too much: only it can encrypt an alert now."""
        try:
            self._incoming.write(_TOO_MUCH)
            tls.do_handshake()
        except ssl.SSLError:
            pass
        if self._quiet and not self._outgoing.pending:
            self._plain = plain_alert(_FATAL, _DECODE_ERROR)
        self._fail("handshake_too_long")

    def _read_untrusted(self) -> bytes:
        assert self._object is not None
        pieces: list[bytes] = []
        read, incoming, pending = self._object.read, self._incoming, self._object.pending
        try:
            while piece := read(RECORD_BYTES):
                pieces.append(piece)
                if not incoming.pending and not pending():
                    return pieces[0] if len(pieces) == 1 else b"".join(pieces)  # spares the exception
            self._peer_closed(self._object)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._peer_closed(self._object)
        except ssl.SSLError as error:
            self._fail_tls(error)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _peer_closed(self, tls: ssl.SSLObject) -> None:
        self.peer_closed = True
        self._notify(tls)
        self.state = State.CLOSED

    def _notify(self, tls: ssl.SSLObject) -> None:
        try:
            tls.unwrap()
        except ssl.SSLError:
            pass  # the peer's own close_notify has not come, or never will: ours is queued

    def _fail_tls(self, error: ssl.SSLError) -> None:
        word = error.reason or _SAID.sub("", str(error)).upper().replace(" ", "_")  # 3.11 knows not every reason
        verified = str(getattr(error, "verify_message", ""))  # what is wrong with a certificate
        self.detail = verified or word.lower().replace("_", " ")
        if self._quiet and not self._outgoing.pending:
            self._plain = plain_alert(_FATAL, _first_alert(word))
        self._fail("tls_" + _NO_WORD.sub("_", (verified or word).lower()).strip("_"))

    def _fail(self, reason: str) -> None:
        self.state, self.failure = State.FAILED, reason


def _first_alert(reason: str) -> int:
    """Return the alert for bytes that OpenSSL gives up on without a word."""
    if "VERSION" in reason:
        return _PROTOCOL_VERSION
    if "LENGTH" in reason or "LONG" in reason or "DECODE" in reason:
        return _DECODE_ERROR
    return _UNEXPECTED_MESSAGE
