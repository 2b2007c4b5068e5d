"""The tests of the examples, run as their authors would run them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NEEDS = {"models": ("numpy",)}  # of the extra `ai`, which is large
TESTED = sorted(path.parent.name for path in EXAMPLES.glob("*/tests"))


@pytest.mark.parametrize("name", TESTED)
def test_the_tests_of_an_example_pass(name: str) -> None:
    missing = [one for one in NEEDS.get(name, ()) if importlib.util.find_spec(one) is None]
    if missing and os.environ.get("CI") != "true":
        pytest.skip(f"left out: needs {', '.join(missing)} (pip install 'tlsrt[ai]')")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=EXAMPLES / name, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
