"""Catalog of events by kind: name, severity, text, cause, remedy, example. The one table of what is known of them.

A name belongs to one kind. The subject of an event says to whom it happened; the words behind its text and its fields
say what is special about this time. `events --kinds`, `explain`, the page of events and the catalog of the journal are
made of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.supervisor.events.event_kinds import EventKind, EventName
from tlsrt.supervisor.events.health_events import HEALTH
from tlsrt.supervisor.events.lifecycle_events import LIFECYCLE
from tlsrt.supervisor.events.program_events import PROGRAM
from tlsrt.supervisor.events.security_events import SECURITY
from tlsrt.supervisor.events.session_events import SESSION

EVENTS: Mapping[str, EventName] = {
    name: EventName(name, kind, severity, sentence, cause, remedy, shown)
    for kind, rows in (
        (EventKind.LIFECYCLE, LIFECYCLE),
        (EventKind.SESSION, SESSION),
        (EventKind.SECURITY, SECURITY),
        (EventKind.HEALTH, HEALTH),
        (EventKind.PROGRAM, PROGRAM),
    )
    for name, severity, sentence, cause, remedy, shown in rows
}
