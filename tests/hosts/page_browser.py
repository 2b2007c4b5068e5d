"""A real Chromium with one page."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from hosts.chromium import Chromium

WAIT_S = 30.0


class PageBrowser(Chromium):
    """One page. `said` has what the page wrote to its console, and `wrong` its errors and reports of its policy."""

    _session = ""  # until there is a page

    def __init__(self) -> None:
        super().__init__("--ignore-certificate-errors")
        self.said: list[str] = []
        self.wrong: list[str] = []
        self._session = self.first_page()
        for domain in ("Runtime", "Log", "Page", "Accessibility"):
            self.ask(f"{domain}.enable")

    def go(self, url: str) -> None:
        """Load a page from its beginning."""
        self.ask("Page.navigate", {"url": "about:blank"})
        self.ask("Page.navigate", {"url": url})

    def run(self, words: str) -> Any:
        """Evaluate JavaScript in the page, wait for what it promises, and return it."""
        return self.evaluate(words, self._session)

    def until(self, words: str) -> None:
        """Evaluate it until it is true there."""
        limit = time.monotonic() + WAIT_S
        while not self.run(f"Boolean({words})"):
            assert time.monotonic() < limit, f"never: {words}; {self.wrong}\n{self.run('document.body.innerText')}"
            time.sleep(0.02)

    def press(self, key: str, code: int, *, shift: bool = False) -> None:
        """Press and release a key, as a keyboard does."""
        more = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        if key == "Enter":
            more["text"] = "\r"
        self.ask("Input.dispatchKeyEvent", {"type": "keyDown", **more})
        self.ask("Input.dispatchKeyEvent", {"type": "keyUp", **more})

    def picture(self) -> bytes:
        """Return what is seen, PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot")["data"])

    def ask(self, method: str, more: dict[str, Any] | None = None, session: str = "") -> dict[str, Any]:
        """Ask about this page, once there is one."""
        return super().ask(method, more, session or self._session)

    def note(self, method: str | None, more: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.wrong.append(json.dumps(more["exceptionDetails"])[:1000])
        elif method == "Log.entryAdded" and more["entry"]["level"] == "error":
            self.wrong.append(f"{more['entry']['text']} {more['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled":
            self.said.append(json.dumps(more["args"])[:500])
