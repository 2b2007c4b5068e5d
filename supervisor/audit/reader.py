"""Reader of the audit log: lines and JSON, from a folder. Nothing is verified here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlsrt.config.audit_roots import ROOTS, RootStatement, parse_roots_untrusted, with_statement
from tlsrt.config.files import as_config_error, create_in, open_folder, rename_in
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, PeerError
from tlsrt.supervisor.audit.files import FOLDER, number_of
from tlsrt.supervisor.audit.inclusion_proof import Proof
from tlsrt.supervisor.audit.record import LogEntry, LogHeader, LogRecord, read_entry_untrusted
from tlsrt.supervisor.audit.removal import HEADS

Document = dict[str, Any]


def files_in(folder: Path) -> list[Path]:
    """Return the log's files in a folder; raise ConfigError if it cannot be looked into."""
    try:
        return sorted(
            (path for path in folder.iterdir() if number_of(path.name)), key=lambda path: number_of(path.name)
        )
    except OSError as error:
        raise ConfigError(f"cannot read the audit log in {folder}: {error.strerror}") from None


def read(path: Path, start: int = 0) -> bytes:
    """Return what stands in a file from there on; raise ConfigError if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def heads_in(folder: Path) -> bytes:
    """Return the headers that retention has kept in a folder."""
    path = folder / HEADS
    return read(path) if path.is_file() else b""


def roots_in(folder: Path) -> list[RootStatement]:
    """Return what root keys of the log in a folder have said of each other."""
    path = folder / ROOTS
    return parse_roots_untrusted(read(path)) if path.is_file() else []


def keep_roots(config: Config, statement: bytes) -> None:
    """Keep the statement of a rotation beside the log, on the disk; nothing if there is no log. Raises ConfigError."""
    path = config.state_dir / "authority" / FOLDER
    if not path.is_dir():
        return
    with as_config_error("write", path / ROOTS):
        folder = open_folder(path, follow=False)
        try:
            owner = os.fstat(folder)
            present = read(path / ROOTS) if (path / ROOTS).is_file() else b""
            made = create_in(folder, f"{ROOTS}.new", with_statement(present, statement))
            try:
                os.fchown(made, owner.st_uid, owner.st_gid)
            finally:
                os.close(made)
            rename_in(folder, f"{ROOTS}.new", ROOTS)
        finally:
            os.close(folder)


def entries_in(data: bytes, name: str) -> Iterator[LogEntry]:
    """Yield entries up to one that is not whole; raise ConfigError for what is none."""
    at = 0
    while True:
        try:
            entry = read_entry_untrusted(data, at)
        except PeerError as error:
            raise ConfigError(f"{name} does not read at byte {at} ({error.reason}): run `audit verify`") from None
        if entry is None:
            return
        yield entry
        at = entry.end


def last_records(folder: Path, count: int) -> list[tuple[Path, LogEntry]]:
    """Return the newest records."""
    found: list[tuple[Path, LogEntry]] = []
    for path in reversed(files_in(folder)):
        here = [(path, entry) for entry in entries_in(read(path), path.name) if isinstance(entry.value, LogRecord)]
        found = here + found
        if len(found) >= count:
            break
    return found[max(0, len(found) - count) :] if count else []


def document_of(name: str, entry: LogEntry) -> Document:
    """Return an entry as JSON has it; times are ms."""
    value = entry.value
    document: Document = {"file": name, "sequence": entry.sequence}
    if isinstance(value, LogRecord):
        document |= {"type": "record", "boottime": value.boottime, "wall": value.wall, "kind": value.kind}
        document |= {"subject": value.subject, "detail": dict(value.detail)}
    elif isinstance(value, LogHeader):
        document |= {"type": "header", "life": value.life, "boottime": value.boottime, "wall": value.wall}
        document |= {"boot": value.boot.hex(), "before": value.before_end, "after_sequence": value.before_sequence}
    else:
        document |= {"type": "checkpoint", "boottime": value.boottime, "wall": value.wall, "size": value.size}
        document |= {"tree": value.root.hex(), "end": value.end}
    return document


def line_of(sequence: int, value: LogRecord) -> str:
    """Return a record as one line; its strings are printable already."""
    detail = " ".join(f"{name}={_shown(said)}" for name, said in value.detail)
    return f"{when(value.wall)}  {sequence:>6}  {value.kind:<16}  {value.subject}  {detail}".rstrip()


def when(wall: int) -> str:
    """Return wall time as people read it."""
    try:
        moment = datetime.fromtimestamp(wall / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{wall} ms"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{wall % 1000:03d}Z"


def show_lines(name: str, entry: LogEntry) -> list[str]:
    """Return all that is known of one entry."""
    document = document_of(name, entry)
    detail: dict[str, object] = document.pop("detail", {})
    document["wall"] = when(int(document["wall"]))
    document["chain"], document["mac"] = entry.chain.hex(), entry.mac.hex()
    lines = [f"{key:<12} {value}" for key, value in document.items()]
    return [*lines, *(f"  {key:<20} {value}" for key, value in detail.items())]


def proof_text(proof: Proof) -> str:
    """Return a proof as it is handed on."""
    steps = [[sequence, content.hex(), signature.hex()] for sequence, content, signature in proof.steps]
    tree = {"tlsrt_audit_proof": 1, "body": proof.body.hex(), "index": proof.index}
    return json.dumps({**tree, "path": [step.hex() for step in proof.path], "steps": steps})


def parse_proof_untrusted(text: str) -> Proof:
    """Return the proof in a text; raise PeerError for what is none."""
    try:
        tree = json.loads(text)
        if tree["tlsrt_audit_proof"] != 1 or type(tree["index"]) is not int:
            raise PeerError("proof")
        steps = tuple(
            (int(sequence), bytes.fromhex(content), bytes.fromhex(signature))
            for sequence, content, signature in tree["steps"]
        )
        if any(not 0 < sequence < 1 << 63 for sequence, _, _ in steps):
            raise PeerError("proof")
        path = tuple(map(bytes.fromhex, tree["path"]))
        return Proof(steps, bytes.fromhex(tree["body"]), tree["index"], path)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PeerError("proof") from error


def _shown(said: str | int) -> str:
    text = str(said)
    return f'"{text}"' if " " in text or not text else text
