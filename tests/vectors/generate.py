"""Writes the test vectors: `python tests/vectors/generate.py`; with `--check` it only says whether they are current.

Deterministic, but for HPKE ciphertexts and ECDSA signatures: those were made once and are kept in stored.json.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path[0] = str(here.parent)

from vectors import (
    cases_audit,
    cases_enrolment,
    cases_gate,
    cases_jobs,
    cases_keys,
    cases_opening,
    cases_recipient,
    cases_session,
    cases_shapes,
    cases_succession,
    cases_unlock,
)
from vectors.runner import FOLDER
from vectors.writer import STORED, Stored


def texts() -> dict[Path, str]:
    """Return every vector file by its path."""
    stored = Stored()
    component, client = cases_recipient.recipients()
    files = {
        "keys": cases_keys.key_schedule(), "token": cases_keys.tokens(), "frame": cases_shapes.frames(),
        "header": cases_shapes.headers(), "batch": cases_shapes.batches(), "stream": cases_shapes.streams(),
        "control": cases_shapes.controls(), "body": cases_shapes.body_shapes(), "open": cases_opening.opens(stored),
        "grant": cases_opening.grants(stored),
        "opening": cases_opening.openings(stored),
        "gate": cases_gate.gate(), "recipient_component": component,
        "recipient_client": client, "succession": cases_succession.successions(),
        "audit": cases_audit.audits(), "unlock": cases_unlock.unlocks(stored), "job": cases_jobs.jobs(),
        "result": cases_jobs.results(stored),
        "enrolment": cases_enrolment.answers(), "enrolling": cases_enrolment.askings(),
        "renewal": cases_enrolment.renewals(),
    }  # fmt: skip
    made = {FOLDER / f"{name}.json": file.text() for name, file in files.items()}
    made[FOLDER / "session.json"] = cases_session.session(stored)
    made[STORED] = stored.text()
    return made


def stale() -> list[str]:
    """Return the names of the files that are not what the code makes now."""
    made = texts()
    wrong = [path.name for path, text in made.items() if not path.exists() or path.read_text() != text]
    return sorted([*wrong, *(path.name for path in FOLDER.glob("*.json") if path not in made)])


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        wrong = stale()
        for name in wrong:
            print(f"tests/vectors/{name} does not match the code: run generate.py there and look at the difference")
        return 1 if wrong else 0
    for path, text in texts().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
