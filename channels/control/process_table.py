"""The runtime's own processes as the supervisor tells them to components: what each is called, takes and has taken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgpack

from tlsrt.channels.frames.structure import StructureError, unpack_untrusted
from tlsrt.errors import PeerError

TABLE_MAX = 8192  # bytes of one datagram
ROWS_MAX = 60  # each takes at most 128 bytes
_NAME = re.compile(r"[a-z0-9_.]{1,63}")
_STATE = re.compile(r"[a-z]{1,16}")
_KINDS = [str, str, int, int, int, int, int]
_U64 = 1 << 64


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process of the runtime."""

    name: str  # primary.facts
    state: str  # active, backoff, ...
    pid: int  # in the supervisor's namespace; 0 if it does not run
    restarts: int
    cpu_ms: int  # that it has used
    resident_bytes: int
    threads: int


@dataclass(frozen=True, slots=True)
class ProcessTable:
    """All processes of the runtime at one moment, at most 60."""

    rows: tuple[ProcessRow, ...]
    dropped: int = 0  # tables before this one that were lost, as they were not taken


def encode_table(rows: Sequence[ProcessRow], dropped: int) -> bytes:
    """Return the datagram for a component."""
    packed: bytes = msgpack.packb(
        [dropped, [[one.name, one.state, one.pid, one.restarts, one.cpu_ms, one.resident_bytes, one.threads]
                   for one in rows[:ROWS_MAX]]]
    )  # fmt: skip
    return packed


def decode_table_untrusted(data: bytes) -> ProcessTable:
    """Return what a datagram says; raises PeerError for anything that the supervisor could not have said."""
    try:
        items = unpack_untrusted(data[:TABLE_MAX])
    except StructureError as error:
        raise PeerError("bad_table") from error
    if not isinstance(items, list) or [type(one) for one in items] != [int, list]:
        raise PeerError("bad_table")
    dropped, rows = items
    if not 0 <= dropped < _U64 or len(rows) > ROWS_MAX:
        raise PeerError("bad_table")
    return ProcessTable(tuple(map(_row, rows)), dropped)


def _row(items: object) -> ProcessRow:
    if not isinstance(items, list) or [type(one) for one in items] != _KINDS:
        raise PeerError("bad_table")
    name, state, *numbers = items
    if not _NAME.fullmatch(name) or not _STATE.fullmatch(state) or not all(0 <= one < _U64 for one in numbers):
        raise PeerError("bad_table")
    return ProcessRow(name, state, *numbers)
