"""Exit codes, events, and detectors with their measures as Markdown."""

from __future__ import annotations

from tlsrt import errors
from tlsrt.config.detection import DETECTORS, Detector, Mode
from tlsrt.errors import EXIT_CODES, TlsrtError
from tlsrt.supervisor.authority.detection import escalation
from tlsrt.supervisor.events.catalog import EVENTS
from tlsrt.supervisor.events.event_kinds import EventKind
from tlsrt.supervisor.metrics.families import FAMILIES
from tools.reference.markdown import code, table

_NOTES = """- **trigger**: its measure is taken at once, each time, whatever the score was
- **distinct**: the same thing again within a minute costs nothing
- **grace**: it costs nothing for a moment after an epoch, a restart or a reload
- **advisory**: it ends a session at most
- **observed**: it is reported, and nothing follows"""


def exit_codes() -> str:
    codes = table(("code", "meaning"), [(str(number), text) for number, text in EXIT_CODES.items()])
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TlsrtError)]
    rows = [(code(kind.__name__), str(kind.exit_code), kind.__doc__ or "") for kind in kinds if kind is not TlsrtError]
    return f"{codes}\n\n## Errors\n\nClasses of `tlsrt.errors`.\n\n{table(('error', 'exit code', 'meaning'), rows)}"


def metrics() -> str:
    heads = ("series", "kind", "labels", "meaning")
    return table(
        heads,
        [
            (code(family.series), str(family.kind), ", ".join(map(code, family.labels)), family.help)
            for family in FAMILIES.values()
        ],
    )


def events() -> str:
    parts = []
    for kind in EventKind:
        rows = [
            (code(name), str(event.severity), event.sentence, event.cause, event.remedy, code(event.message_id))
            for name, event in EVENTS.items()
            if event.kind is kind
        ]
        parts.append(
            f"## {kind}\n\n{table(('event', 'severity', 'meaning', 'cause', 'what to do', 'MESSAGE_ID'), rows)}"
        )
    return "\n\n".join(parts)


def detectors() -> str:
    rows = [(code(name), str(one.points), _notes(one), one.about) for name, one in DETECTORS.items()]
    found = table(("detector", "points", "notes", "what was found"), rows)
    thresholds = [
        (str(kind), ", ".join(f"{least}: {action}" for least, action in actions))
        for kind, actions in escalation.THRESHOLDS.items()
    ]
    minutes, shortest = escalation.SHUT_CAP_MS // 60000, escalation.SHUT_FIRST_MS // 1000
    measures = (
        f"- A limit lasts {escalation.LIMIT_MS // 1000} s.",
        f"- A block or quarantine lasts {shortest} s, twice as long each time, at most {minutes} min.",
        f"- A loop is restarted {escalation.RESPAWNS} times within {escalation.RESPAWNS_MS // 60000} min; after that "
        "it stays in quarantine.",
        f"- {escalation.SOURCES} loops at the top within {escalation.SOURCES_MS // 1000} s lock the host. So does a "
        f"trigger at {', '.join(sorted(escalation.TRUSTED))}.",
        f"- Points of a {' or '.join(sorted(escalation.LOCKING))} count for a lock; what Primary alone says is charged "
        "to a channel.",
    )
    return "\n\n".join(
        (found, _NOTES, "## Measures", table(("charged to", "score: measure"), thresholds), "\n".join(measures))
    )


def _notes(detector: Detector) -> str:
    notes = {
        "trigger": detector.is_trigger,
        "distinct": detector.is_distinct,
        "grace": detector.has_grace,
        "advisory": detector.is_advisory,
        "observed": detector.mode is Mode.OBSERVE,
    }
    return ", ".join(note for note, holds in notes.items() if holds)
