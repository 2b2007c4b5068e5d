"""Whatever is done to an audit log, `verify` names the first entry that is wrong."""

from __future__ import annotations

import hmac
from collections.abc import Callable

import pytest
from fakes.audit_log import ROOT, TRUSTED, AuditLog, Files, entries, file_key, public, raw, record

from tlsrt.config import key_schedule
from tlsrt.supervisor.audit.record import LogEntry, chain_after, encode_record, join
from tlsrt.supervisor.audit.verify import Anchor, Fault, VerifyReport, verify

OTHER = key_schedule.audit_root(bytes(32))


def log() -> AuditLog:
    """Three files: a checkpoint after 256 and FINAL; a checkpoint, and killed; another life, FINAL."""
    made = AuditLog().life().add(296).rotate().add(5).checkpoint().add(4)
    return made.life().add(4).stop()


@pytest.fixture(scope="module")
def good() -> Files:
    return log().named()


def faulty(files: Files, **options: object) -> Fault:
    fault = verify(files, TRUSTED, **options).fault  # type: ignore[arg-type]
    assert fault is not None
    return fault


def with_master(files: Files) -> VerifyReport:
    return verify(files, TRUSTED, file_key=file_key)


def swapped(files: Files, index: int, data: bytes) -> Files:
    return [(name, data if at == index else old) for at, (name, old) in enumerate(files)]


def rebuilt(data: bytes, change: Callable[[list[LogEntry]], list[bytes]], key: bytes = bytes(32)) -> bytes:
    """Return a file whose bodies somebody changed who knows the format: chain anew, MACs by any key he has."""
    found = entries(data)
    chain = found[0].value.before_chain  # type: ignore[union-attr]
    made = b""
    for body in change(found):
        chain = chain_after(chain, body)
        made += join(body, chain, hmac.digest(key, chain, "sha256"))
        key = key_schedule.audit_next_mac_key(key)
    return made


def test_a_good_log_passes_with_the_public_key_alone_and_with_master_key(good: Files) -> None:
    for report in (verify(good, TRUSTED, must_be_closed=True), with_master(good)):
        assert report.fault is None
        assert (report.files, report.first, report.last, report.is_closed) == (3, 1, 316, True)
        assert report.records == 296 + 5 + 4 + 4 and report.checkpoints == 4


def test_another_key_is_refused(good: Files) -> None:
    fault = verify(good, [public(OTHER)]).fault
    assert fault is not None and (fault.file, fault.sequence) == ("audit-00000001.log", 1)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_flipped_bit_is_named(good: Files, index: int) -> None:
    name, data = good[index]
    for entry in entries(data)[:: 40 if index == 0 else 1]:
        for at in (entry.start + 4, entry.start + 9, entry.end - 65, entry.end - 40):  # body and chain
            broken = bytearray(data)
            broken[at] ^= 1
            fault = faulty(swapped(good, index, bytes(broken)))
            assert fault.file == name and fault.sequence in (entry.sequence, 0)
            assert fault.sequence or entry.start == 0  # a header that does not read has no number
        broken = bytearray(data)
        broken[entry.end - 1] ^= 1  # a MAC: only master_key can tell, but nothing that was said has changed
        report = with_master(swapped(good, index, bytes(broken)))
        assert report.fault is not None and report.fault.sequence == entry.sequence


def test_a_deleted_entry_is_named(good: Files) -> None:
    name, data = good[0]
    gone = entries(data)[50]
    assert faulty(swapped(good, 0, data[: gone.start] + data[gone.end :])) == Fault(
        name, gone.sequence, f"this is missing: sequence {gone.sequence + 1} stands in its place"
    )


def test_an_inserted_entry_is_named(good: Files) -> None:
    name, data = good[0]
    entry = entries(data)[50]
    fault = faulty(swapped(good, 0, data[: entry.end] + raw(data, entry) + data[entry.end :]))
    assert (fault.file, fault.sequence) == (name, entry.sequence + 1) and "again" in fault.sentence


def test_entries_in_another_order_are_named(good: Files) -> None:
    name, data = good[0]
    one, two = entries(data)[50:52]
    fault = faulty(swapped(good, 0, data[: one.start] + raw(data, two) + raw(data, one) + data[two.end :]))
    assert (fault.file, fault.sequence) == (name, one.sequence)


def _changed(found: list[LogEntry]) -> list[bytes]:
    return [encode_record(51, record(7)) if each.sequence == 51 else each.body for each in found]


def _deleted(found: list[LogEntry]) -> list[bytes]:
    renumbered = [encode_record(each.sequence - 1, each.value) for each in found[51:256]]  # type: ignore[arg-type]
    filler = encode_record(256, record(256))  # since the checkpoint's number is signed
    return [*(each.body for each in found[:50]), *renumbered, filler, *(each.body for each in found[256:])]


@pytest.mark.parametrize("change", [_changed, _deleted])
def test_who_knows_the_format_is_named_too(good: Files, change: Callable[[list[LogEntry]], list[bytes]]) -> None:
    """Chain and numbers made anew, MACs by the key that a captured authority has now."""
    name, data = good[0]
    present = key_schedule.audit_mac_key(key_schedule.audit_file_key(ROOT, 1))
    for _ in range(300):
        present = key_schedule.audit_next_mac_key(present)
    forged = swapped(good, 0, rebuilt(data, change, present))
    assert faulty(forged) == Fault(name, 51, "this is not what the checkpoint after it has signed")
    master = with_master(forged).fault
    assert master is not None and master.sequence == 1  # its MAC is by a later key


