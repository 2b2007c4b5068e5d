"""`start` refuses what counts and could be exchanged by another user, before it is root's no longer."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.start import start


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    found = list[Sequence[str]]()

    def launch(words: Sequence[str], **_: object) -> int:
        found.append(words)
        return 0

    monkeypatch.setattr("tlsrt.supervisor.launch.launcher.launch", launch)
    monkeypatch.setattr("tlsrt.supervisor.launch.first_process.stay_behind_if_first", lambda: None)
    return found


def run(path: Path) -> int:
    return start(argparse.Namespace(subject=None, config=str(path), log=None))


def left(path: Path, name: str) -> Path:
    """Make a file that every user may write."""
    (path.parent / name).parent.mkdir(exist_ok=True)
    (path.parent / name).write_text("a: 1\n")
    (path.parent / name).chmod(0o666)
    return path.parent / name


def test_a_service_leaves_a_change_to_the_next_command(
    tmp_path: Path, launched: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tlsrt.yaml"
    path.write_text("")
    record = left(path, "components.d/.change")
    with pytest.raises(ConfigError, match=r"\.change could be exchanged by another user"):
        run(path)
    # In the unit the configuration is read-only, for root too.
    monkeypatch.setattr(
        os, "access", lambda place, mode: not (mode & os.W_OK and path.parent in (place, *place.parents))
    )
    assert run(path) == 0 and launched == [["--config", str(path)]]
    told = capsys.readouterr()
    assert "it starts with what is sealed" in told.out + told.err and record.exists()


def test_only_files_that_count_are_refused(tmp_path: Path, launched: list[Sequence[str]]) -> None:
    path = tmp_path / "tlsrt.yaml"
    path.write_text("")
    for name in ("tlsrt.yaml.d/README", "tlsrt.yaml.d/.10.yaml.swp", "tlsrt.yaml.d/.a.yaml", "components.d/README.md"):
        left(path, name)
    assert run(path) == 0 and launched == [["--config", str(path)]]
    for name in ("tlsrt.yaml.d/10.yaml", "components.d/third.kettle.yaml", "components.d/third.kettle.manifest"):
        file = left(path, name)
        with pytest.raises(ConfigError, match=f"{name} could be exchanged by another user"):
            run(path)
        file.unlink()
    assert run(path) == 0


def test_a_folder_of_drop_ins_that_is_none_is_left_to_the_supervisor(
    tmp_path: Path, launched: list[Sequence[str]]
) -> None:
    path = tmp_path / "tlsrt.yaml"
    for name in ("tlsrt.yaml", "tlsrt.yaml.d", "components.d"):
        (tmp_path / name).write_text("")
    assert run(path) == 0 and len(launched) == 1
