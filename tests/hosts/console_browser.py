"""A real Chromium with pages of the console."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

from hosts.chromium import Chromium


def _key_hash(ca: bytes) -> str:
    """Return the name of a CA's key in Chromium's list of keys that it believes."""
    key = load_pem_x509_certificate(ca).public_key()
    return base64.b64encode(
        hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    ).decode()


class ConsoleBrowser(Chromium):
    """One browser that believes one CA (PEM). All of its tabs share what it keeps, as in one profile of a person."""

    def __init__(self, ca: bytes) -> None:
        super().__init__(f"--ignore-certificate-errors-spki-list={_key_hash(ca)}")

    def tab(self, url: str) -> Tab:
        """Open an address in another tab, and wait until it is loaded."""
        tab = Tab(self, self.attach(self.ask("Target.createTarget", {"url": url})["targetId"]))
        while tab.run("document.readyState") != "complete" or tab.run("location.protocol") != "https:":
            pass
        return tab


class Tab:
    """One page."""

    def __init__(self, browser: ConsoleBrowser, session: str) -> None:
        self._browser = browser
        self._session = session

    def run(self, words: str) -> Any:
        """Evaluate JavaScript in the page, wait for what it promises, and return it."""
        return self._browser.evaluate(words, self._session, replMode=True)

    def code_of(self, words: str) -> str:
        """Return the code of the error with which this ends, `none` if it ends well."""
        return str(
            self.run(f"await (async () => {{ {words} }})().then(() => 'none', (error) => error.code ?? String(error))")
        )
