"""`check`: every fault of a configuration at once, each with its place, and nothing is changed."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tlsrt.config.document import ConfigFiles
from tlsrt.config.init import initialise
from tlsrt.config.key_places import KeyPlaces, Place, placed
from tlsrt.errors import EX_CONFIG
from tlsrt.supervisor.cli.config_trial import Trial
from tlsrt.supervisor.cli.main import main
from tlsrt.supervisor.process.instance_lock import take_lock


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "host"
    initialise(folder, host="127.0.0.1", port=free_port(), now=datetime.now(UTC))
    return folder


def tried(folder: Path, *, after: timedelta = timedelta(0)) -> Trial:
    trial = Trial(folder / "tlsrt.yaml", int((datetime.now(UTC) + after).timestamp() * 1000))
    trial.run()
    return trial


def faults(trial: Trial) -> list[str]:
    return [one.sentence for one in trial.findings if one.is_fault]


def contents(folder: Path) -> Mapping[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_new_host_has_no_fault_and_nothing_changes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(home)
    assert main(["check", "--config", str(home / "tlsrt.yaml")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("no fault: a start takes this configuration")
    assert contents(home) == before


def test_every_fault_is_named_with_its_place(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home / "tlsrt.yaml"
    (home / "boot.token").unlink()
    (home / "master.key").chmod(0o644)
    (home / "server.key").write_bytes((home / "ca.key").read_bytes())
    (home / "ca.crt").chmod(0o666)
    text = file.read_text().replace('client/admin -> third/io: "*"', "client/admin  ->  third/io: [reed]")
    lines = [
        *text.splitlines(),
        "scheduling: {cpus: {primary: [999]}}",
        "components:",
        '  third/one: {class: "nowhere.one:One"}',
        '  third/two: {class: "nowhere_else.two:Two"}',
    ]
    file.write_text("\n".join(lines) + "\n")
    before = contents(home)
    assert main(["check", "--json", "--config", str(file)]) == EX_CONFIG
    report = json.loads(capsys.readouterr().out)
    assert contents(home) == before

    def where(key: str) -> tuple[int, int]:
        number = next(number for number, line in enumerate(lines, 1) if line.lstrip().startswith(key))
        return number, len(lines[number - 1]) - len(lines[number - 1].lstrip()) + 1

    found = {(one["line"], one["column"]): one["sentence"] for one in report["faults"]}
    assert all(one["file"] == str(file) for one in report["faults"])
    assert "has mode 0644" in found[where("master_key:")]
    assert "there is no boot token" in found[where("boot_token:")]
    assert "does not belong to the door's certificate" in found[where("certificate:")]
    assert "could be exchanged by another user" in found[where("client_ca:")]
    assert "processor 999" in found[(len(lines) - 3, len("scheduling: {cpus: {") + 1)]
    assert "no package nowhere:" in found[where("third/one:")]
    assert "no package nowhere_else:" in found[where("third/two:")]
    assert len(report["faults"]) == 7
    (warning,) = (one for one in report["warnings"] if "reed" in one["sentence"])
    assert (warning["line"], warning["column"]) == where("client/admin  ->  third/io")


def test_all_wrong_keys_are_named_and_then_the_trial_ends(home: Path) -> None:
    file = home / "tlsrt.yaml"
    file.write_text(file.read_text() + "bad_key: 1\nworse_key: 2\n")
    trial = tried(home)
    assert [sentence.split(",")[0] for sentence in faults(trial)] == [
        "unknown key 'bad_key'",
        "unknown key 'worse_key'",
    ]
    assert all(one.place.line > 1 for one in trial.findings)


def test_a_certificate_that_has_ended_or_ends_soon_is_told(home: Path) -> None:
    assert any("ended on" in sentence for sentence in faults(tried(home, after=timedelta(days=4000))))
    soon = tried(home, after=timedelta(days=395))
    assert any("ends on" in one.sentence and not one.is_fault for one in soon.findings)
    assert not faults(soon)


def test_a_boot_token_of_another_key_is_a_fault(home: Path) -> None:
    (home / "master.key").write_bytes(os.urandom(32))
    assert any("was not made with this master_key" in sentence for sentence in faults(tried(home)))


def test_a_port_in_use_is_a_fault_unless_this_host_runs(home: Path) -> None:
    text = (home / "tlsrt.yaml").read_text()
    port = int(next(line.split(":")[1] for line in text.splitlines() if line.strip().startswith("port:")))
    with socket.create_server(("127.0.0.1", port)):
        (fault,) = (one for one in tried(home).findings if one.is_fault)
        assert "another program already listens" in fault.sentence
        assert text.splitlines()[fault.place.line - 1].strip().startswith("port:")
        lock = take_lock(home / "state" / "lock")
        running = tried(home)
        os.close(lock)
    assert not faults(running)
    assert any("its ports were not tried" in note for note in running.notes)


def test_a_file_that_is_missing_or_no_text_is_one_sentence(tmp_path: Path) -> None:
    assert "there is no configuration" in faults(tried(tmp_path))[0]
    (tmp_path / "tlsrt.yaml").write_bytes(b"\xff\xfe\x00")
    (fault,) = tried(tmp_path).findings
    assert fault.place == Place(str(tmp_path / "tlsrt.yaml"))


def test_a_fault_of_a_drop_in_is_placed_in_its_file(home: Path) -> None:
    (home / "components.d").mkdir()
    nameless, wrong = home / "components.d" / "nonsense.yaml", home / "components.d" / "third.wrong.yaml"
    nameless.write_text("x: 1\n")
    wrong.write_text("# a line\nx: 1\n")
    places = {one.place.file: one.place for one in tried(home).findings if one.is_fault}
    assert places[str(nameless)] == Place(str(nameless), 1, 1)
    assert places[str(wrong)].line in (1, 2)


def test_sentences_find_their_key() -> None:
    places = KeyPlaces("/f", ConfigFiles(b"door:\n  key: a\ncomponents:\n  third/io:\n    options: {x: [1]}\n"))
    assert places.of(("door", "key")) == Place("/f", 2, 3)
    assert places.of(("door", "crl")) == Place("/f", 1, 1)
    assert places.of(("components", "third/io", "options", "x", "0")) == Place("/f", 5, 19)
    assert places.named_by("component third/io: no") == Place("/f", 4, 3)
    assert places.named_by("door.key: no") == Place("/f", 2, 3)
    assert places.named_by("nothing like that") is None
    assert placed("/g:3:4: no", Place("/f")) == (Place("/g", 3, 4), "no")
    assert placed("no", Place("/f")) == (Place("/f"), "no")
    assert placed("/g.yaml: no", Place("/f")) == (Place("/g.yaml"), "no")
