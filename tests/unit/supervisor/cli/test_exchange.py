"""Where a command asks: the run folder that the configuration names, whether it loads or not."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from tlsrt.config.load import run_dir_of
from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.exchange import HostPlace, host_of


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("version: 1\n", "run"),
        ("run_dir: /run/tlsrt\n", "/run/tlsrt"),
        ("a: [\nrun_dir: '/run/a b'  # here\n", "/run/a b"),
        ('run_dir: "deep/run"\nrun_dir: other\n', "deep/run"),
        ("  run_dir: nested\n# run_dir: no\n", "run"),
        ("run_dir:\n\tx", "run"),
        ("run_dir: # nothing\n", "run"),
    ],
)
def test_the_run_folder_of_a_file_that_does_not_load(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "tlsrt.yaml"
    path.write_text(text)
    assert run_dir_of(path) == tmp_path / named


def test_a_mistake_is_a_warning_where_something_runs_and_the_error_where_nothing_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tlsrt.yaml"
    path.write_text("version: 1\nmesure: strict\n")
    arguments = argparse.Namespace(config=str(path))
    with pytest.raises(ConfigError, match="mesure"):
        host_of(arguments)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "control.sock").touch()
    assert host_of(arguments) == HostPlace(path, tmp_path / "run")
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "warning:" in said and "tlsrt.yaml:" in said and str(tmp_path / "run") in said
