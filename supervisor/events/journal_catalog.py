"""The catalog of the journal: what `journalctl -x` says to an event. Made of the one table of events."""

from __future__ import annotations

from tlsrt.supervisor.events.catalog import EVENTS

FILE = "tlsrt.catalog"  # below /usr/lib/systemd/catalog; then `journalctl --update-catalog`
_HEAD = "# Catalog of the events of tlsrt, for `journalctl -x`: `tlsrt-supervisor events --catalog` prints it.\n"


def catalog_text() -> str:
    """Return the file: journalctl(1), --update-catalog."""
    entries = [_HEAD]
    for event in EVENTS.values():
        remedy = f"\nWhat to do: {event.remedy}.\n" if event.remedy else ""
        entries.append(
            f"-- {event.message_id}\nSubject: @TLSRT_SUBJECT@: {event.sentence}\nDefined-By: tlsrt\n\n"
            f"{event.sentence[0].upper()}{event.sentence[1:]}.\n\nCause: {event.cause}.\n{remedy}"
        )
    return "\n".join(entries)
