"""Entries as OpenTelemetry has them: OTLP 1.x over HTTP in its JSON encoding. Pure.

Numbers of 64 bits are texts, as that encoding asks for. A record is encoded when it comes, so that a
request is made of records by joining them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tlsrt.supervisor.messages.exported_entry import ExportedEntry
from tlsrt.text import printable

# syslog(3) -> the first SeverityNumber of its range, and the word for it
_SEVERITIES = {2: (21, "FATAL"), 3: (17, "ERROR"), 4: (13, "WARN"), 5: (10, "INFO"), 6: (9, "INFO"), 7: (5, "DEBUG")}


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


def join_logs(records: Sequence[bytes], resource: bytes) -> bytes:
    """Return the body of a request to /v1/logs."""
    scope = b'{"scope":{"name":"tlsrt"},"logRecords":[' + b",".join(records) + b"]}"
    return b'{"resourceLogs":[{"resource":' + resource + b',"scopeLogs":[' + scope + b"]}]}"


def encode_resource(host: str, version: str) -> bytes:
    """Return what all records of a host have in common."""
    pairs = [("service.name", "tlsrt"), ("service.version", version), ("host.name", host)]
    return _packed({"attributes": [_attribute(name, value) for name, value in pairs if value]})


def _attribute(name: str, value: str) -> dict[str, object]:
    return {"key": _text(name), "value": {"stringValue": _text(value)}}


def _text(text: str) -> str:
    return printable(text, len(text))


def _packed(tree: object) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()
