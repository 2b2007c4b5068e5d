"""The tests of the examples under the real filters, run as their authors would run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TESTED = ("notes",)  # whose tests look at no object, and give what the component needs


def test_the_tests_of_the_script_pass() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=EXAMPLES / "kettle", capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", TESTED)
def test_the_tests_of_an_example_pass_sealed(name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--sealed"]
    done = subprocess.run(command, cwd=EXAMPLES / name, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
