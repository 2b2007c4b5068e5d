"""axe-core, which looks for what keeps people from using a page. It is a tool of tests, and no part of tlsrt."""

from __future__ import annotations

import hashlib
import os

import pytest

from tools.programs import LEFT_OUT, UNPACKED

SCRIPT = UNPACKED / "axe" / "axe_playwright_python" / "axe.min.js"
_GET = f"pip install --no-deps --require-hashes --target {UNPACKED / 'axe'} -r tests/tools/axe.txt"
_DIGEST = "84494fec757e4710dc751c8d7a636e457f4532f08f85c86dc9070133fbff53bc"


def need_axe() -> str:
    """Return its script; leave the running test out where it is missing, and fail it in CI."""
    if SCRIPT.exists():
        script = SCRIPT.read_bytes()
        assert hashlib.sha256(script).hexdigest() == _DIGEST, f"{SCRIPT} was changed"
        return script.decode()
    if os.environ.get("CI"):
        pytest.fail(f"needs axe: {_GET}")
    pytest.skip(f"{LEFT_OUT}axe: {_GET}")
