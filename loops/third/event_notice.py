"""An event of the host as a notification. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsrt import Gap
from tlsrt.loops.third.notice import KEY, TAG, TITLE, Draft, Severity, one_line

SOURCE = "primary/events"
_SEVERITY: dict[str, Severity] = {"info": "info", "warning": "warning", "alarm": "critical"}
_RANKS = list(_SEVERITY)
_ALERTS: dict[str, Severity] = {"alert_warning": "warning", "alert_critical": "critical"}  # detectors, decision 47


def draft_of(event: object, kind: str, least: str, own: str, *, with_alerts: bool) -> Draft | None:
    """Return what people should know of an event: what is as severe as `least`, and alerts of components.

    None for what they need not know, and for events of `own`, the address of who tells them: its alerts would have no
    end.
    """
    if isinstance(event, Gap):
        missed = "some" if event.missed is None else str(event.missed)
        title = f"{missed} events of this host were missed"
        return Draft(SOURCE, title, "see `tlsrt-supervisor events`", "warning", "host.gap", (), f"gap {kind}", None)
    if not isinstance(event, Mapping):
        return None
    subject, name, severity = (str(event.get(key, "")) for key in ("subject", "name", "severity"))
    if severity not in _RANKS or subject.replace(".", "/") == own:
        return None
    fields: Any = event.get("fields")
    alert = _ALERTS.get(str(fields.get("detector"))) if with_alerts and isinstance(fields, Mapping) else None
    if alert is None and _RANKS.index(severity) < _RANKS.index(least):
        return None
    words = one_line(f"{subject}: {event.get('sentence', name)}")
    return Draft(
        SOURCE, words[:TITLE], words if len(words) > TITLE else "", alert or _SEVERITY[severity], f"host.{kind}",
        (one_line(name)[:TAG],), one_line(f"{name} {words}")[:KEY], None,
    )  # fmt: skip
