"""The files of the service: what systemd says of them, and whose they are."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tools.programs import need

from tlsrt.supervisor.cli.service import units
from tlsrt.supervisor.cli.service.handed_keys import stale_keys
from tlsrt.supervisor.cli.service.units import ServiceFacts, service_files, service_text, socket_text

FACTS = ServiceFacts(
    Path("/usr/bin/true"), Path("/etc/tlsrt/tlsrt.yaml"), "tlsrt", "127.0.0.1", 7443, units.STATE_DIR, units.RUN_DIR,
    units.LOG_DIR, 40.0, (("master.key", Path("/etc/tlsrt/master.key")),), is_local=True,
)  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "most"),
    [
        (FACTS, 2.0),  # what `init --system` and `install` make
        (replace(FACTS, is_local=False), 2.1),
        (replace(FACTS, is_local=False, has_libzmq=True), 2.3),
        (replace(FACTS, user="root", credentials=(), is_local=False), 6.6),
    ],
)
def test_the_score_of_exposure_with_all_namespaces(tmp_path: Path, facts: ServiceFacts, most: float) -> None:
    need("systemctl")
    (tmp_path / "tlsrt.service").write_text(service_text(facts))
    (tmp_path / "tlsrt.socket").write_text(socket_text(facts))
    assert "RestrictNamespaces=user mnt pid net ipc uts" in service_text(facts)
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(tmp_path / "tlsrt.service")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    [line] = [line for line in done.stdout.splitlines() if "exposure level" in line]
    assert float(line.partition(": ")[2].split()[0]) <= most, done.stdout


def test_a_reload_is_the_command_that_can_be_refused_and_the_launcher_alone_is_heard() -> None:
    lines = service_text(FACTS).splitlines()
    assert "Type=notify-reload" in lines and "NotifyAccess=main" in lines and "ReloadSignal=SIGCONT" in lines
    assert "ExecReload=/usr/bin/true reload --config /etc/tlsrt/tlsrt.yaml" in lines
    assert "LoadCredential=master.key:/etc/tlsrt/master.key" in lines


def test_folders_elsewhere_are_opened_for_writing_and_odd_paths_are_one_word() -> None:
    text = service_text(replace(FACTS, state_dir=Path("/srv/a b%"), config=Path("/srv/x y.yaml")))
    assert 'ReadWritePaths="/srv/a b%%"' in text and "StateDirectory" not in text
    assert 'start --config "/srv/x y.yaml"' in text


def test_a_key_that_has_changed_since_the_start_is_named_and_no_other(tmp_path: Path) -> None:
    keys = {name: tmp_path / name for name in ("master.key", "server.key")}
    handed = tmp_path / "credentials"
    handed.mkdir()
    for at, folder in ((1, tmp_path), (2, handed)):
        for name in keys:
            (folder / name).write_bytes(b"key")
            os.utime(folder / name, (at, at))
    service = service_text(replace(FACTS, credentials=tuple(keys.items())))
    assert stale_keys(FACTS.config, service, handed) == []
    os.utime(keys["server.key"], (3, 3))
    [sentence] = stale_keys(FACTS.config, service, handed)
    assert sentence.startswith(f"{keys['server.key']} has changed since the host started")
    assert stale_keys(Path("/etc/other.yaml"), service, handed) == []
    assert stale_keys(FACTS.config, service, tmp_path / "nothing") == []


def test_a_sealed_key_comes_by_a_socket_that_root_alone_may_ask_and_its_service_has_no_rights(tmp_path: Path) -> None:
    facts = replace(FACTS, sealed=("master.key",))
    assert f"LoadCredential=master.key:{units.KEYS_PLACE}\n" in service_text(facts)
    files = {file.path: file.text or "" for file in service_files(facts)}
    assert "SocketMode=0600" in files[units.KEYS_SOCKET]
    need("systemctl")
    (tmp_path / "tlsrt-keys@.service").write_text(files[units.KEYS_SERVICE])
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(tmp_path / "tlsrt-keys@.service")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    [line] = [line for line in done.stdout.splitlines() if "exposure level" in line]
    assert float(line.split(": ")[1].split()[0]) <= 2.0, done.stdout
    assert units.KEYS_SERVICE not in [file.path for file in service_files(FACTS)]


def test_an_address_of_version_6_is_in_brackets() -> None:
    assert "ListenStream=[::1]:7443" in socket_text(replace(FACTS, host="::1"))


def test_an_edited_file_is_known_as_one() -> None:
    for file in service_files(FACTS):
        if file.text is not None:
            assert units.is_unedited(file.text)
            assert not units.is_unedited(f"{file.text}\nNice=5\n")
    assert not units.is_unedited("") and not units.is_unedited("[Service]\n")


def test_what_was_made_is_what_an_unedited_file_says() -> None:
    unit, sysusers = units.marked(service_text(FACTS)), units.marked(units.sysusers_text(FACTS))
    assert units.made_folders(unit) == [units.STATE_DIR, units.LOG_DIR] and units.made_user(sysusers) == "tlsrt"
    elsewhere = units.marked(service_text(replace(FACTS, state_dir=Path("/srv/state"))))
    assert units.made_folders(elsewhere) == [units.LOG_DIR]
    assert units.made_folders(f"{unit}# mine\n") == [] and units.made_user(f"{sysusers}# mine\n") == ""
    assert units.made_folders("") == [] and units.made_user("") == ""


def test_the_folder_of_a_configuration_that_root_runs_stays_whose_it_is() -> None:
    lines = units.tmpfiles_text(replace(FACTS, user="root", credentials=())).splitlines()
    assert [line for line in lines if not line.startswith("#")] == []
    assert "d /etc/tlsrt 0755 root root -" in units.tmpfiles_text(FACTS)


def test_a_unit_runs_the_host_of_one_configuration() -> None:
    odd = Path("/srv/x y.yaml")
    assert units.runs(service_text(FACTS), FACTS.config) and not units.runs(service_text(FACTS), odd)
    assert units.runs(service_text(replace(FACTS, config=odd)), odd)
