"""A real Chromium, driven over a pipe by its remote debugging protocol."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.programs import need


class Chromium:
    """One browser with a profile of its own, started in the network namespace in which this thread is."""

    def __init__(self, *flags: str, page: str = "") -> None:
        """Start it with more flags. `page` is a document to begin with, written into its folder as page.html."""
        program = need("chromium-headless-shell")
        self.folder = Path(tempfile.mkdtemp(prefix="tlsrt-browser."))
        first = "about:blank"
        if page:
            (self.folder / "page.html").write_text(page)
            first = (self.folder / "page.html").as_uri()
        there, self._to = os.pipe()
        self._from, back = os.pipe()
        words = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", *flags,
            f"--user-data-dir={self.folder / 'profile'}", first,
        ]  # fmt: skip

        def place() -> None:
            one, other = os.dup(there), os.dup(back)
            os.dup2(one, 3)
            os.dup2(other, 4)

        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=place, close_fds=False, env={**os.environ, "HOME": str(self.folder)},
        )  # fmt: skip
        os.close(there)
        os.close(back)
        self._number, self._read = 0, b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def kill(self) -> None:
        """Kill the browser's first process, as a crash does."""
        self._process.kill()

    def close(self) -> None:
        """End it and remove its files."""
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self.folder, ignore_errors=True)

    def first_page(self) -> str:
        """Wait for the page that it begins with; return the session that is attached to it."""
        while True:
            for target in self.ask("Target.getTargets")["targetInfos"]:
                if target["type"] == "page" and target["url"].startswith(("about:blank", "file:")):
                    return self.attach(str(target["targetId"]))

    def attach(self, target: str) -> str:
        """Return a session that is attached to a page."""
        return str(self.ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"])

    def evaluate(self, words: str, session: str, **more: Any) -> Any:
        """Evaluate JavaScript in a page, wait for what it promises, and return it."""
        asked = {"expression": words, "awaitPromise": True, "returnByValue": True, **more}
        answer = self.ask("Runtime.evaluate", asked, session)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def ask(self, method: str, more: dict[str, Any] | None = None, session: str = "") -> dict[str, Any]:
        """Give one command and return its answer; events go to `note`."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": more or {}}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._read:
                piece = os.read(self._from, 1 << 20)
                assert piece, "the browser has ended"
                self._read += piece
            line, self._read = self._read.split(b"\0", 1)
            answer = json.loads(line)
            if answer.get("id") == self._number:
                if session and any(word in str(answer.get("error", "")) for word in ("context", "navigated")):
                    return {"result": {}}  # the page is being loaded
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.note(answer.get("method"), answer.get("params") or {})

    def note(self, method: str | None, more: dict[str, Any]) -> None:
        """Take an event; this one drops it."""
