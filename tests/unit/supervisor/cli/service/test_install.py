"""`install` below a folder that stands for /: what it writes, leaves alone and removes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tlsrt.config.init import initialise
from tlsrt.supervisor.cli.main import main
from tlsrt.supervisor.cli.service import units


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
