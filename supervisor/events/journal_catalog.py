"""The catalog of the journal: what `journalctl -x` says to an event. Made of the one table of events."""

from __future__ import annotations

from tlsrt.supervisor.events.catalog import EVENTS
from tlsrt.supervisor.events.explanation import explanation

FILE = "tlsrt.catalog"  # below /usr/lib/systemd/catalog; then `journalctl --update-catalog`
_HEAD = "# Catalog of the events of tlsrt, for `journalctl -x`: `tlsrt-supervisor events --catalog` prints it.\n"


def catalog_text() -> str:
    """Return the file: journalctl(1), --update-catalog."""
    entries = [_HEAD]
    for event in EVENTS.values():
        paragraphs = "\n\n".join(explanation(event))
        entries.append(
            f"-- {event.message_id}\nSubject: @TLSRT_SUBJECT@: {event.sentence}\nDefined-By: tlsrt\n\n{paragraphs}\n"
        )
    return "\n".join(entries)
