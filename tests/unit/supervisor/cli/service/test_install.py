"""`install` below a folder that stands for /: what it writes, leaves alone and removes."""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tlsrt.config.init import initialise
from tlsrt.config.load import load_config
from tlsrt.errors import EX_CONFIG, EX_UNAVAILABLE
from tlsrt.supervisor.cli.exchange import RequestRefused
from tlsrt.supervisor.cli.main import main
from tlsrt.supervisor.cli.service import units
from tlsrt.supervisor.cli.service.rotation import rotate_service
from tlsrt.supervisor.process.instance_lock import take_lock


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("host") / "etc"
    initialise(folder, host="127.0.0.1", port=7443, now=datetime.now(UTC))
    return folder / "tlsrt.yaml"


def run(config: Path, root: Path, *words: str) -> int:
    named = ["--config", str(config)] if words[0] == "install" else []
    return main([*words, "--root", str(root), *named])


def files_in(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_files_are_written_once_and_all_of_them_are_removed(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(config, tmp_path, "install", "--user", "root") == 0
    assert files_in(tmp_path) == {
        "etc/systemd/system/tlsrt.service", "etc/systemd/system/tlsrt.socket", "etc/tmpfiles.d/tlsrt.conf",
    }  # fmt: skip
    assert f"start --config {config}" in (tmp_path / "etc/systemd/system/tlsrt.service").read_text()
    capsys.readouterr()
    assert run(config, tmp_path, "install", "--user", "root") == 0
    assert capsys.readouterr().out.count("as it is: ") == 3
    assert run(config, tmp_path, "uninstall") == 0
    assert files_in(tmp_path) == set()
    assert not (tmp_path / "etc/systemd/system/tlsrt.service.d").exists()


def test_a_dry_run_prints_the_files_and_writes_none(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(config, tmp_path, "install", "--user", "root", "--dry-run") == 0
    said = capsys.readouterr().out
    assert f"write {tmp_path}/etc/systemd/system/tlsrt.socket" in said and "ListenStream=127.0.0.1:7443" in said
    assert list(tmp_path.iterdir()) == []


def test_what_an_operator_has_edited_stays_and_is_named(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(config, tmp_path, "install", "--user", "root")
    unit = tmp_path / "etc/systemd/system/tlsrt.service"
    unit.write_text(f"{unit.read_text()}# mine\n")
    (tmp_path / "etc/systemd/system/tlsrt.service.d/more.conf").write_text("[Service]\nNice=1\n")
    capsys.readouterr()
    assert run(config, tmp_path, "install", "--user", "root") == 0
    assert "/etc/systemd/system/tlsrt.service was edited, so it stays as it is" in capsys.readouterr().err
    assert run(config, tmp_path, "uninstall") == 0
    assert "/etc/systemd/system/tlsrt.service was edited, so it stays" in capsys.readouterr().err
    assert files_in(tmp_path) == {"etc/systemd/system/tlsrt.service", "etc/systemd/system/tlsrt.service.d/more.conf"}
    assert run(config, tmp_path, "uninstall", "--purge") == 0
    assert files_in(tmp_path) == set()


def test_each_key_is_a_credential_of_a_user_and_of_root_none() -> None:
    paths = [Path("/etc/tlsrt/master.key"), Path("/etc/tlsrt/server.key")]
    assert [name for name, _ in units.credentials_for("tlsrt", paths)] == ["master.key", "server.key"]
    assert units.credentials_for("root", paths) == ()


def test_a_key_that_is_not_there_is_named_before_anything_is_written(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "etc"
    shutil.copytree(config.parent, folder)
    (folder / "master.key").rename(folder / "master.key.tpm2")
    words = ("install", "--credentials", "files", "--dry-run", "--config", str(folder / "tlsrt.yaml"))
    assert main([*words]) == EX_CONFIG
    said = capsys.readouterr()
    assert f"there is no {folder}/master.key, which the service needs" in said.err
    assert said.out == ""


def test_the_tpm_seals_nothing_for_root(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, tmp_path, "install", "--user", "root", "--credentials", "tpm2") == EX_CONFIG
    assert "the TPM seals for `--user NAME`" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_rotated_beside_a_host_that_systemd_has_not_started(config: Path) -> None:
    """The unit is not active, so nothing would restart it with the new key."""
    host = load_config(config)
    lock = take_lock(host.state_dir / "lock")
    try:
        with pytest.raises(RequestRefused, match="nothing was changed"):
            rotate_service(host, argparse.Namespace(json=False))
    finally:
        os.close(lock)
    assert not config.with_name("master.key.2").exists()


def service_with_folders(root: Path) -> list[Path]:
    """Lay a unit that has the folder for the state made, and both folders; return these."""
    unit = root / "etc/systemd/system/tlsrt.service"
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_text(units.marked("[Service]\nStateDirectory=tlsrt\n"))
    folders = [root / "var/lib/tlsrt", root / "var/log/tlsrt"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_text("")
    return folders


def test_a_purge_removes_the_folders_that_the_unedited_unit_names_and_says_what_is_left(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, logs = service_with_folders(tmp_path)
    assert run(config, tmp_path, "uninstall", "--purge") == 0
    assert not state.exists() and logs.exists()
    assert "left: /var/log/tlsrt (no unedited unit says that `install` made it)" in capsys.readouterr().out
    service_with_folders(tmp_path)
    assert run(config, tmp_path, "uninstall") == 0
    assert "left: /var/lib/tlsrt, /var/log/tlsrt (for another `install`)" in capsys.readouterr().out
    assert run(config, tmp_path, "uninstall", "--purge") == 0
    assert "left: /var/lib/tlsrt, /var/log/tlsrt (no unedited unit" in capsys.readouterr().out
    assert state.exists() and logs.exists()


def test_nothing_is_purged_from_a_host_that_runs(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, _ = service_with_folders(tmp_path)
    lock = take_lock(state / "lock")
    before = files_in(tmp_path)
    assert run(config, tmp_path, "uninstall", "--purge") == EX_UNAVAILABLE
    assert "a host runs with its state in /var/lib/tlsrt" in capsys.readouterr().err
    assert files_in(tmp_path) == before
    os.close(lock)


@pytest.mark.parametrize(("mode", "port", "sentence"), [(0o666, 7443, "has mode 0666"), (0o600, 0, "door.port is 0")])
def test_a_configuration_that_another_may_write_or_without_a_port_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int, port: int, sentence: str
) -> None:
    initialise(tmp_path / "etc", host="127.0.0.1", port=7443, now=datetime.now(UTC))
    path = tmp_path / "etc/tlsrt.yaml"
    path.write_text(path.read_text().replace("port: 7443", f"port: {port}"))
    path.chmod(mode)
    assert run(path, tmp_path / "root", "install", "--user", "root") == EX_CONFIG
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


def test_a_user_that_was_there_before_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(units, "SYSUSERS", tmp_path)
    (tmp_path / "tlsrt.conf").write_text(units.marked('u daemon - "tlsrt" /var/lib/tlsrt -\n'))
    assert main(["uninstall", "--purge", "--dry-run"]) == 0
    assert "userdel" not in capsys.readouterr().out
    monkeypatch.setattr(units, "GECOS", pwd.getpwnam("daemon").pw_gecos)
    assert main(["uninstall", "--purge", "--dry-run"]) == 0
    assert "run: userdel daemon" in capsys.readouterr().out
