"""The folder for temporary files: empty at each start, whatever was left in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsrt.loops.runtime.temporary_files import prepare_temporary


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # which the function changes for its whole process


def test_what_was_left_goes_and_no_link_is_followed(tmp_path: Path) -> None:
    outside, state = tmp_path / "outside", tmp_path / "state"
    outside.mkdir()
    (outside / "kept").touch()
    state.mkdir()
    prepare_temporary(state)
    folder = Path(os.environ["TMPDIR"])
    assert folder == state / ".tmp" and folder.stat().st_mode & 0o777 == 0o700
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "file").touch()
    (folder / "deep" / "out").symlink_to(outside)
    (folder / "out").symlink_to(outside / "kept")
    os.mkfifo(folder / "pipe")
    prepare_temporary(state)
    assert list(folder.iterdir()) == [] and (outside / "kept").exists()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_lies_in_its_place_goes(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / ".tmp").touch()
    else:
        (tmp_path / ".tmp").symlink_to("/")
    prepare_temporary(tmp_path)
    assert (tmp_path / ".tmp").is_dir() and not (tmp_path / ".tmp").is_symlink()
