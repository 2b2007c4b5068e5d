"""Logs of processes and the audit log, read back from their ends: real files, rotation, bounds, and bytes that lie."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fakes.audit_log import AuditLog as AuditMemory
from fakes.audit_log import entries

from tlsrt import RuntimeFile
from tlsrt.loops.secondary import own_logs
from tlsrt.loops.secondary.log_query import Filter, Position, merge, position_untrusted
from tlsrt.loops.secondary.own_logs import AuditLog, NewEntries, ProcessLog, audit_pieces
from tlsrt.supervisor.audit.record import LogRecord, chain_after, encode_record, join

BEGIN = datetime.fromisoformat("2026-11-28T07:00:00").timestamp()


def line(number: int, words: str = "INFO third/io: said") -> bytes:
    at = datetime.fromtimestamp(BEGIN + number)
    return f"{at:%Y-%m-%d %H:%M:%S},000 {words} {number}\n".encode()


def file(path: Path, data: bytes, name: str = "third", **more: bool) -> RuntimeFile:
    path.write_bytes(data)
    return opened(path, name, **more)


def opened(path: Path, name: str = "third", **more: bool) -> RuntimeFile:
    return RuntimeFile(name, os.open(path, os.O_RDONLY), **more)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as end:
        end.write(data)


def all_texts(log: ProcessLog | AuditLog, wanted: Filter, limit: int) -> list[str]:
    """Return what all pages have, the oldest first."""
    name = log.name if isinstance(log, ProcessLog) else "audit"
    position, found = Position(), list[str]()
    for _ in range(3000):
        page, why = log.older(wanted, position, limit)
        assert why == ""
        merged = merge({name: page}, position, limit)
        found = [one["text"] for one in merged.entries] + found
        if merged.position is None:
            return found
        position = position_untrusted(merged.position.text())
    pytest.fail("it comes to no end")


def test_both_parts_of_a_log_are_read_back_to_the_beginning(tmp_path: Path) -> None:
    earlier = file(tmp_path / "b", b"".join(map(line, range(100))), is_earlier=True)
    now = file(tmp_path / "a", b"".join(map(line, range(100, 150))))
    found = all_texts(ProcessLog("third", [now, earlier]), Filter(), 7)
    assert [int(one.rsplit(" ", 1)[1]) for one in found] == list(range(150))


def test_a_long_log_is_looked_through_in_steps_and_nothing_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_logs, "LOOK_BYTES", 16 * 1024)
    monkeypatch.setattr(own_logs, "_BLOCK", 4 * 1024)
    monkeypatch.setattr(own_logs, "_PROBE", 1024)
    log = ProcessLog("third", [file(tmp_path / "a", b"".join(map(line, range(5000))))])
    rare = all_texts(log, Filter(text="said 1000"), 5)
    assert [one.rsplit(" ", 1)[1] for one in rare] == ["1000"]
    wanted = Filter(until_us=int((BEGIN + 20) * 1e6), since_us=int((BEGIN + 10) * 1e6))
    assert [int(one.rsplit(" ", 1)[1]) for one in all_texts(log, wanted, 4)] == list(range(10, 21))


def test_an_entry_says_its_level_component_and_all_its_lines(tmp_path: Path) -> None:
    data = line(1, "ERROR third/io: failed") + b"Traceback:\n  \x1b[2J\xff\n" + line(2, "INFO third: done")
    page, _ = ProcessLog("third", [file(tmp_path / "a", data)]).older(Filter(priority=3), Position(), 10)
    (one,) = [found.entry for found in page.found]
    assert one["priority"] == 3 and one["component"] == "third/io" and one["source"] == "logs"
    assert r"failed 1; Traceback:;   \x1b[2J" in one["text"] and one["text"].isprintable()


def test_a_log_without_times_is_told_and_does_not_hold_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_logs, "LOOK_BYTES", own_logs._BLOCK)
    log = ProcessLog("third", [file(tmp_path / "a", line(1) + b"no time here\n" * 50_000)])
    page, why = log.older(Filter(), Position(), 10)
    assert page.found == [] and page.looked_to_us is None and "has a time" in why


def test_a_line_without_an_end_is_bounded(tmp_path: Path) -> None:
    page, _ = ProcessLog("third", [file(tmp_path / "a", line(1) + line(2)[:-1] + b"x" * 900_000)]).older(
        Filter(), Position(), 10
    )
    assert max(len(one.entry["text"]) for one in page.found) <= 4096


def audit_file(path: Path, numbers: range, name: str = "1") -> RuntimeFile:
    data, chain = b"", bytes(32)
    for number in numbers:
        body = encode_record(number, LogRecord(0, number * 1000, "lock", "client/admin", (("why", f"no {number}"),)))
        chain = chain_after(chain, body)
        data += join(body, chain, bytes(32))
    return file(path, data, name)


def test_the_audit_log_is_read_back_over_its_files(tmp_path: Path) -> None:
    files = [audit_file(tmp_path / str(one), range(one * 50 + 1, one * 50 + 51), str(one)) for one in range(5)]
    found = all_texts(AuditLog(files[::-1]), Filter(), 30)
    assert found == [f'lock why="no {number}"' for number in range(1, 251)]
    assert all_texts(AuditLog(files[::-1]), Filter(text="no 33"), 30) == ['lock why="no 33"']
    old = all_texts(AuditLog(files[::-1]), Filter(until_us=20_000_000), 30)
    assert len(old) == 20


def test_other_bytes_in_the_audit_log_are_told(tmp_path: Path) -> None:
    whole = audit_file(tmp_path / "a", range(1, 4))
    broken = file(tmp_path / "b", whole.read(10_000, 0) + b"\xff" * 100, "2")
    page, why = AuditLog([broken]).older(Filter(), Position(), 10)
    assert len(page.found) == 3 and "part 2 of the audit log has other bytes" in why


def test_what_follows_is_read_on_over_a_rotation(tmp_path: Path) -> None:
    path, new = tmp_path / "third.log", NewEntries(1 << 20)
    now = file(path, b"".join(map(line, range(10))))
    assert new.take([now], is_audit=False) == ([], 0)
    append(path, line(10))
    assert [one.entry["text"][-2:] for one in new.take([now], is_audit=False)[0]] == ["10"]
    append(path, line(11))
    path.rename(tmp_path / "third.log.1")
    later = file(path, line(12))
    found, left_out = new.take([opened(tmp_path / "third.log.1", is_earlier=True), later], is_audit=False)
    assert sorted(one.entry["text"][-2:] for one in found) == ["11", "12"] and left_out == 0


def test_a_follower_that_is_too_far_behind_is_told_how_much_it_has_missed(tmp_path: Path) -> None:
    path, new = tmp_path / "third.log", NewEntries(4096)
    now = file(path, line(0))
    new.take([now], is_audit=False)
    append(path, b"".join(map(line, range(1, 1000))))
    found, left_out = new.take([now], is_audit=False)
    assert left_out == now.size - 4096 - len(line(0)) and found[-1].entry["text"].endswith(" 999")


def test_a_new_record_of_the_audit_log_comes_whole(tmp_path: Path) -> None:
    whole = audit_file(tmp_path / "whole", range(1, 4)).read(10_000, 0)
    cut, path, new = len(whole) - 20, tmp_path / "audit", NewEntries(4096)
    now = file(path, whole[:cut], "1")
    assert new.take([now], is_audit=True) == ([], 0)
    append(path, whole[cut:])
    assert [one.entry["text"] for one in new.take([now], is_audit=True)[0]] == ['lock why="no 3"']


def test_who_follows_the_audit_log_reads_none_of_its_older_files(tmp_path: Path) -> None:
    files = [audit_file(tmp_path / f"part{number}", range(1, 4)) for number in range(3)]
    read: list[str] = []

    class Watched:
        def __init__(self, file: Any) -> None:
            self.file, self.name, self.size, self.identity = file, file.name, file.size, file.identity

        def read(self, size: int, offset: int) -> bytes:
            if data := self.file.read(size, offset):
                read.append(str(self.identity))
            return bytes(data)

    watched: Any = [Watched(file) for file in files]
    assert NewEntries(4096).take(watched, is_audit=True) == ([], 0)
    assert set(read) == {str(watched[0].identity)}, "the newest is read for its last whole record"


def test_pieces_of_the_audit_log_are_its_newest_parts_and_the_headers_before(tmp_path: Path) -> None:
    log = AuditMemory().life().add(300).checkpoint().rotate().add(2).rotate().add(1).checkpoint()
    parts = [(number, bytes(data)) for number, data in enumerate(log.files, 1)]
    files = [file(tmp_path / str(number), data, str(number)) for number, data in reversed(parts)]
    for whole in range(1, 4):
        given: dict[int, bytes] = {}
        for piece in audit_pieces(files, whole):
            number, data = int(piece.file.name), piece.read()
            assert 0 < len(data) <= 32 * 1024 and piece.is_whole == (number > 3 - whole)
            assert not given or number >= max(given)  # the oldest first
            given[number] = given.get(number, b"") + data
        for number, data in parts:
            header = data[: entries(data)[0].end]
            assert given[number] == (data if number > 3 - whole else header)


def test_pieces_of_what_is_no_audit_log_are_bounded(tmp_path: Path) -> None:
    files = [
        file(tmp_path / name, data, "2") for name, data in (("a", b"\xff" * 99), ("b", b""), ("c", b"\xff" * 9999))
    ]
    sizes = [len(piece.read()) for piece in audit_pieces(files, 1)]
    assert sizes == [1024, 0, 99]
