"""The tests of the examples, run as their authors would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tools.extras import need_extra

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NEEDS = {"models": ("numpy",)}  # of the extra `ai`, which is large
TESTED = sorted(path.parent.name for path in EXAMPLES.glob("*/tests"))


@pytest.mark.parametrize("name", TESTED)
def test_the_tests_of_an_example_pass(name: str) -> None:
    need_extra("ai", *NEEDS.get(name, ()))
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=EXAMPLES / name, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    if os.environ.get("CI"):  # has what they ask for
        assert " skipped" not in done.stdout, done.stdout
