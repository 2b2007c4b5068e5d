"""Pressure and records of the kernel's log: any bytes are an event or the one error, and both ends agree."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.kernel_record import (
    TEXT_MAX,
    KernelRecord,
    RecordFilter,
    decode_record_untrusted,
    encode_record,
    joined,
    parse_record_untrusted,
    taken_apart,
)
from tlsrt.channels.control.pressure import (
    Pressure,
    decode_pressure_untrusted,
    encode_pressure,
    parse_pressure_untrusted,
)
from tlsrt.errors import PeerError

TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)
NUMBER = st.integers(0, (1 << 64) - 1)
PSI = b"some avg10=0.22 avg60=0.17 avg300=1.11 total=58761459\nfull avg10=0.00 avg60=99.99 avg300=100.00 total=57\n"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_record_or_the_one_error(data: bytes) -> None:
    for parse in (parse_record_untrusted, decode_record_untrusted):
        try:
            record = parse(data)
        except PeerError:
            continue
        assert all(" " <= sign <= "~" for sign in record.text) and len(record.text) <= TEXT_MAX


@given(st.integers(0, 7), st.integers(0, 23), NUMBER, NUMBER, TEXT, NUMBER, st.sampled_from(["-", "c", "-,caller=T1"]))
def test_a_record_is_heard_as_the_kernel_wrote_it(
    level: int, facility: int, sequence: int, time_us: int, text: str, dropped: int, flags: str
) -> None:
    written = f"{facility * 8 + level},{sequence},{time_us},{flags};{text}\n SUBSYSTEM=usb\n".encode()
    record = parse_record_untrusted(written)
    assert record == KernelRecord(level, facility, sequence, time_us, text)
    assert decode_record_untrusted(encode_record(record, dropped)) == replace(record, dropped=dropped)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_pressure_or_the_one_error(data: bytes) -> None:
    for parse in (lambda data: parse_pressure_untrusted(data, "io", "some"), decode_pressure_untrusted):
        try:
            event = parse(data)
        except PeerError:
            continue
        assert 0 <= event.avg10 < 1000 and event.total_us >= 0


@given(st.integers(0, 99_999), NUMBER, NUMBER)
def test_a_pressure_is_heard_as_the_kernel_wrote_it(share: int, total: int, dropped: int) -> None:
    event = Pressure("io", "full", share / 100, 0.0, 100.0, total)
    assert decode_pressure_untrusted(encode_pressure(event, dropped)) == replace(event, dropped=dropped)


def test_the_lines_of_the_kernel() -> None:
    assert parse_pressure_untrusted(PSI, "memory", "some") == Pressure("memory", "some", 0.22, 0.17, 1.11, 58761459)
    assert parse_pressure_untrusted(PSI, "memory", "full") == Pressure("memory", "full", 0.0, 99.99, 100.0, 57)


@pytest.mark.parametrize(
    ("record", "passes"),
    [
        (KernelRecord(4, 0, 1, 1, "usb 1-1: new"), True),
        (KernelRecord(4, 0, 1, 1, "usb"), False),
        (KernelRecord(4, 0, 1, 1, " usb 1-1"), False),
        (KernelRecord(4, 0, 1, 1, "USB 1-1"), False),
        (KernelRecord(5, 0, 1, 1, "usb 1-1"), False),
        (KernelRecord(0, 1, 1, 1, "usb 1-1"), False),
    ],
)
def test_what_passes_a_filter(record: KernelRecord, passes: bool) -> None:
    assert RecordFilter(4, programs=False, prefixes=("usb ", "nvme ")).passes(record) is passes


def test_prefixes_travel_as_one_field() -> None:
    assert taken_apart(joined(("usb ", "x"))) == ("usb ", "x")
