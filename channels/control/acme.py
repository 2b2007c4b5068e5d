"""The protocol of the process that orders certificates: supervisor <-> acme. Numbers, bytes and descriptors.

It speaks with a CA, so it may be captured. The supervisor hands it the key of the account, unread, one job, and
connected sockets when it asks for them. What it says back are numbers, digests, and a chain that the authority judges.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from tlsrt.channels.control.seqpacket import Message, MessageTable, NoFields

ACME_CAP = 64 * 1024
DIGEST_BYTES = 32
CHAIN_MAX = 10  # certificates
CHAIN_BYTES_MAX = 48 * 1024  # of all of them


class Step(IntEnum):
    """How far a job had come."""

    DIRECTORY = 1
    ACCOUNT = 2
    ORDER = 3
    AUTHORIZATION = 4
    CHALLENGE = 5
    FINALIZE = 6
    CERTIFICATE = 7
    RENEWAL_INFO = 8


class Problem(IntEnum):
    """Why a job has failed."""

    UNREACHABLE = 1
    NOT_TRUSTED = 2  # its TLS
    TOO_SLOW = 3
    BAD_ANSWER = 4
    OTHER_ORIGIN = 5
    NONCES = 6
    NO_CHALLENGE = 7  # of the kind that can be answered here
    NOT_PROVED = 8  # the CA has looked, and did not find what it had asked for
    REFUSED = 9
    RATE_LIMITED = 10
    REJECTED_NAME = 11
    CAA = 12
    ACCOUNT = 13  # refused, or needs a binding or an action of its owner
    CA_ERROR = 14
    NOT_SET = 15  # the door could not show the challenge
    DIED = 16  # the process; said by the supervisor


class OrderMessage(NamedTuple):
    """Order a certificate. Descriptors: the CAs by which the server is known, the account's key (PKCS #8, DER).

    `replaces` is the RFC 9773 name of the present certificate, or empty.
    """

    directory: str
    names: list[Any]
    contact: str
    request: bytes  # the signing request, DER
    replaces: str
    is_http: int  # 1: by http-01, on the socket of `listen`


class InformMessage(NamedTuple):
    """Ask when the certificate of this RFC 9773 name should be renewed. The descriptor: the CAs, as of `order`."""

    directory: str
    certificate: str


class ConnectMessage(NamedTuple):
    """Make another connection to the CA; `connected` or `unreachable` answers."""

    number: int


class ChallengeMessage(NamedTuple):
    """Have the door show that it knows this digest of a key authorization; `ready` answers."""

    name: int  # its place in the order
    digest: bytes


class ReadyMessage(NamedTuple):
    """The door shows it (1), or cannot (0)."""

    is_set: int


class IssuedMessage(NamedTuple):
    """The chain, DER, the certificate first."""

    chain: list[Any]


class WindowMessage(NamedTuple):
    """When to renew, in seconds since 1970, and when to ask again; all 0: the CA says nothing of it."""

    start: int
    end: int
    again_s: int


class FailedMessage(NamedTuple):
    """The job has failed. `status` is that of HTTP or 0, `again_s` the CA's wish or 0."""

    step: int
    problem: int
    status: int
    again_s: int


_SUPERVISOR = frozenset({"supervisor"})
_ACME = frozenset({"acme"})
_SEALED = frozenset({"sealed"})

ACME = MessageTable(
    "acme",
    ACME_CAP,
    (
        # number, name, who may send it, in which states of the process, its fields
        Message(1, "order", _SUPERVISOR, _SEALED, OrderMessage, descriptors=2),
        Message(2, "inform", _SUPERVISOR, _SEALED, InformMessage, descriptors=1),
        Message(3, "listen", _SUPERVISOR, _SEALED, NoFields, descriptors=1),
        Message(4, "connected", _SUPERVISOR, _SEALED, ConnectMessage, descriptors=1),
        Message(5, "unreachable", _SUPERVISOR, _SEALED, ConnectMessage),
        Message(6, "ready", _SUPERVISOR, _SEALED, ReadyMessage),
        Message(16, "sealed", _ACME, frozenset({"new"}), NoFields),
        Message(17, "connect", _ACME, _SEALED, ConnectMessage),
        Message(18, "challenge", _ACME, _SEALED, ChallengeMessage),
        Message(19, "issued", _ACME, _SEALED, IssuedMessage),
        Message(20, "window", _ACME, _SEALED, WindowMessage),
        Message(21, "failed", _ACME, _SEALED, FailedMessage),
    ),
)
