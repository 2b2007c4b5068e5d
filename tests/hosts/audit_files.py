"""The files of an audit log, read and verified as one who audits does."""

from __future__ import annotations

from pathlib import Path

from tlsrt.supervisor.audit.open import file_key_of, public_of
from tlsrt.supervisor.audit.record import LogRecord, read_entry_untrusted
from tlsrt.supervisor.audit.verify import VerifyReport, verify


def read(folder: Path) -> list[tuple[str, bytes]]:
    """Return names and contents in order."""
    return [(path.name, path.read_bytes()) for path in sorted(folder.glob("audit-*.log"))]


def records(folder: Path) -> list[LogRecord]:
    """Return all records in order."""
    found: list[LogRecord] = []
    for _, data in read(folder):
        at = 0
        while (entry := read_entry_untrusted(data, at)) is not None:
            found += [entry.value] if isinstance(entry.value, LogRecord) else []
            at = entry.end
    return found


def verified(folder: Path, root: bytes, *, must_be_closed: bool = False) -> VerifyReport:
    """Verify with master_key, so every MAC as well; and with the public key alone, which must say the same."""
    public, files = [public_of(root)], read(folder)
    report = verify(files, public, file_key=file_key_of(root), must_be_closed=must_be_closed)
    assert report.fault is None, report.fault
    assert verify(files, public, must_be_closed=must_be_closed) == report
    return report
