"""The runner of the suite: what failed is run once more in CI only, and what is missing is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

TESTS = Path(__file__).resolve().parents[2]
FLAKY = """
import pathlib, pytest
@pytest.mark.parametrize("number", range({count}))
def test_once(number):
    seen = pathlib.Path(__file__).with_name(f"seen-{{number}}")
    was_there = seen.exists()
    seen.touch()
    assert was_there
"""
BROKEN = "def test_always():\n    assert False\n"
PASSES = "def test_it():\n    pass\n"
NEEDY = "from tools.programs import need\ndef test_shell():\n    need('zsh')\n"
WITH_EXTRA = "from tools.extras import need_extra\nneed_extra('ai', 'nothing_of_this_name')\n"


def run(folder: Path, files: dict[str, str], *, ci: bool, path: str | None = None, workers: int = 2) -> tuple[int, str]:
    """Run a suite of these files with the runner; return its exit code and what it printed."""
    tests = folder / "tests"
    shutil.copytree(TESTS / "tools", tests / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TESTS / "conftest.py", tests)
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = tests\naddopts = --import-mode=importlib\n")
    for name, text in files.items():
        (tests / name).parent.mkdir(parents=True, exist_ok=True)
        (tests / name).write_text(text)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"CI": "true"} if ci else {}
    # Only the plug-in that conftest.py asks: to import all of them takes longer than everything else here.
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "_hypothesis_pytestplugin"}
    environment |= {"PATH": path} if path is not None else {}
    command = [
        sys.executable,
        str(tests / "tools" / "run.py"),
        str(workers),
        "-p",
        "no:cacheprovider",
        *(f"tests/{name}" for name in files),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=110)
    return done.returncode, done.stdout


def test_what_passes_alone_is_named_as_flaky(tmp_path: Path) -> None:
    code, out = run(tmp_path, {"integration/test_a.py": FLAKY.format(count=2), "unit/test_b.py": PASSES}, ci=True)
    assert code == 0
    assert out.count("flaky: tests/integration/test_a.py::test_once") == 2
    assert out.endswith("3 passed, 0 failed\n")


def test_flaky_tests_in_more_than_three_files_fail(tmp_path: Path) -> None:
    """Tests of one file share a host: what fails it fails them all."""
    files = {f"integration/{name}/test_it.py": FLAKY.format(count=1) for name in "abcd"}
    code, out = run(tmp_path / "four", files, ci=True)
    assert code == 1 and "tests in 4 files are flaky, at most in 3 they may be" in out
    code, out = run(tmp_path / "one", {"integration/test_a.py": FLAKY.format(count=26)}, ci=True)
    assert code == 0 and out.endswith("26 passed, 0 failed\n")


@pytest.mark.parametrize("name", ["integration/test_a.py", "unit/test_a.py"])
def test_what_fails_alone_or_has_no_processes_fails(name: str, tmp_path: Path) -> None:
    code, out = run(tmp_path, {name: BROKEN}, ci=True)
    assert code == 1 and out.endswith("0 passed, 1 failed\n")
    assert ("once more, alone" in out) == name.startswith("integration")


def test_a_failure_on_the_desk_is_a_failure(tmp_path: Path) -> None:
    code, out = run(tmp_path, {"integration/test_a.py": FLAKY.format(count=1)}, ci=False)
    assert code == 1 and "once more" not in out


@pytest.mark.parametrize("ci", [False, True])
def test_a_missing_program_leaves_a_test_out_and_fails_in_ci(ci: bool, tmp_path: Path) -> None:
    code, out = run(tmp_path, {"integration/test_a.py": NEEDY}, ci=ci, path=str(tmp_path))
    if ci:
        assert code == 1 and "needs zsh: apt-get install zsh" in out
    else:
        assert code == 0 and "left out 1 tests: zsh is missing, `apt-get install zsh` brings it" in out


@pytest.mark.parametrize("ci", [False, True])
def test_a_missing_extra_leaves_a_file_out_and_fails_in_ci(ci: bool, tmp_path: Path) -> None:
    code, out = run(tmp_path, {"integration/test_a.py": WITH_EXTRA + PASSES, "unit/test_b.py": PASSES}, ci=ci)
    if ci:
        assert code == 1 and "needs nothing_of_this_name: pip install 'tlsrt[ai]'" in out
    else:
        assert code == 0 and out.endswith("1 passed, 0 failed\n"), out
        assert "left out 1 tests: nothing_of_this_name is missing, `pip install 'tlsrt[ai]'` brings it" in out


def test_a_file_that_cannot_be_imported_fails_and_the_others_run(tmp_path: Path) -> None:
    files = {"unit/test_a.py": "import nothing_of_this_name\n", "unit/test_b.py": PASSES}
    code, out = run(tmp_path, files, ci=True, workers=1)
    assert code == 1 and out.endswith("1 passed, 1 failed\n")
    assert "nothing_of_this_name" in out


def test_each_file_runs_once_and_the_dearest_are_named(tmp_path: Path) -> None:
    files = {f"{room}/test_{name}.py": PASSES for room in ("unit", "integration", "attacks") for name in "abcd"}
    code, out = run(tmp_path, files, ci=False)
    assert code == 0 and out.endswith("12 passed, 0 failed\n")
    assert "the 60 dearest files:" in out and " of processor  tests/" in out


def test_a_suite_without_a_test_fails(tmp_path: Path) -> None:
    code, out = run(tmp_path, {"unit/test_a.py": ""}, ci=False, workers=1)
    assert code == 5 and "no test was found" in out
