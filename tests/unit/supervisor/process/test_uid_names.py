"""Names for uids: records where the host looks them up, a sentence where it does not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tlsrt.supervisor.process.uid_names import UidNames, has_name, looks_up_records, name_for

PASSWD = "root:x:0:0:root:/root:/bin/bash\nbattery:x:771257:771257::/:/usr/sbin/nologin\n"


def test_a_name_is_found_by_its_uid_and_nothing_else() -> None:
    assert has_name(PASSWD, 771257) and has_name(PASSWD, 0)
    assert not has_name(PASSWD, 77125) and not has_name("771257\n::\n", 771257) and not has_name("", 0)


def test_user_records_count_only_on_the_line_of_passwd() -> None:
    assert looks_up_records("passwd:  files systemd # here\ngroup: files\n")
    assert not looks_up_records("passwd: files # systemd\ngroup: files systemd\n")


def test_a_long_name_is_a_number() -> None:
    assert name_for("forth.battery", 771257) == "tlsrt-forth-battery"
    assert name_for(f"forth.{'x' * 31}", 771257) == "tlsrt-771257"


def test_a_record_is_there_while_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text(PASSWD)
    (tmp_path / "nsswitch.conf").write_text("passwd: files systemd\n")
    records, said = tmp_path / "userdb", list[str]()
    names = UidNames(tmp_path, records)
    names.give("forth.known", 771257, said.append)
    assert not records.exists()
    for _ in range(2):
        names.give("forth.lamp", 771258, said.append)
    assert json.loads((records / "771258.user").read_text())["userName"] == "tlsrt-forth-lamp"
    assert json.loads((records / "771258.group").read_text())["gid"] == 771258
    assert said == [] and (records / "771258.user").stat().st_mode & 0o777 == 0o644
    names.take_away()
    assert list(records.iterdir()) == []


def records_in(tmp_path: Path) -> tuple[Path, UidNames]:
    (tmp_path / "nsswitch.conf").write_text("passwd: files systemd\n")
    records = tmp_path / "userdb"
    return records, UidNames(tmp_path, records)


def test_the_folder_is_open_to_all_whatever_the_umask_is(tmp_path: Path) -> None:
    records, names = records_in(tmp_path)
    before = os.umask(0o077)
    try:
        names.give("forth.lamp", 771258, list[str]().append)
    finally:
        os.umask(before)
    assert records.stat().st_mode & 0o777 == 0o755 and (records / "771258.group").stat().st_mode & 0o777 == 0o644


def test_the_name_of_another_host_is_left_alone(tmp_path: Path) -> None:
    records, names = records_in(tmp_path)
    other = UidNames(tmp_path, records)
    other.give("forth.lamp", 881258, list[str]().append)
    names.give("forth.lamp", 771258, list[str]().append)
    assert json.loads((records / "tlsrt-forth-lamp.user").read_text())["uid"] == 881258
    assert json.loads((records / "771258.user").read_text())["userName"] == "tlsrt-771258"
    names.take_away()
    assert {path.name for path in records.iterdir()} == {
        "881258.user", "881258.group", "tlsrt-forth-lamp.user", "tlsrt-forth-lamp.group"
    }  # fmt: skip
    UidNames(tmp_path, records).give("forth.lamp", 881258, list[str]().append)  # as after a crash: its own
    other.take_away()
    assert list(records.iterdir()) == []


@pytest.mark.parametrize("is_link", [True, False])
def test_the_record_of_an_administrator_is_a_name_and_left_alone(tmp_path: Path, is_link: bool) -> None:
    records, names = records_in(tmp_path)
    records.mkdir()
    made = records / ("battery.user" if is_link else "771258.user")
    made.write_text('{"userName": "battery", "uid": 771258}')
    if is_link:
        (records / "771258.user").symlink_to(made.name)
    before, said = sorted(records.iterdir()), list[str]()
    names.give("forth.lamp", 771258, said.append)
    names.take_away()
    assert sorted(records.iterdir()) == before and said == [] and "battery" in made.read_text()


def test_a_group_of_another_in_its_place_is_said(tmp_path: Path) -> None:
    records, names = records_in(tmp_path)
    records.mkdir()
    (records / "771258.group").write_text("{}")
    said: list[str] = []
    names.give("forth.lamp", 771258, said.append)
    assert "File exists" in said[0] and [path.name for path in records.iterdir()] == ["771258.group"]


def test_without_records_it_is_said_which_user_to_add(tmp_path: Path) -> None:
    said: list[str] = []
    UidNames(tmp_path, tmp_path / "userdb").give("forth.lamp", 771258, said.append)
    assert len(said) == 1 and "useradd --system --uid 771258" in said[0] and said[0].endswith(" tlsrt-forth-lamp")
    assert not (tmp_path / "userdb").exists()
