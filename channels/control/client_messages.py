"""The trust protocol's messages about one client: its connection, its session, its certificate."""

from __future__ import annotations

from typing import NamedTuple


class ChallengeMessage(NamedTuple):
    """A connection of a client needs a challenge."""

    connection: int


class OpenMessage(NamedTuple):
    """A client opens a session."""

    connection: int
    open: bytes
    signature: bytes


class CloseMessage(NamedTuple):
    """The connection of a session has ended."""

    session: bytes


class ChallengedMessage(NamedTuple):
    """The challenge of a connection."""

    connection: int
    challenge: bytes


class GrantedMessage(NamedTuple):
    """A client's grant, which only the client can read, and what Primary needs of it."""

    connection: int
    number: int
    ciphertext: bytes
    signature: bytes
    session: bytes
    subject: str
    token: bytes


class RefusedMessage(NamedTuple):
    """A client is refused, with a word."""

    connection: int
    word: str


class EndedMessage(NamedTuple):
    """The session whose connection must close. Empty: of all clients, as a restarted authority knows none of them."""

    session: bytes


class AddressMessage(NamedTuple):
    """The address of a client, for lists that people read."""

    session: bytes
    address: str


class TurnedAwayMessage(NamedTuple):
    """Connections that ended at the door for one reason since the last beat."""

    address: str  # of the last one
    word: str
    times: int


class DelegateMessage(NamedTuple):
    """An HTTP client has come with this certificate (DER)."""

    connection: int
    certificate: bytes


class DelegatedMessage(NamedTuple):
    """The session of an HTTP client, for Primary to hold: a grant in plaintext."""

    connection: int
    grant: bytes


class ClientUnlockMessage(NamedTuple):
    """A client's signature to unlock the host."""

    connection: int
    certificate: bytes
    signature: bytes


class ClientLockMessage(NamedTuple):
    """A client's signature to lock the host."""

    connection: int
    certificate: bytes
    reason: str
    signature: bytes


class AnsweredMessage(NamedTuple):
    """The result of a client's lock or unlock."""

    connection: int
    word: str


class EnrolMessage(NamedTuple):
    """A client without a certificate has a join code. The request is DER."""

    connection: int
    address: str
    code_id: bytes
    request: bytes
    mac: bytes


class EnrolledMessage(NamedTuple):
    """The answer to `enrol`, with a MAC."""

    connection: int
    answer: bytes
    mac: bytes


class NotEnrolledMessage(NamedTuple):
    """The join code was refused."""

    connection: int


class RenewMessage(NamedTuple):
    """A client asks for another certificate over its session."""

    connection: int
    request: bytes
    signature: bytes


class RenewedMessage(NamedTuple):
    """The renewed certificate and the issuer's signature; both empty: refused."""

    connection: int
    certificate: bytes
    signature: bytes
