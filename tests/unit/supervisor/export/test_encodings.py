"""What is sent to collectors: no byte of an entry or a span becomes another part of its message."""

from __future__ import annotations

import json
import re

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.export import ENTRY_BYTES, SPAN_BYTES
from tlsrt.channels.control.spans import Span, SpanKind, decode_span_untrusted, encode_span
from tlsrt.errors import PeerError
from tlsrt.supervisor.export import otlp
from tlsrt.supervisor.export.answer import HEAD_MAX, Answer, parse_answer_untrusted
from tlsrt.supervisor.export.syslog import MESSAGE_MAX, encode_syslog
from tlsrt.supervisor.messages.exported_entry import ExportedEntry, decode_entry_untrusted, encode_entry

_TEXTS = st.text(max_size=60) | st.text(st.sampled_from('\n\0\r"]\\ <>=[ä\ud800\u2028'), max_size=20)
_ENTRIES = st.builds(
    ExportedEntry, st.integers(0, 1 << 62), st.integers(-1, 9), _TEXTS, _TEXTS, _TEXTS,
    st.lists(st.tuples(_TEXTS, _TEXTS), max_size=6).map(tuple),
)  # fmt: skip
# RFC 5424, 6: what a receiver may read it by, and no other way.
_MESSAGE = re.compile(
    r"<(\d{1,3})>1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([!-~]{1,255}) tlsrt ([!-~]{1,128}) ([!-~]{1,32}) "
    r'(-|\[tlsrt@32473(?: [!#-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*\]) (.*)',
    re.DOTALL,
)


@given(_ENTRIES, _TEXTS)
def test_a_syslog_message_has_one_reading_whatever_is_in_it(entry: ExportedEntry, host: str) -> None:
    length, _, rest = encode_syslog(entry, host).partition(b" ")
    assert int(length) == len(rest) <= MESSAGE_MAX
    found = _MESSAGE.fullmatch(rest.decode())
    assert found is not None, rest
    assert 24 <= int(found[1]) <= 31 and found[7].removeprefix("\ufeff").isprintable() and found[6].isprintable()
    assert found[7].startswith("\ufeff") != found[7].isascii()


def test_what_is_too_long_is_cut_at_a_character() -> None:
    entry = ExportedEntry(0, 4, "ä" * 10_000, "died", "third", (("TLSRT_X", "y" * 3000), ("TLSRT_Z", "z" * 3000)))
    length, _, rest = encode_syslog(entry, "host").partition(b" ")
    assert int(length) == len(rest) and MESSAGE_MAX - 1 <= len(rest) <= MESSAGE_MAX and rest.decode()
    assert b"TLSRT_X" in rest and b"TLSRT_Z" not in rest


@given(_ENTRIES)
def test_an_entry_goes_through_and_fits(entry: ExportedEntry) -> None:
    data = encode_entry(entry)
    assert decode_entry_untrusted(data) == entry and len(data) <= ENTRY_BYTES
    large = ExportedEntry(0, 3, "\U0001f600" * 9000, "", "x", tuple((f"n{one}", "ä" * 999) for one in range(200)))
    assert len(encode_entry(large)) <= ENTRY_BYTES and decode_entry_untrusted(encode_entry(large)).fields


@given(st.binary(max_size=80) | _TEXTS.map(lambda text: json.dumps([1, 2, text, text, text, [[text]]]).encode()))
def test_any_bytes_are_an_entry_a_span_an_answer_or_the_one_error(data: bytes) -> None:
    for decode in (decode_entry_untrusted, decode_span_untrusted, parse_answer_untrusted):
        try:
            decode(data)
        except PeerError:
            continue


@given(_ENTRIES)
def test_a_log_record_is_json_without_anything_that_is_not_printable(entry: ExportedEntry) -> None:
    tree = json.loads(otlp.join_logs([otlp.encode_log_record(entry)] * 2, otlp.encode_resource("h", "1")))
    [scope] = tree["resourceLogs"][0]["scopeLogs"]
    assert len(scope["logRecords"]) == 2 and scope["logRecords"][0]["body"]["stringValue"].isprintable()
    assert ("eventName" in scope["logRecords"][0]) == bool(entry.event)


def _span(**changes: object) -> Span:
    span = Span(
        b"t" * 16, b"s" * 8, bytes(8), SpanKind.SERVER, "third/io/read", "third/io", "client/x", 1, 2, "", "", 0
    )
    return span._replace(**changes)  # type: ignore[arg-type]


def test_a_span_is_of_the_process_whose_socket_it_came_by() -> None:
    said = _span(component='x","process":"primary', parent_id=b"p" * 8, error="failed", state="a=b")
    span = json.loads(otlp.encode_span(decode_span_untrusted(encode_span(said)), "third.bad"))
    assert span["traceId"] == (b"t" * 16).hex() and span["parentSpanId"] == (b"p" * 8).hex()
    assert {"key": "tlsrt.process", "value": {"stringValue": "third.bad"}} in span["attributes"]
    assert [one["key"] for one in span["attributes"]] == ["tlsrt.process", "tlsrt.component", "tlsrt.peer"]
    assert span["status"] == {"code": 2, "message": "failed"} and span["traceState"] == "a=b"


@pytest.mark.parametrize(
    "changes",
    [
        {"trace_id": bytes(16)}, {"trace_id": b"x"}, {"span_id": bytes(8)}, {"kind": 9}, {"name": "x" * 162},
        {"began_ns": -1}, {"state": "a\n"}, {"state": "ä"}, {"error": 7}, {"state": "a" * 129},
        {"lost": -1}, {"lost": 1_000_001}, {"lost": True},
    ],
)  # fmt: skip
def test_a_span_that_no_process_of_ours_says_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(PeerError):
        decode_span_untrusted(msgpack.packb(tuple(_span(**changes))))


@given(_TEXTS, _TEXTS, _TEXTS)
def test_a_span_fits_whatever_is_in_it(name: str, component: str, error: str) -> None:
    data = encode_span(_span(name=name * 9, component=component * 9, peer="\U0001f600" * 200, error=error * 9))
    assert len(data) <= SPAN_BYTES and decode_span_untrusted(data).peer
    wide = "\U0001f600" * 200
    data = encode_span(
        _span(name=wide, component=wide, peer=wide, error=wide, state="a" * 128, lost=1 << 70, ended_ns=1 << 63)
    )
    assert len(data) <= SPAN_BYTES and decode_span_untrusted(data).lost == 1_000_000


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", Answer(200)),
        (b"HTTP/1.0 503\r\nretry-after: 7\r\nX: y\r\n\r\n", Answer(503, 7.0)),
        (b"HTTP/1.1 429 Slow\r\nRetry-After: 999999\r\n\r\n", Answer(429, 300.0)), (b"HTTP/1.1 200 OK\r\n", None),
        (b"", None), (b"HTTP/1.1 400 No\r\n\r\n{...", Answer(400)),
    ],
)  # fmt: skip
def test_answers(data: bytes, answer: Answer | None) -> None:
    assert parse_answer_untrusted(data) == answer


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200 OK\r\n\r\nxxxx",
        b"HTTP/1.1 100 Go on\r\n\r\n",
        b"\x16\x03\x01" * 9,
        b"HTTP/1.1 200" + b"x" * HEAD_MAX,
    ],
)
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(PeerError):
        parse_answer_untrusted(data)
