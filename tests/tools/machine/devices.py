"""Devices that a machine for development has not: `make test-machine`, not part of `make test`.

A camera of V4L2, and sleep until an alarm of the clock, in a virtual machine, see machine.py. What is tested there is
the code of the services that touches the device; a whole host starts too slowly there without KVM.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.machine.machine import Machine

INSIDE = Path(__file__).with_name("inside")
FILES = [INSIDE / f"{name}.py" for name in ("camera", "wake")]
PATIENCE_S = 1500
TESTS = [f"{file.name}::{name}" for file in FILES for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)]


@pytest.fixture(scope="module")
def said() -> str:
    """What the tests inside have written."""
    output = Machine().run_tests(FILES, PATIENCE_S)
    print(output)
    return output


@pytest.mark.parametrize("name", TESTS)
def test_inside_the_machine(said: str, name: str) -> None:
    # the kernel may say something between the name and what became of it
    outcomes = re.findall(rf"{re.escape(name)}(?:\[\S+\])? (?:\[ *[0-9.]+\] .*\n)*(\w+)", said)
    assert outcomes and set(outcomes) == {"PASSED"}
