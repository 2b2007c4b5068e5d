"""Exit codes, events, and detectors with their measures as Markdown."""

from __future__ import annotations

from tlsrt import errors
from tlsrt.command_line.exit_code_advice import ADVICE
from tlsrt.config.detection import DETECTORS, Detector, Mode
from tlsrt.errors import EXIT_CODES, TlsrtError
from tlsrt.supervisor.authority.detection import escalation
from tlsrt.supervisor.events.catalog import EVENTS
from tlsrt.supervisor.events.event_fields import FIELDS
from tlsrt.supervisor.events.event_kinds import EventKind, EventName
from tlsrt.supervisor.events.explanation import advice, capital, example_line, explanation
from tlsrt.supervisor.metrics.families import FAMILIES
from tools.reference.markdown import code, paragraph, table

_NOTES = """- **trigger**: its measure is taken at once, each time, whatever the score was
- **distinct**: the same thing again within a minute costs nothing
- **grace**: it costs nothing for a moment after an epoch, a restart or a reload
- **advisory**: it ends a session at most
- **observed**: it is reported, and nothing follows"""


def exit_codes() -> str:
    codes = table(("code", "meaning"), [(str(number), text) for number, text in EXIT_CODES.items()])
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TlsrtError)]
    rows = [(code(kind.__name__), str(kind.exit_code), kind.__doc__ or "") for kind in kinds if kind is not TlsrtError]
    parts = [codes, *(_code(number, text) for number, text in EXIT_CODES.items())]
    parts.append(f"## Errors\n\nClasses of `tlsrt.errors`.\n\n{table(('error', 'exit code', 'meaning'), rows)}")
    return "\n\n".join(parts)


def _code(number: int, text: str) -> str:
    return "\n\n".join((f"## Exit code {number}", paragraph(f"{capital(text)}."), *map(_bold, advice(*ADVICE[number]))))


def _bold(text: str) -> str:
    """Return a paragraph whose first words, up to a colon, are bold."""
    head, _, rest = text.partition(": ")
    return paragraph(f"**{head}:** {rest}")


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
        of_kind = [event for event in EVENTS.values() if event.kind is kind]
        rows = [(f"[`{one.name}`](#{one.name})", str(one.severity), one.sentence) for one in of_kind]
        parts += [f"## {kind}", table(("event", "severity", "meaning"), rows), *map(_event, of_kind)]
    return "\n\n".join(parts)


def _event(event: EventName) -> str:
    about, *paragraphs = explanation(event)
    rows = [(code(name), FIELDS[name]) for name in event.example.fields]
    return "\n\n".join(
        (
            f"### {event.name}",
            paragraph(f"{about} Severity {event.severity}, MESSAGE_ID {code(event.message_id)}."),
            *map(_bold, paragraphs),
            *([table(("field", "meaning"), rows)] if rows else []),
            f"```text\n{example_line(event)}\n```",
        )
    )


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
