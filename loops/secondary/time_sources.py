"""What systemd-timesyncd says of the time, as it comes over D-Bus. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STRATUM_MOST = 15  # 16 is not synchronised, RFC 5905, 7.3
_FIELDS = 15
_FREQUENCY_MOST = 512 << 16  # ppm with 16 bits behind the point, adjtimex(2)
_WALL_MOST = 1 << 62  # microseconds


def timesyncd_untrusted(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return server, stratum, offset, uncertainty, drift and times of the last answer; None for what is none.

    `said` are the properties of org.freedesktop.timesync1.Manager. Cannot fail.
    """
    message = said.get("NTPMessage")
    fields = list(message) if isinstance(message, list | tuple) and len(message) == _FIELDS else None
    has_answer = fields is not None and _is_count(fields[13]) and fields[13] > 0
    times = fields[8:12] if fields is not None and has_answer and all(map(_is_count, fields[8:12])) else None
    stratum = fields[3] if fields is not None and has_answer and _is_count(fields[3]) else None
    poll = said.get("PollIntervalUSec")
    frequency = said.get("Frequency")
    is_drift = isinstance(frequency, int) and not isinstance(frequency, bool) and abs(frequency) <= _FREQUENCY_MOST
    found: dict[str, Any] = {
        "drift_ppm": frequency / 65536 if is_drift and frequency and has_answer else None, "uncertainty_ms": None,
        "server": _text(said.get("ServerName")),
        "stratum": stratum if stratum is not None and 0 < stratum <= STRATUM_MOST else None,
        "offset_ms": None, "round_trip_ms": None, "last_sync_wall_ms": None,
        "jitter_ms": fields[14] / 1e3 if fields is not None and has_answer and _is_count(fields[14]) else None,
        "poll_s": poll / 1e6 if _is_count(poll) and poll else None,
    }  # fmt: skip
    if times is not None and all(times):
        origin, receive, transmit, destination = times
        found["offset_ms"] = ((receive - origin) + (transmit - destination)) / 2e3
        found["round_trip_ms"] = ((destination - origin) - (transmit - receive)) / 1e3
        if fields is not None and _is_count(fields[5]) and _is_count(fields[6]):  # RFC 5905: root distance
            found["uncertainty_ms"] = abs(found["round_trip_ms"]) / 2 + fields[5] / 2e3 + fields[6] / 1e3
        found["last_sync_wall_ms"] = destination // 1000
    return found


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _WALL_MOST


def _text(value: object) -> str | None:
    return value[:253] if isinstance(value, str) and value and value.isprintable() else None
