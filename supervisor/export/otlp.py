"""Entries and spans as OpenTelemetry has them: OTLP 1.x over HTTP in its JSON encoding. Pure.

Ids are hex and numbers of 64 bits are texts, as that encoding asks for. A record is encoded when it comes, so that a
request is made of records by joining them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from tlsrt.channels.control.spans import Span
from tlsrt.supervisor.messages.exported_entry import ExportedEntry
from tlsrt.text import printable

# syslog(3) -> the first SeverityNumber of its range, and the word for it
_SEVERITIES = {2: (21, "FATAL"), 3: (17, "ERROR"), 4: (13, "WARN"), 5: (10, "INFO"), 6: (9, "INFO"), 7: (5, "DEBUG")}
_ERROR = 2
_SAMPLED = 1


def encode_log_record(entry: ExportedEntry) -> bytes:
    """Return an entry as one LogRecord."""
    number, word = _SEVERITIES.get(entry.priority, (9, "INFO"))
    record: dict[str, object] = {
        "timeUnixNano": str(max(0, entry.at_ms) * 1_000_000),
        "severityNumber": number,
        "severityText": word,
        "body": {"stringValue": printable(entry.message, len(entry.message))},
        "attributes": [_attribute(name, value) for name, value in entry.fields],
    }
    if entry.event:
        record["eventName"] = _text(entry.event)
    return _packed(record)


def encode_span(span: Span, process: str) -> bytes:
    """Return a span; `process` is the one whose socket it came by, whatever it says."""
    attributes = [("tlsrt.process", process), ("tlsrt.component", span.component), ("tlsrt.peer", span.peer)]
    tree: dict[str, object] = {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "flags": _SAMPLED,
        "name": _text(span.name) or "?",
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.began_ns),
        "endTimeUnixNano": str(max(span.began_ns, span.ended_ns)),
        "attributes": [_attribute(name, value) for name, value in attributes if value],
    }
    if span.error:  # without: unset, as that a call was good is not for us to say
        tree["status"] = {"code": _ERROR, "message": _text(span.error)}
    if span.state:
        tree["traceState"] = span.state
    if any(span.parent_id):
        tree["parentSpanId"] = span.parent_id.hex()
    return _packed(tree)


def join_logs(records: Sequence[bytes], resource: bytes) -> bytes:
    """Return the body of a request to /v1/logs."""
    return _joined(b"resourceLogs", b"scopeLogs", b"logRecords", records, resource)


def join_spans(spans: Sequence[bytes], resource: bytes) -> bytes:
    """Return the body of a request to /v1/traces."""
    return _joined(b"resourceSpans", b"scopeSpans", b"spans", spans, resource)


def encode_resource(host: str, version: str) -> bytes:
    """Return what all records of a host have in common."""
    pairs = [("service.name", "tlsrt"), ("service.version", version), ("host.name", host)]
    return _packed({"attributes": [_attribute(name, value) for name, value in pairs if value]})


def _joined(outer: bytes, inner: bytes, innermost: bytes, records: Iterable[bytes], resource: bytes) -> bytes:
    scope = b'{"scope":{"name":"tlsrt"},"' + innermost + b'":[' + b",".join(records) + b"]}"
    return b'{"' + outer + b'":[{"resource":' + resource + b',"' + inner + b'":[' + scope + b"]}]}"


def _attribute(name: str, value: str) -> dict[str, object]:
    return {"key": _text(name), "value": {"stringValue": _text(value)}}


def _text(text: str) -> str:
    return printable(text, len(text))


def _packed(tree: object) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()
