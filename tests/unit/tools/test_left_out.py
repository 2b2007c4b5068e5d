"""What a clean root with the lowest versions leaves out is run with the newest versions on the same Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.debian_root.left_out import PURE, ROOT, UNTRUE, WITHOUT, left_out

pytestmark = pytest.mark.once

CI = (ROOT / ".ci" / "run").read_text()


def test_files_that_are_left_out_by_name_and_those_that_may_skip_a_test_are_told() -> None:
    told = left_out()
    assert all(Path(ROOT, name).is_file() and name.startswith(PURE) for name in told)
    assert {*WITHOUT, *(name.partition("::")[0] for name in UNTRUE)} <= {*told}
    assert "tests/unit/config/test_tpm_keys.py" in told, "asks for swtpm"
    assert "tests/unit/supervisor/cli/test_top_screen.py" in told, "asks for Textual"
    assert "tests/unit/channels/frames/test_frame.py" not in told


def test_a_file_that_has_a_program_by_another_module_is_told() -> None:
    told = left_out()
    through = [name for name in told if "need(" not in Path(ROOT, name).read_text() and name not in WITHOUT]
    assert any("from hosts." in Path(ROOT, name).read_text() for name in through), told


def test_the_second_suite_has_them_and_all_folders_with_processes() -> None:
    assert "-m tools.debian_root.left_out" in CI and "test-lowest" in CI
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    rest = {str(folder.relative_to(ROOT)) for folder in folders if not str(folder.relative_to(ROOT)).startswith(PURE)}
    [second] = [line for line in CI.splitlines() if "not once" in line]
    named = tuple(word for word in second.replace("'", " ").split() if word.startswith("tests/"))
    assert rest and all(folder.startswith(named) for folder in rest), rest
