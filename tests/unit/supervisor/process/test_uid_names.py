"""Names for uids: records where the host looks them up, a sentence where it does not."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_without_records_it_is_said_which_user_to_add(tmp_path: Path) -> None:
    said: list[str] = []
    UidNames(tmp_path, tmp_path / "userdb").give("forth.lamp", 771258, said.append)
    assert len(said) == 1 and "useradd --system --uid 771258" in said[0] and said[0].endswith(" tlsrt-forth-lamp")
    assert not (tmp_path / "userdb").exists()
