"""Python packages that tests use and that an extra of tlsrt brings: where one is missing, the test is left out.

As with programs (tools/programs.py), in CI (`CI=true`) a missing one fails the test.
"""

from __future__ import annotations

import importlib.util
import os

import pytest

from tools.programs import LEFT_OUT


def need_extra(extra: str, *modules: str) -> None:
    """Leave the running test, or the file that is imported, out where a module is missing; fail it in CI."""
    absent = [module for module in modules if importlib.util.find_spec(module) is None]
    if not absent:
        return
    words = f"{', '.join(absent)}: pip install 'tlsrt[{extra}]'"
    if os.environ.get("CI"):
        pytest.fail(f"needs {words}")
    pytest.skip(f"{LEFT_OUT}{words}", allow_module_level=True)
