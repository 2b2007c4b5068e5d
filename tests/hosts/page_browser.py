"""A real Chromium with one page, driven over a pipe by its remote debugging protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

WAIT_S = 30.0


class PageBrowser:
    """One page. `said` has what the page wrote to its console, and `wrong` its errors and reports of its policy."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tlsrt-browser."))
        there, self._to = os.pipe()
        self._from, back = os.pipe()
        program = shutil.which("chromium-headless-shell")
        assert program is not None
        words = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
            "--ignore-certificate-errors", f"--user-data-dir={self.folder / 'profile'}", "about:blank",
        ]  # fmt: skip

        def place() -> None:
            first, second = os.dup(there), os.dup(back)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=place, close_fds=False, env={**os.environ, "HOME": str(self.folder)},
        )  # fmt: skip
        os.close(there)
        os.close(back)
        self._number, self._read, self._session = 0, b"", ""
        self.said: list[str] = []
        self.wrong: list[str] = []
        while not self._session:
            for target in self.ask("Target.getTargets")["targetInfos"]:
                if target["type"] == "page":
                    asked = {"targetId": target["targetId"], "flatten": True}
                    self._session = self.ask("Target.attachToTarget", asked)["sessionId"]
        for domain in ("Runtime", "Log", "Page", "Accessibility"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self.folder, ignore_errors=True)

    def go(self, url: str) -> None:
        """Load a page from its beginning."""
        self.ask("Page.navigate", {"url": "about:blank"})
        self.ask("Page.navigate", {"url": url})

    def run(self, words: str) -> Any:
        """Evaluate JavaScript in the page, wait for what it promises, and return it."""
        asked = {"expression": words, "awaitPromise": True, "returnByValue": True}
        answer = self.ask("Runtime.evaluate", asked)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

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

    def ask(self, method: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the debugging protocol, and note what the page says meanwhile."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": more or {}}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._read:
                piece = os.read(self._from, 1 << 20)
                assert piece, "the browser has ended"
                self._read += piece
            line, self._read = self._read.split(b"\0", 1)
            answer = json.loads(line)
            self._note(answer.get("method"), answer.get("params") or {})
            if answer.get("id") == self._number:
                if "error" in answer and "context" in str(answer["error"]):
                    return {"result": {}}  # the page is being loaded
                assert "error" not in answer, answer
                return dict(answer["result"])

    def _note(self, method: str | None, more: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.wrong.append(json.dumps(more["exceptionDetails"])[:1000])
        elif method == "Log.entryAdded" and more["entry"]["level"] == "error":
            self.wrong.append(f"{more['entry']['text']} {more['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled":
            self.said.append(json.dumps(more["args"])[:500])
