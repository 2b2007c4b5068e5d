"""Files of logs that a component is granted to read: which are opened, in which order, and what is passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsrt.supervisor.control.record_files import RecordFile, RecordFolder


def names(found: tuple[list[RecordFile], bool]) -> list[tuple[str, bool]]:
    for file in found[0]:
        os.close(file.descriptor)
    return [(file.name, file.is_earlier) for file in found[0]]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for name in ("third.log", "third.log.1", "third.notes.log", "authority.log", "secret.txt", "a.log.2", "..log"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_logs_come_with_the_part_that_was_moved_away(logs: Path) -> None:
    assert names(RecordFolder(logs, is_audit=False).open(0, 12)) == [
        ("authority", False), ("third", False), ("third", True), ("third.notes", False)
    ]  # fmt: skip


def test_pages_say_whether_there_are_more(logs: Path) -> None:
    folder = RecordFolder(logs, is_audit=False)
    assert [folder.open(first, 2)[1] for first in (0, 2, 4, 900)] == [True, False, False, False]
    assert names(folder.open(3, 2)) == [("third.notes", False)]


def test_a_link_a_second_name_and_a_pipe_are_passed_over(logs: Path) -> None:
    (logs / "forth.log").symlink_to(logs / "secret.txt")
    os.link(logs / "secret.txt", logs / "external.log")
    os.mkfifo(logs / "primary.log")
    (logs / "secondary.log").mkdir()
    assert len(names(RecordFolder(logs, is_audit=False).open(0, 12))) == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="a file of another user takes root")
def test_a_file_of_another_user_is_passed_over(logs: Path) -> None:
    os.chown(logs / "third.log", 12345, 12345)
    assert ("third", False) not in names(RecordFolder(logs, is_audit=False).open(0, 12))


def test_a_descriptor_cannot_write(logs: Path) -> None:
    found, _ = RecordFolder(logs, is_audit=False).open(0, 1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(found[0].descriptor, b"x")
    os.close(found[0].descriptor)


def test_the_newest_part_of_the_audit_log_is_first_and_its_folder_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    for name in ("audit-00000002.log", "audit-00000010.log", "audit-00000001.log", "new", "audit-1.log"):
        (tmp_path / "audit" / name).touch()
    assert names(RecordFolder(tmp_path, is_audit=True).open(0, 2)) == [("10", False), ("2", False)]
    (tmp_path / "audit").rename(tmp_path / "away")
    (tmp_path / "audit").symlink_to(tmp_path / "away")
    with pytest.raises(OSError, match="audit"):
        RecordFolder(tmp_path, is_audit=True).open(0, 2)
