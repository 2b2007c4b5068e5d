"""A real Chromium with pages of the console, driven over a pipe by its remote debugging protocol."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate
from tools.programs import need


def _key_hash(ca: bytes) -> str:
    """Return the name of a CA's key in Chromium's list of keys that it believes."""
    key = load_pem_x509_certificate(ca).public_key()
    return base64.b64encode(
        hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    ).decode()


class ConsoleBrowser:
    """One browser that believes one CA (PEM). All of its tabs share what it keeps, as in one profile of a person."""

    def __init__(self, ca: bytes) -> None:
        program = need("chromium-headless-shell")
        self._folder = Path(tempfile.mkdtemp(prefix="tlsrt-console."))
        there, self._to = os.pipe()
        self._from, back = os.pipe()
        words = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
            f"--ignore-certificate-errors-spki-list={_key_hash(ca)}", f"--user-data-dir={self._folder / 'profile'}",
            "about:blank",
        ]  # fmt: skip

        def place() -> None:
            first, second = os.dup(there), os.dup(back)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=place, close_fds=False, env={**os.environ, "HOME": str(self._folder)},
        )  # fmt: skip
        os.close(there)
        os.close(back)
        self._number = 0
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._folder, ignore_errors=True)

    def tab(self, url: str) -> Tab:
        """Open an address in another tab, and wait until it is loaded."""
        target = self.ask("Target.createTarget", {"url": url})["targetId"]
        session = self.ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        tab = Tab(self, session)
        while tab.run("document.readyState") != "complete" or tab.run("location.protocol") != "https:":
            pass
        return tab

    def ask(self, method: str, more: dict[str, Any] | None = None, session: str = "") -> dict[str, Any]:
        """Give one command and return its answer; events are dropped."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": more or {}}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._read:
                piece = os.read(self._from, 65536)
                assert piece, "the browser has ended"
                self._read += piece
            line, self._read = self._read.split(b"\0", 1)
            answer = json.loads(line)
            if answer.get("id") == self._number:
                if "context" in str(answer.get("error", "")):
                    return {"result": {}}  # the page is being loaded
                assert "error" not in answer, answer
                return dict(answer["result"])


class Tab:
    """One page."""

    def __init__(self, browser: ConsoleBrowser, session: str) -> None:
        self._browser = browser
        self._session = session

    def run(self, words: str) -> Any:
        """Evaluate JavaScript in the page, wait for what it promises, and return it."""
        asked = {"expression": words, "awaitPromise": True, "returnByValue": True, "replMode": True}
        answer = self._browser.ask("Runtime.evaluate", asked, self._session)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def code_of(self, words: str) -> str:
        """Return the code of the error with which this ends, `none` if it ends well."""
        return str(
            self.run(f"await (async () => {{ {words} }})().then(() => 'none', (error) => error.code ?? String(error))")
        )
