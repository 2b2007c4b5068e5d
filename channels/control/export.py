"""The protocol of the process that sends log and spans away: supervisor <-> export. Descriptors and numbers.

Entries and spans come on sockets of their own, which are handed over here, so that neither waits for the other and the
supervisor reads nothing of what a process says in its spans.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from tlsrt.channels.control.seqpacket import Message, MessageTable, NoFields

EXPORT_CAP = 1024
ENTRY_BYTES = 32 * 1024  # of one entry on its way to that process; what is longer is cut
SPAN_BYTES = 2560  # of one span: its texts are cut to fit
DROPPED_S = 10.0  # between two words of trouble, and two about what was dropped, of each collector


class Trouble(IntEnum):
    """Why a collector takes nothing."""

    NONE = 0  # it takes what it is sent
    UNREACHABLE = 1  # no connection
    TLS = 2  # its certificate, or another thing of TLS
    SILENT = 3  # it does not read, or does not answer
    CLOSED = 4  # it ends connections
    REFUSED = 5  # it answers that it will not take it, or what is no answer


class HostMessage(NamedTuple):
    """The name of this host, and the version of tlsrt, as entries have them."""

    host: str
    version: str


class CollectorMessage(NamedTuple):
    """A collector, in place of the one of this number. The descriptors: its CA, a certificate and its key, or empty."""

    number: int
    kind: str
    place: str  # for its own log, and for Host
    path: str
    name: str  # that its certificate must have; empty: without TLS


class CollectorGoneMessage(NamedTuple):
    """There is none of this number that can be used."""

    number: int
    is_configured: int  # 1: what is for it waits; 0: nothing does


class SpansMessage(NamedTuple):
    """The socket on which a process says its spans, until its other end is closed."""

    process: str


class ConnectMessage(NamedTuple):
    """Connect to a collector; one at a time for each."""

    number: int
    has_failed: int  # 1: the last connection was of no use


class ConnectedMessage(NamedTuple):
    """The socket to that collector, perhaps still connecting."""

    number: int


class UnreachableMessage(NamedTuple):
    """There is no way to it now."""

    number: int


class LastMessage(NamedTuple):
    """The socket for what still waits when the host has stopped: there is none after it."""

    number: int


class TroubleMessage(NamedTuple):
    """A collector takes nothing any more, or takes it again."""

    number: int
    trouble: int


class DroppedMessage(NamedTuple):
    """So many entries or spans for a collector were left out since the last time."""

    number: int
    entries: int


_SUPERVISOR = frozenset({"supervisor"})
_EXPORT = frozenset({"export"})
_SEALED = frozenset({"sealed"})

EXPORT = MessageTable(
    "export",
    EXPORT_CAP,
    (
        # number, name, who may send it, in which states of the process, its fields
        Message(1, "host", _SUPERVISOR, _SEALED, HostMessage),
        Message(2, "collector", _SUPERVISOR, _SEALED, CollectorMessage, descriptors=3),
        Message(3, "entries", _SUPERVISOR, _SEALED, NoFields, descriptors=1),
        Message(4, "spans", _SUPERVISOR, _SEALED, SpansMessage, descriptors=1),
        Message(5, "collector_gone", _SUPERVISOR, _SEALED, CollectorGoneMessage),
        Message(6, "connected", _SUPERVISOR, _SEALED, ConnectedMessage, descriptors=1),
        Message(7, "unreachable", _SUPERVISOR, _SEALED, UnreachableMessage),
        Message(8, "last", _SUPERVISOR, _SEALED, LastMessage, descriptors=1),
        Message(16, "sealed", _EXPORT, frozenset({"new"}), NoFields),
        Message(17, "connect", _EXPORT, _SEALED, ConnectMessage),
        Message(18, "trouble", _EXPORT, _SEALED, TroubleMessage),
        Message(19, "dropped", _EXPORT, _SEALED, DroppedMessage),
    ),
)
