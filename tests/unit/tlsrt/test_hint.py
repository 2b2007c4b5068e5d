"""What a person is told to type is quoted, and is found; and `python -m tlsrt` is both commands."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tlsrt.command_line.hint import command_line


def test_a_program_on_path_keeps_its_name_and_words_are_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    line = command_line("tlsrt", "--bundle", Path("/my host/it's.tlsrt"), "whoami")
    assert shlex.split(line) == ["tlsrt", "--bundle", "/my host/it's.tlsrt", "whoami"]


def test_one_that_is_not_on_path_is_named_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "an environment" / "bin"
    place.mkdir(parents=True)
    (place / "tlsrt").touch(mode=0o755)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(sys, "executable", str(place / "python"))
    monkeypatch.chdir(tmp_path)
    assert command_line("tlsrt", "whoami") == "'an environment/bin/tlsrt' whoami"
    monkeypatch.chdir("/")
    assert shlex.split(command_line("tlsrt")) == [str(place / "tlsrt").removeprefix("/")]
    assert command_line("another", "whoami") == "another whoami"


@pytest.mark.parametrize(
    ("words", "usage"),
    [(("help", "whoami"), "usage: tlsrt whoami"), (("supervisor", "help", "top"), "usage: tlsrt-supervisor top")],
)
def test_the_package_runs_as_both_commands(words: tuple[str, ...], usage: str) -> None:
    done = subprocess.run([sys.executable, "-m", "tlsrt", *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith(usage)
