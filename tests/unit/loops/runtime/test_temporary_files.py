"""The folder for temporary files: empty at each start, whatever was left in it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tlsrt.loops.runtime.temporary_files import prepare_temporary


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # which the function changes for its whole process
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_what_was_left_goes_and_no_link_is_followed(tmp_path: Path) -> None:
    outside, state = tmp_path / "outside", tmp_path / "state"
    outside.mkdir()
    (outside / "kept").touch()
    state.mkdir()
    assert tempfile.gettempdir() == str(tmp_path), "as a parent that has asked before"
    prepare_temporary(state)
    folder = Path(os.environ["TMPDIR"])
    assert tempfile.gettempdir() == str(folder)
    assert folder == state / ".tmp" and folder.stat().st_mode & 0o777 == 0o700
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "file").touch()
    (folder / "deep" / "out").symlink_to(outside)
    (folder / "out").symlink_to(outside / "kept")
    os.mkfifo(folder / "pipe")
    prepare_temporary(state)
    assert list(folder.iterdir()) == [] and (outside / "kept").exists()


def test_a_folder_deeper_than_any_path_goes(tmp_path: Path) -> None:
    prepare_temporary(tmp_path)
    (tmp_path / ".tmp" / "beside").mkdir()
    here = os.open(tmp_path / ".tmp", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=here)
        inner = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=inner))
        os.close(here)
        here = inner
    os.close(here)
    prepare_temporary(tmp_path)
    assert list((tmp_path / ".tmp").iterdir()) == []


CLOSED = """
import os, pathlib, sys
from tlsrt.loops.runtime.temporary_files import prepare_temporary
if os.getuid() == 0:
    os.setresuid(65534, 65534, 65534)
state = pathlib.Path(sys.argv[1])
prepare_temporary(state)
for name in ("none", "deep/none", "deep/read"):
    (state / ".tmp" / name / "in").mkdir(parents=True)
(state / ".tmp/deep/empty").mkdir(0o000)
(state / ".tmp/deep/read").chmod(0o500)
(state / ".tmp/deep/none").chmod(0o000)
(state / ".tmp/none").chmod(0o000)
(state / ".tmp").chmod(0o000)
prepare_temporary(state)
assert os.listdir(state) == [".tmp"] and os.listdir(state / ".tmp") == []
(state / ".tmp" / "none" / "in").mkdir(parents=True)
(state / ".tmp" / "none").chmod(0)
os.chmod = lambda *words, **more: None  # as the filter of a loop answers it
prepare_temporary(state)
aside, folder = sorted(os.listdir(state), key=len, reverse=True)
assert folder == ".tmp" and os.listdir(state / ".tmp") == [] and aside.startswith(".tmp.")
"""


def test_what_may_not_be_read_goes_or_is_put_aside() -> None:
    with tempfile.TemporaryDirectory(prefix="tlsrt-closed-", dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        subprocess.run([sys.executable, "-c", CLOSED, folder], check=True, timeout=30)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_lies_in_its_place_goes(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / ".tmp").touch()
    else:
        (tmp_path / ".tmp").symlink_to("/")
    prepare_temporary(tmp_path)
    assert (tmp_path / ".tmp").is_dir() and not (tmp_path / ".tmp").is_symlink()
