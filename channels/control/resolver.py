"""The resolver's protocol: supervisor <-> resolver. Names, addresses and descriptors.

The supervisor sends each question with a socket that is connected to a name server, or being so; the resolver asks on
it, and says what it heard. Each question has a number, and one answer.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from tlsrt.channels.control.seqpacket import Message, MessageTable, NoFields

RESOLVER_CAP = 1024  # 32 addresses of 16 bytes, or a name of 253


class Outcome(IntEnum):
    """How a question ended."""

    FOUND = 0  # the name is there; perhaps it has no address of this kind
    NO_SUCH_NAME = 1
    TRUNCATED = 2  # ask again over a stream
    FAILED = 3  # the server says that it cannot tell, or says nothing that is an answer
    SILENT = 4


class QuestionMessage(NamedTuple):
    """Ask for the addresses of a name on the socket that comes along; `heard` answers."""

    number: int
    name: bytes
    is_six: int  # 1: IPv6
    is_stream: int  # 1: a TCP socket
    wait_ms: int


class HeardMessage(NamedTuple):
    """The end of a question; `addresses` are joined, of 4 bytes each, or of 16."""

    number: int
    outcome: int
    ttl_s: int
    addresses: bytes


_SUPERVISOR = frozenset({"supervisor"})
_RESOLVER = frozenset({"resolver"})
_SEALED = frozenset({"sealed"})

RESOLVER = MessageTable(
    "resolver",
    RESOLVER_CAP,
    (
        # number, name, who may send it, in which states of the resolver, its fields
        Message(1, "question", _SUPERVISOR, _SEALED, QuestionMessage, descriptors=1),
        Message(16, "sealed", _RESOLVER, frozenset({"new"}), NoFields),
        Message(17, "heard", _RESOLVER, _SEALED, HeardMessage),
    ),
)
