"""Elements of sets of nftables as messages of nfnetlink. Pure.

Changes are made in a batch, which the kernel takes whole or not at all (nf_tables_api.c). A set is asked for first: an
element of another type would fit if only its length did, and one in a set of intervals would mean all above it.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

from tlsrt.errors import PeerError
from tlsrt.supervisor.helper.netlink import (
    ACK,
    CREATE,
    REQUEST,
    attribute,
    attributes_untrusted,
    message,
    messages_untrusted,
    nested,
)

_NFTABLES = 10 << 8  # the subsystem
_NEW_SET, _GET_SET, _NEW_ELEMENT, _REMOVE_ELEMENT = _NFTABLES | 9, _NFTABLES | 10, _NFTABLES | 12, _NFTABLES | 14
_BEGIN, _END = 0x10, 0x11  # NFNL_MSG_BATCH_*
_TABLE, _SET, _ELEMENTS = 1, 2, 3  # NFTA_SET_ELEM_LIST_*; the first two are those of NFTA_SET_* too
_SET_FLAGS, _KEY_TYPE, _KEY_LENGTH = 3, 4, 5  # NFTA_SET_*
_ITEM, _KEY, _TIMEOUT, _VALUE = 1, 1, 4, 1  # NFTA_LIST_ELEM, NFTA_SET_ELEM_*, NFTA_DATA_VALUE
_CONSTANT, _INTERVAL, _MAP, _HAS_TIMEOUT, _OBJECT, _CONCAT = 0x2, 0x4, 0x8, 0x10, 0x40, 0x80  # NFT_SET_*
_PROTOCOL = struct.Struct(">BBH")  # struct nfgenmsg


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a set; `value` is a number of as many bytes as the type has."""

    family: int
    table: str
    set: str
    type: int
    size: int  # bytes
    value: int
    timeout_ms: int  # 0: it has none


def ask_for_set(element: Element, sequence: int) -> bytes:
    """Return the message that asks what kind of set it is."""
    names = attribute(_TABLE, _name(element.table)) + attribute(_SET, _name(element.set))
    return message(_GET_SET, REQUEST | ACK, sequence, _PROTOCOL.pack(element.family, 0, 0) + names)


def unfit_untrusted(element: Element, data: bytes) -> int:
    """Return 0 if a set takes such an element by what the kernel answered, else an errno. Raises PeerError."""
    for one in messages_untrusted(data):
        if one.type == _NEW_SET:
            found = attributes_untrusted(one.body[_PROTOCOL.size :])
            flags, kind, size = (_number(found.get(key, bytes(4))) for key in (_SET_FLAGS, _KEY_TYPE, _KEY_LENGTH))
            is_other = (kind, size) != (element.type, element.size)
            is_odd = flags & (_CONSTANT | _INTERVAL | _MAP | _OBJECT | _CONCAT)
            lasts = element.timeout_ms and not flags & _HAS_TIMEOUT
            return errno.EINVAL if is_other or is_odd or lasts else 0
    raise PeerError("bad_netlink")


def set_element(element: Element, sequence: int, *, again: bool) -> bytes:
    """Return the batch that puts an element into its set; `again` is for one that is there, whose time begins anew.

    The request with the last number, `sequence` + 2, is the one whose answer counts.
    """
    first = _change(_REMOVE_ELEMENT, 0, element, sequence + 1, lasts=False) if again else b""
    return _batch(first + _change(_NEW_ELEMENT, CREATE, element, sequence + 2, lasts=True), sequence)


def remove_element(element: Element, sequence: int) -> bytes:
    """Return the batch that takes an element out of its set; the answer is that to `sequence` + 2."""
    return _batch(_change(_REMOVE_ELEMENT, 0, element, sequence + 2, lasts=False), sequence)


def _change(kind: int, flags: int, element: Element, sequence: int, *, lasts: bool) -> bytes:
    key = nested(_KEY, attribute(_VALUE, element.value.to_bytes(element.size, "big")))
    timeout = attribute(_TIMEOUT, struct.pack(">Q", element.timeout_ms)) if lasts and element.timeout_ms else b""
    body = _PROTOCOL.pack(element.family, 0, 0) + attribute(_TABLE, _name(element.table))
    body += attribute(_SET, _name(element.set)) + nested(_ELEMENTS, nested(_ITEM, key, timeout))
    return message(kind, REQUEST | ACK | flags, sequence, body)


def _batch(changes: bytes, sequence: int) -> bytes:
    edge = _PROTOCOL.pack(0, 0, _NFTABLES >> 8)
    return message(_BEGIN, REQUEST, sequence, edge) + changes + message(_END, REQUEST, sequence + 3, edge)


def _name(name: str) -> bytes:
    return name.encode("ascii") + b"\0"


def _number(data: bytes) -> int:
    if len(data) != 4:
        raise PeerError("bad_netlink")
    return int.from_bytes(data, "big")
