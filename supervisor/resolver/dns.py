"""DNS messages: one question for the addresses of a name, and what a server answers. Pure.

RFC 1035, with the addresses of RFC 3596. Of an answer only what belongs to the question is taken: the same number, name
and type, then the addresses at the end of its chain of CNAMEs. Everything is bounded:
the message by its transport, a name by 255 bytes and its pointers, which lead backwards only, by its length.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tlsrt.errors import PeerError

A, CNAME, AAAA = 1, 5, 28
_IN = 1
_SIZES = {A: 4, AAAA: 16}
_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")  # type, class, TTL, length
_RECURSION_DESIRED = 0x0100
_RESPONSE, _OPCODE, _TRUNCATED, _RCODE = 0x8000, 0x7800, 0x0200, 0x000F
NO_ERROR, NO_SUCH_NAME = 0, 3
_LONGEST_NAME = 255
_LONGEST_TTL = (1 << 31) - 1  # RFC 2181 8: what is above counts as 0
MOST_ADDRESSES = 32
_MOST_ALIASES = 16


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a number of the message, the name in lower case, and A or AAAA."""

    number: int
    name: bytes
    kind: int

    def encode(self) -> bytes:
        """Return the message."""
        labels = b"".join(bytes([len(label)]) + label for label in self.name.split(b"."))
        head = _HEADER.pack(self.number, _RECURSION_DESIRED, 1, 0, 0, 0)
        return head + labels + b"\0" + struct.pack("!HH", self.kind, _IN)


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """What a server says: addresses and for how many seconds; or that there are none, or that they did not fit."""

    code: int
    is_truncated: bool
    addresses: tuple[bytes, ...]
    ttl_s: int


def decode_untrusted(packet: bytes, question: Question) -> DnsAnswer:
    """Return the answer to a question. Raises PeerError for anything else, and only that."""
    try:
        number, flags, questions, answers, _, _ = _HEADER.unpack_from(packet)
        if number != question.number or not flags & _RESPONSE or flags & _OPCODE or questions != 1:
            raise PeerError("dns_not_the_answer")
        name, at = _name(packet, _HEADER.size)
        if (name.lower(), *struct.unpack_from("!HH", packet, at)) != (question.name, question.kind, _IN):
            raise PeerError("dns_not_the_answer")
        code, is_truncated = flags & _RCODE, bool(flags & _TRUNCATED)
        if is_truncated or code != NO_ERROR:
            return DnsAnswer(code, is_truncated, (), 0)
        return _addresses(packet, at + 4, answers, question)
    except (struct.error, IndexError) as error:
        raise PeerError("dns_too_short") from error


def _addresses(packet: bytes, at: int, count: int, question: Question) -> DnsAnswer:
    """Return the addresses of the name, or of what it is another name for."""
    aliases: dict[bytes, tuple[bytes, int]] = {}
    found: dict[bytes, list[tuple[bytes, int]]] = {}
    for _ in range(count):
        owner, at = _name(packet, at)
        kind, of, ttl_s, length = _RECORD.unpack_from(packet, at)
        at += _RECORD.size
        if at + length > len(packet):
            raise PeerError("dns_too_short")
        ttl_s = 0 if ttl_s > _LONGEST_TTL else ttl_s
        if of == _IN and kind == CNAME:
            aliases.setdefault(owner.lower(), (_name(packet, at)[0].lower(), ttl_s))
        elif of == _IN and kind == question.kind and length == _SIZES[kind]:
            found.setdefault(owner.lower(), []).append((packet[at : at + length], ttl_s))
        at += length
    name, ttls = question.name, list[int]()
    for _ in range(_MOST_ALIASES):
        if name in found or name not in aliases:
            break
        name, ttl_s = aliases[name]
        ttls.append(ttl_s)
    records = found.get(name, [])[:MOST_ADDRESSES]
    addresses = tuple(dict.fromkeys(address for address, _ in records))
    return DnsAnswer(NO_ERROR, False, addresses, min([*ttls, *(ttl_s for _, ttl_s in records)], default=0))


def _name(packet: bytes, at: int) -> tuple[bytes, int]:
    """Return a name and where what follows it begins. Each pointer leads to before the one that led there."""
    labels: list[bytes] = []
    length, end, before = 0, -1, at
    while size := packet[at]:
        if size >= 0xC0:
            end = at + 2 if end < 0 else end
            at = (size & 0x3F) << 8 | packet[at + 1]
            if at >= before:
                raise PeerError("dns_pointer_forward")
            before = at
            continue
        if size > 63:
            raise PeerError("dns_bad_label")
        label = packet[at + 1 : at + 1 + size]
        length += size + 1
        if len(label) < size or length > _LONGEST_NAME:
            raise PeerError("dns_bad_name")
        labels.append(label)
        at += size + 1
    return b".".join(labels), at + 1 if end < 0 else end
