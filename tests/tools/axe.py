"""axe-core, which looks for what keeps people from using a page. It is a tool of tests, and no part of tlsrt."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Protocol

import pytest

from tools.programs import LEFT_OUT, UNPACKED

SCRIPT = UNPACKED / "axe" / "axe_playwright_python" / "axe.min.js"
_GET = f"pip install --no-deps --require-hashes --target {UNPACKED / 'axe'} -r tests/tools/axe.txt"
_RUN = """await (async () => {
  const found = await axe.run(document, ONLY ? { runOnly: ONLY } : {})
  return found.violations.map((one) => [one.id, one.help, one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200))])
})()"""
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


class Page(Protocol):
    """A page in a Chromium."""

    def run(self, words: str) -> Any:
        """Evaluate JavaScript in the page, in which `await` may stand, and return it."""

    def ask(self, method: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give one command about this page."""


def broken(page: Page, *only: str) -> list[list[object]]:
    """Return the rules of axe that the page breaks now, with where: all rules, or these alone."""
    if not page.run("'axe' in globalThis"):
        page.ask("Runtime.evaluate", {"expression": need_axe()})  # the debugger's, which no policy of a page is about
    found = page.run(_RUN.replace("ONLY", json.dumps(only) if only else "null"))
    assert isinstance(found, list), found
    return found
