"""What the log no longer holds: removed by retention, as a signed record says, or by somebody, which `verify` names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.audit_log import (
    INSTALL,
    ROOT,
    TRUSTED,
    AuditLog,
    Files,
    entries,
    file_key,
    raw,
    record,
    seeds,
)

from tlsrt.channels.clock import Moment
from tlsrt.errors import PeerError
from tlsrt.supervisor.audit.files import AuditFolder, name_of
from tlsrt.supervisor.audit.inclusion_proof import check_proof_untrusted, make_proof
from tlsrt.supervisor.audit.kept import KEPT
from tlsrt.supervisor.audit.open import AuditKeys, open_log
from tlsrt.supervisor.audit.record import HASH, LogRecord, chain_after, encode_record, join
from tlsrt.supervisor.audit.removal import HEADS, gone_by
from tlsrt.supervisor.audit.retention import Retention
from tlsrt.supervisor.audit.verify import Fault, VerifyReport, verify
from tlsrt.supervisor.audit.writer import LogWriter, Work

FILE_MAX = 4_000
KEEP = 3 * 8192


def faulty(files: Files, **options: object) -> Fault:
    fault = verify(files, TRUSTED, **options).fault  # type: ignore[arg-type]
    assert fault is not None
    return fault


# Pure


@pytest.fixture
def log() -> AuditLog:
    """One life in five files, which says that the first two go; nothing of it is gone yet."""
    made = AuditLog().life().add(3).checkpoint().add(1)
    for number in range(4):
        made.rotate().add(2 + number)
    return made.announce(2).checkpoint().add(1)


def test_what_a_signed_record_announced_may_be_gone_and_is_counted(log: AuditLog) -> None:
    for first in range(3):  # nothing is gone yet, one file, both
        for with_master in ({}, {"file_key": file_key}):
            report = verify(log.named()[first:], TRUSTED, heads=log.heads(first), **with_master)  # type: ignore[arg-type]
            assert report.fault is None, report.fault
            assert (report.missing_files, report.gone_records) == (first, (0, 4, 6)[first])


def test_one_file_more_than_retention_removed_is_named(log: AuditLog) -> None:
    fault = faulty(log.named()[3:], heads=log.heads(3))
    assert fault == Fault(
        name_of(3), 0, "it is not here, and no signed record says that retention removed it"
    )  # though its header was put where those of removed files are


def test_a_record_of_removal_that_no_head_has_signed_counts_for_nothing(log: AuditLog) -> None:
    """Somebody without a key writes one behind the last head; the chain needs no key."""
    name, data = log.named()[-1]
    last = entries(data)[-1]
    gone = LogRecord(7, 8, "pruned", "audit", tuple(sorted(log.gone(3).detail(3).items())))
    body = encode_record(last.sequence + 1, gone)
    forged = data + join(body, chain_after(last.chain, body), bytes(HASH))
    files = [*log.named()[3:-1], (name, forged)]
    assert faulty(files, heads=log.heads(3)).file == name_of(3)
    master = faulty(files, heads=log.heads(3), file_key=file_key)
    assert (master.file, master.sequence) == (name, last.sequence + 1) and "MAC" in master.sentence


def test_a_record_of_removal_that_somebody_changed_is_named(log: AuditLog) -> None:
    """The number of the last file, chain made anew: the head behind it has signed something else."""
    name, data = log.named()[-1]
    found = entries(data)
    at = next(index for index, entry in enumerate(found) if b"pruned" in entry.body)
    changed = LogRecord(7, 8, "pruned", "audit", tuple(sorted(log.gone(3).detail(1).items())))
    chain, forged = found[at - 1].chain, data[: found[at].start]
    for entry in found[at:]:
        body = encode_record(entry.sequence, changed) if entry is found[at] else entry.body
        chain = chain_after(chain, body)
        forged += join(body, chain, bytes(HASH))
    fault = faulty([*log.named()[3:-1], (name, forged)], heads=log.heads(3))
    assert (fault.file, fault.sequence) == (name, found[at].sequence) and "signed" in fault.sentence


def test_a_removal_that_is_told_falsely_is_named() -> None:
    """By a captured authority: where the file ended is known from the next header."""
    log = AuditLog().life().add(2).rotate().add(1)
    false = replace(log.gone(1), chain=bytes(HASH))
    log.announce(1, false).checkpoint()
    fault = faulty(log.named()[1:], heads=log.heads(1))
    assert fault.file == name_of(2) and fault.sequence == log.sealer.sequence - 1 and "not true" in fault.sentence


def test_what_retention_found_missing_is_named_for_ever() -> None:
    log = AuditLog().life().add(2).rotate().add(1).rotate().add(1)
    log.announce(2, replace(log.gone(2), lost=1)).checkpoint()
    fault = faulty(log.named()[2:], heads=log.heads(2))
    assert fault.file == name_of(1) and "removed, but not by retention: sequence 10 says so" in fault.sentence
    assert verify(log.named()[2:], TRUSTED, heads=log.heads(2), may_begin_late=True).fault is None


def test_headers_lead_to_what_is_left_only_if_each_is_signed_and_all_are_there(log: AuditLog) -> None:
    first, second = (raw(bytes(data), entries(bytes(data))[0]) for data in log.files[:2])
    flipped = bytearray(second)
    flipped[40] ^= 1
    stranger = AuditLog().life().add(3).rotate().heads(2)
    for heads in (b"", first, second, second + first, first + bytes(flipped), first + first, stranger[:-1]):
        fault = faulty(log.named()[2:], heads=heads)
        assert fault.file == name_of(3) and "no earlier key vouches" in fault.sentence


def test_a_record_that_is_left_is_proved_by_the_headers_of_what_went(log: AuditLog) -> None:
    files = [data for _, data in log.named()]
    whole = make_proof(files, 14)
    assert make_proof(files[2:], 14, log.heads(2)) == whole
    assert check_proof_untrusted(whole, TRUSTED) == (14, record(14))
    with pytest.raises(PeerError, match="steps"):
        check_proof_untrusted(make_proof(files[2:], 14), TRUSTED)
    with pytest.raises(PeerError, match="signature"):
        check_proof_untrusted(replace(whole, steps=(whole.steps[0], *whole.steps[2:])), TRUSTED)
    with pytest.raises(PeerError, match="steps"):
        check_proof_untrusted(replace(whole, steps=whole.steps[::-1]), TRUSTED)


# On a real disk


@pytest.fixture
def state(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def opened(state: int, life: int) -> LogWriter:
    given = AuditKeys(bytes(bytearray(ROOT)), INSTALL, bytes(16), life, keep_bytes=KEEP)
    writer = open_log(state, given, "boot", {}, Moment(life, 0), seeds()).writer
    writer._file_max = FILE_MAX
    writer.tidy()
    return writer


def write(writer: LogWriter, batches: int) -> None:
    for number in range(batches):
        assert writer.write(Work([record(at) for at in range(10)], 20 * number, 0)).problem == ""
        writer.tidy()


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "audit").glob("audit-*.log"))


def checked(tmp_path: Path) -> VerifyReport:
    folder = tmp_path / "audit"
    files = [(name, (folder / name).read_bytes()) for name in names(tmp_path)]
    heads = (folder / HEADS).read_bytes() if (folder / HEADS).exists() else b""
    report = verify(files, TRUSTED, heads=heads)
    assert report == verify(files, TRUSTED, heads=heads, file_key=file_key)
    return report


def test_the_oldest_files_go_and_the_log_is_whole_over_lives(tmp_path: Path, state: int) -> None:
    written = 0
    for life in (1, 2, 3):
        writer = opened(state, life)
        for _ in range(3):
            write(writer, 12)
            report = checked(tmp_path)
            assert report.fault is None, report.fault
            assert sum((tmp_path / "audit" / name).stat().st_size for name in names(tmp_path)) < KEEP + 2 * 8192
        writer.close()  # killed
        written += 3 * 12 * 10
    told = [
        gone.records
        for name in names(tmp_path)
        for entry in entries((tmp_path / "audit" / name).read_bytes())
        if isinstance(entry.value, LogRecord) and (gone := gone_by(entry.value))
    ]
    assert report.gone_records == told[-1] and report.missing_files > 10
    extra = 3 + 2  # boots, and two ends of killed lives; and one record for each time that retention removed files
    kept = told_again(tmp_path)
    gone_kept = report.missing_files  # what was said again and has gone since: a boot or two for each file, at most
    assert written + extra < report.gone_records + report.records
    assert report.gone_records + report.records - len(kept) <= written + extra + report.missing_files + 2 * gone_kept


def told_again(tmp_path: Path) -> list[LogRecord]:
    """Return the records that were kept from files that are gone."""
    found = [
        entry.value for name in names(tmp_path) for entry in entries((tmp_path / "audit" / name).read_bytes())
        if isinstance(entry.value, LogRecord) and entry.value.kind == KEPT
    ]  # fmt: skip
    return found


def test_a_revocation_outlives_openings_of_sessions_and_can_be_proved(tmp_path: Path, state: int) -> None:
    """The log turns over five times by sessions that one client opens; what an operator has done is still there."""
    writer = opened(state, 1)
    writer.write(Work([LogRecord(7, 8, "revoke", "client client/low", (("for_ms", 0), ("kind", "client")))], 9, 9))
    first = names(tmp_path)[0]
    for _ in range(10):
        write(writer, 12)
    assert first not in names(tmp_path)
    last = [record for record in told_again(tmp_path) if record.subject == "client client/low"][-1]
    said = dict(last.detail)
    assert (said["kept_kind"], said["kept_at"], said["kind"], said["for_ms"]) == ("revoke", 8, "client", 0)
    assert {"boot"} <= {dict(record.detail)["kept_kind"] for record in told_again(tmp_path)}
    writer.write(Work([], 99, 99, "stopped"))
    assert checked(tmp_path).fault is None
    files = [(tmp_path / "audit" / name).read_bytes() for name in names(tmp_path)]
    at = [entry.sequence for data in files for entry in entries(data) if entry.value == last][-1]
    proved, record = check_proof_untrusted(make_proof(files, at, heads_of(tmp_path)), TRUSTED)
    assert (proved, record) == (at, last)
    assert sum(map(len, files)) < KEEP + 2 * 8192, "the log stays bounded"


def test_security_records_alone_cannot_fill_the_log_for_ever(tmp_path: Path, state: int) -> None:
    writer = opened(state, 1)
    for number in range(200):
        writer.write(
            Work([LogRecord(number, number, "quarantine", f"client/{each}", ()) for each in range(10)], number, number)
        )
        writer.tidy()
    assert sum((tmp_path / "audit" / name).stat().st_size for name in names(tmp_path)) < KEEP + 3 * 8192
    assert checked(tmp_path).fault is None


def heads_of(tmp_path: Path) -> bytes:
    path = tmp_path / "audit" / HEADS
    return path.read_bytes() if path.exists() else b""


def test_the_present_file_and_the_one_before_stay_whatever_they_take(tmp_path: Path, state: int) -> None:
    writer = opened(state, 1)
    assert writer._retention is not None
    writer._retention._keep_bytes = 0
    write(writer, 12)
    assert len(names(tmp_path)) <= 3  # and one that is announced, as what was said again has filled a file
    assert checked(tmp_path).fault is None
    writer.close()


def test_a_plan_that_a_kill_cut_off_is_carried_out_by_the_next_life(tmp_path: Path, state: int) -> None:
    """Killed when the record was signed, and before anything went; then when some of it had gone."""
    writer = opened(state, 1)
    writer._retention = None
    write(writer, 20)
    folder = AuditFolder.within(state)
    writer._retention = Retention(folder, KEEP)
    writer.tidy()
    assert writer.write(Work([], 1, 0)).head is not None  # said, signed
    writer.close()
    before = names(tmp_path)
    report = checked(tmp_path)
    assert report.fault is None and (report.missing_files, report.gone_records) == (0, 0)
    (tmp_path / "audit" / before[0]).unlink()
    again = opened(state, 2)
    again.tidy()
    write(again, 1)
    report = checked(tmp_path)
    assert report.fault is None and report.missing_files > 1, report.fault
    again.close()
    folder.close()


def test_a_file_that_somebody_changed_stays_as_evidence_and_is_told(tmp_path: Path, state: int) -> None:
    writer = opened(state, 1)
    writer._retention = None
    write(writer, 20)
    name = names(tmp_path)[1]
    path = tmp_path / "audit" / name
    data = bytearray(path.read_bytes())
    data[-70] ^= 1
    path.write_bytes(data)
    folder = AuditFolder.within(state)
    writer._retention = Retention(folder, KEEP)
    writer.tidy()
    assert f"{name} does not end where" in writer.write(Work([], 1, 0)).notice
    for _ in range(3):
        writer.tidy()
        assert writer.write(Work([], 1, 0)).notice == ""
    assert names(tmp_path)[0] == name
    report = checked(tmp_path)
    assert report.fault is not None and report.fault.file == name
    writer.close()
    folder.close()


def test_files_that_somebody_removed_are_not_taken_for_ours(tmp_path: Path, state: int) -> None:
    writer = opened(state, 1)
    writer._retention = None
    write(writer, 20)
    for name in names(tmp_path)[:2]:
        (tmp_path / "audit" / name).unlink()
    folder = AuditFolder.within(state)
    writer._retention = Retention(folder, KEEP)
    write(writer, 2)
    assert len(names(tmp_path)) < 6
    report = checked(tmp_path)
    assert report.fault is not None and report.fault.file == name_of(1) and "not by retention" in report.fault.sentence
    writer.close()
    folder.close()
