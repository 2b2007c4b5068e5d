"""The protocol of the process that serves metrics: supervisor <-> metrics. Descriptors and numbers.

The supervisor hands over the socket that listens once, and what it knows each time it is asked. What loops count comes
as pages of memory that they write themselves (`figures.py`), which the supervisor passes on and never reads.
"""

from __future__ import annotations

from typing import NamedTuple

from tlsrt.channels.control.seqpacket import Message, MessageTable, NoFields

METRICS_CAP = 256


class ListenMessage(NamedTuple):
    """Serve what connects to the socket that comes along."""

    is_tcp: int  # 1: any web page that a user of this host reads could connect, so names of hosts are checked


class FiguresMessage(NamedTuple):
    """What the supervisor knows, as JSON in a sealed file of memory: the answer to `ask`."""

    number: int


class PageMessage(NamedTuple):
    """The memory in which a process writes what it counts, for reading only; it replaces the one before."""

    process: str


class PageGoneMessage(NamedTuple):
    """That process has ended."""

    process: str


class AskMessage(NamedTuple):
    """Tell what you know; there is one question at a time."""

    number: int


_SUPERVISOR = frozenset({"supervisor"})
_METRICS = frozenset({"metrics"})
_SEALED = frozenset({"sealed"})

METRICS = MessageTable(
    "metrics",
    METRICS_CAP,
    (
        # number, name, who may send it, in which states of the process, its fields
        Message(1, "listen", _SUPERVISOR, _SEALED, ListenMessage, descriptors=1),
        Message(2, "figures", _SUPERVISOR, _SEALED, FiguresMessage, descriptors=1),
        Message(3, "page", _SUPERVISOR, _SEALED, PageMessage, descriptors=1),
        Message(4, "page_gone", _SUPERVISOR, _SEALED, PageGoneMessage),
        Message(16, "sealed", _METRICS, frozenset({"new"}), NoFields),
        Message(17, "ask", _METRICS, _SEALED, AskMessage),
    ),
)