def test_a_checkpoint_signed_by_a_later_key_is_named() -> None:
    """A captured authority has the key of the checkpoint that is to come, none of those that were."""
    made = AuditLog().life().add(3).checkpoint().add(3)
    captured = made.sealer.copy()
    forged = AuditLog().life()
    forged.sealer.signing = captured.signing
    forged.add(1).add(2).checkpoint().add(3)
    fault = faulty([("audit-00000001.log", bytes(forged.files[0]))])
    assert fault.sequence == 5 and "not signed by the key" in fault.sentence


def test_a_truncated_file_is_named(good: Files) -> None:
    for index in (0, 1):
        name, data = good[index]
        found = entries(data)
        for cut in (found[2].end, found[2].end + 10):
            fault = faulty(swapped(good, index, data[:cut]))
            assert (fault.file, fault.sequence) == (name, found[3].sequence) and "cut off" in fault.sentence


def test_a_truncated_end_is_named_by_an_anchor_and_by_the_missing_final(good: Files) -> None:
    name, data = good[2]
    found = entries(data)
    cut = swapped(good, 2, data[: found[2].end])
    assert verify(cut, TRUSTED).fault is None  # nothing in the log can say that there was more
    assert faulty(cut, must_be_closed=True) == Fault(
        name, found[3].sequence, "FINAL is missing: the host was killed, or the end was cut off"
    )
    point = found[-1].value
    anchors = [Anchor(3, point.size, point.root)]  # type: ignore[union-attr]
    assert verify(good, TRUSTED, anchors=anchors).fault is None
    assert "an anchor says that file 3" in faulty(cut, anchors=anchors).sentence


def test_a_missing_final_is_named(good: Files) -> None:
    name, data = good[0]
    final = entries(data)[-1]
    fault = faulty(swapped(good, 0, data[: final.start]))
    assert fault == Fault(name, final.sequence, "FINAL is missing: audit-00000002.log was begun after it")


def test_something_behind_final_is_named(good: Files) -> None:
    name, data = good[2]
    final = entries(data)[-1]
    chain = final.chain
    body = encode_record(final.sequence + 1, record(1))
    more = data + join(body, chain_after(chain, body), bytes(32))
    assert faulty(swapped(good, 2, more)) == Fault(name, final.sequence + 1, "something follows FINAL")
    assert faulty(swapped(good, 2, data + b"\0\0")) == Fault(name, final.sequence + 1, "something follows FINAL")


def test_something_added_to_a_killed_file_is_named(good: Files) -> None:
    name, data = good[1]
    last = entries(data)[-1]
    body = encode_record(last.sequence + 1, record(1))
    fault = faulty(swapped(good, 1, data + join(body, chain_after(last.chain, body), bytes(32))))
    assert (fault.file, fault.sequence) == (name, last.sequence + 1) and "added later" in fault.sentence


def test_swapped_files_are_named(good: Files) -> None:
    fault = faulty([(good[0][0], good[1][1]), (good[1][0], good[0][1]), good[2]])
    assert fault.file == good[0][0] and "says that it is file 2" in fault.sentence


def test_a_missing_file_is_named(good: Files) -> None:
    fault = faulty([good[0], good[2]])
    assert fault.file == good[2][0] and "follows file 1" in fault.sentence


def test_two_files_with_one_sequence_are_named(good: Files) -> None:
    copy = ("audit-00000003.log", good[1][1])
    fault = faulty([*good[:2], copy])
    assert fault.file == copy[0] and fault.sequence == entries(copy[1])[0].sequence
    assert fault.sentence.startswith("audit-00000002.log has this sequence too")


def test_two_lives_that_follow_one_file_are_named() -> None:
    """A copy of the folder that ran on elsewhere, and was put back beside the true one."""
    made = AuditLog().life().add(2)
    at = made.sealer.link()
    made.life(at).add(3).life(at).add(1)
    fault = faulty(made.named())
    assert fault.file == "audit-00000003.log" and "too" in fault.sentence


def test_an_empty_file_is_named(good: Files) -> None:
    for index in range(3):
        fault = faulty(swapped(good, index, b""))
        assert fault.file == good[index][0] and "empty" in fault.sentence


def test_no_file_at_all_is_named() -> None:
    assert faulty([]).sentence == "there is no file of it"


def test_files_that_are_said_to_be_moved_away_are_counted_and_no_fault(good: Files) -> None:
    report = verify(good[2:], TRUSTED, may_begin_late=True)
    assert report.fault is None and (report.missing_files, report.first) == (2, 311)
    fault = faulty(good[1:2], may_begin_late=True)  # its header was vouched for in the file before
    assert "no earlier key vouches" in fault.sentence


def test_another_master_key_is_followed_both_ways() -> None:
    """The life before names the new root key; and who has only that sees that the life before was what it followed."""
    made = AuditLog().life().add(3)
    made.sealer.root_key = public(OTHER)
    made.checkpoint().add(1).life(root=OTHER).add(2)
    for key in (public(), public(OTHER)):
        assert verify(made.named(), [key]).fault is None
    alien = AuditLog().life().add(3).life(root=OTHER).add(2).named()
    fault = faulty(alien)
    assert fault.file == "audit-00000002.log" and "no earlier key vouches" in fault.sentence


def test_a_log_of_another_host_that_is_whole_is_refused() -> None:
    assert "no earlier key vouches" in faulty(AuditLog().life(root=OTHER).add(3).stop().named()).sentence
