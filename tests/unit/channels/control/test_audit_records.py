"""Records of the audit log read for people: as they were written, in any pieces, and from bytes that lie."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.audit_records import BODY_MAX, AuditReader
from tlsrt.supervisor.audit import record
from tlsrt.supervisor.audit.record import LogRecord, chain_after, encode_record, join, plain_detail


def entry(number: int, one: LogRecord) -> bytes:
    body = encode_record(number, one)
    return join(body, chain_after(bytes(32), body), bytes(32))


WRITTEN = [
    LogRecord(1, 1000, "lock", "client/admin", ()),
    LogRecord(2, 2000, "runtime_act", "secondary/logs", plain_detail({"act": "audit", "target": "\x1b", "n": 5})),
]
DATA = b"".join(entry(number, one) for number, one in enumerate(WRITTEN, 1))


@given(st.lists(st.integers(1, 60), max_size=12))
def test_any_pieces_give_what_was_written(cuts: list[int]) -> None:
    reader, found, at = AuditReader(), [], 0
    for cut in cuts:
        found += reader.feed(DATA[at : at + cut])
        at += cut
    found += reader.feed(DATA[at:])
    assert [(one.sequence, one.at_ms, one.kind, one.subject, tuple(one.detail.items())) for one in found] == [
        (number, one.wall, one.kind, one.subject, one.detail) for number, one in enumerate(WRITTEN, 1)
    ]
    assert reader.waiting == 0 and not reader.is_broken


@given(st.binary(max_size=400))
def test_any_bytes_give_printable_records_or_none(data: bytes) -> None:
    reader = AuditReader()
    for one in reader.feed(data) + reader.feed(DATA):
        assert one.kind.isprintable() and one.subject.isprintable()
    assert reader.waiting <= 4 + BODY_MAX + 64 + len(DATA)


def test_an_entry_that_claims_too_much_ends_the_file() -> None:
    reader = AuditReader()
    assert len(reader.feed(DATA + b"\xff\xff\xff\xff" + DATA)) == 2 and reader.is_broken
    assert reader.feed(DATA) == [] and reader.waiting == 0


def test_the_bound_is_that_of_the_writer() -> None:
    assert BODY_MAX == record.BODY_MAX
