"""Exit codes, events, and detectors with their measures as Markdown."""

from __future__ import annotations

from tlsrt import errors
from tlsrt.config.detection import DETECTORS, Detector, Mode
from tlsrt.errors import EXIT_CODES, TlsrtError
from tlsrt.supervisor.authority.detection import escalation
from tlsrt.supervisor.events.catalog import EVENTS, EventKind, Severity
from tlsrt.supervisor.metrics.families import FAMILIES
from tools.reference.markdown import code, table

_NOTES = """- **trigger**: its measure is taken at once, each time, whatever the score was
- **distinct**: the same thing again within a minute costs nothing
- **grace**: it costs nothing for a moment after an epoch, a restart or a reload
- **advisory**: it ends a session at most
- **observed**: it is reported, and nothing follows"""


# What an operator does about an event of severity alarm.
REMEDIES = {
    "given_up": "read the last death in `status` and the loop's log, then `restart LOOP`",
    "escalated": "read why the group failed; the service manager starts the host again",
    "violation": "read the call; if it is legitimate, `sandbox explain` names the line, and `needs` asks for more",
    "difference": "treat the process as compromised: it was killed; read `audit tail`, and `lock` in doubt",
    "offence": "treat the loop as compromised; read its log",
    "anomaly": "`anomalies` shows what was found",
    "response": "`quarantine list` shows what is active; `quarantine release` ends it, `revoke` makes it last",
    "unprepared": "the loop was restarted; if it happens again, read its log",
    "unattested": "the loop was restarted; if it happens again, `sandbox check`",
    "start_refused": "do what the sentence says",
    "program_forbidden": "it was killed; what it was given, or the program itself, is not what you think: read the log",
    "locked": "find out why, then `unlock`",
    "decoy_touched": "treat the subject as compromised: `revoke` it, and replace its bundle",
    "decoys_blind": "restart Primary; if it happens again, treat Primary as compromised",
    "stuck": "look at the disk or device that the kernel waits for",
}


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
    unknown = REMEDIES.keys() ^ {name for name, event in EVENTS.items() if event.severity is Severity.ALARM}
    assert not unknown, f"tests/tools/reference/tables.py: REMEDIES does not fit the events: {unknown}"
    parts = []
    for kind in EventKind:
        rows = [
            (code(name), str(event.severity), event.sentence, REMEDIES.get(name, ""))
            for name, event in EVENTS.items()
            if event.kind is kind
        ]
        parts.append(f"## {kind}\n\n{table(('event', 'severity', 'meaning', 'what to do'), rows)}")
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
