"""A real Chromium with pages of the console."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

from hosts.chromium import Chromium

WAIT_S = 40.0


def _key_hash(ca: bytes) -> str:
    """Return the name of a CA's key in Chromium's list of keys that it believes."""
    key = load_pem_x509_certificate(ca).public_key()
    return base64.b64encode(
        hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    ).decode()


class ConsoleBrowser(Chromium):
    """One browser that believes one CA (PEM). All of its tabs share what it keeps, as in one profile of a person.

    `wrong` has the errors of its pages, and the reports of their policy.
    """

    def __init__(self, ca: bytes, *flags: str) -> None:
        super().__init__(f"--ignore-certificate-errors-spki-list={_key_hash(ca)}", *flags)
        self.wrong: list[str] = []

    def profile(self) -> str:
        """Return another profile, whose tabs share nothing with those of others: another person."""
        return str(self.ask("Target.createBrowserContext")["browserContextId"])

    def tab(self, url: str, profile: str = "", first: str = "") -> Tab:
        """Open an address in another tab, and wait until it is loaded. `first` is JavaScript that runs before it."""
        more = {"browserContextId": profile} if profile else {}
        tab = Tab(self, self.attach(self.ask("Target.createTarget", {"url": "about:blank", **more})["targetId"]))
        for domain in ("Runtime", "Log", "Page"):
            tab.ask(f"{domain}.enable")
        if first:
            tab.ask("Page.addScriptToEvaluateOnNewDocument", {"source": first})
        tab.go(url)
        return tab

    def note(self, method: str | None, more: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.wrong.append(json.dumps(more["exceptionDetails"])[:1000])
        elif method == "Log.entryAdded" and more["entry"]["level"] == "error":
            self.wrong.append(f"{more['entry']['text']} {more['entry'].get('url', '')}")


class Tab:
    """One page."""

    def __init__(self, browser: ConsoleBrowser, session: str) -> None:
        self._browser = browser
        self._session = session

    def go(self, url: str) -> None:
        """Load an address from its beginning, and wait until it is loaded."""
        self.ask("Page.navigate", {"url": "about:blank"})
        self.ask("Page.navigate", {"url": url})
        while self.run("document.readyState") != "complete" or self.run("location.protocol") not in ("https:", "http:"):
            pass

    def ask(self, method: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give one command about this page."""
        return self._browser.ask(method, more, self._session)

    def until(self, words: str) -> Any:
        """Evaluate it until it is something there (an element is {}); return that."""
        limit = time.monotonic() + WAIT_S
        while (found := self.run(words)) in (None, False, 0, ""):
            assert time.monotonic() < limit, f"never: {words}; {self._browser.wrong}\n{self.text()}"
            time.sleep(0.02)
        return found

    def text(self) -> str:
        """Return what is read in the page."""
        return str(self.run("document.body.innerText"))

    def click(self, words: str) -> None:
        """Wait for the element that this finds, and press it with the mouse, as a person does."""
        where = f"(() => {{ const one = {words}; one?.scrollIntoView({{ block: 'center' }}); "
        where += "const box = one?.getBoundingClientRect(); return box?.width && !one.disabled && "
        where += "[box.x + box.width / 2, box.y + box.height / 2] })()"
        x, y = self.until(where)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1})

    def button(self, text: str) -> None:
        """Press the button that begins with this text."""
        self.click(
            f"[...document.querySelectorAll('button')].find(one => one.innerText.startsWith({json.dumps(text)}))"
        )

    def run(self, words: str) -> Any:
        """Evaluate JavaScript in the page, wait for what it promises, and return it."""
        return self._browser.evaluate(words, self._session, replMode=True)

    def code_of(self, words: str) -> str:
        """Return the code of the error with which this ends, `none` if it ends well."""
        return str(
            self.run(f"await (async () => {{ {words} }})().then(() => 'none', (error) => error.code ?? String(error))")
        )
