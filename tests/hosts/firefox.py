"""A real Firefox, driven by Marionette: one line of JSON with its length before it, over TCP on loopback."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.programs import need

WAIT_S = 60.0
_PREFERENCES = {
    "marionette.port": 0,  # any that is free; it is written into the profile
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.aboutConfig.showWarning": False,
    "browser.startup.page": 0,
    "browser.startup.homepage_override.mstone": "ignore",
    "extensions.update.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "security.sandbox.content.level": 0,  # its own sandbox wants user namespaces, which a container may not give
}
_BELIEVE = """
  Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB)
    .addCertFromBase64(arguments[0].replace(/-----[A-Z ]+-----/g, "").replace(/\\s/g, ""), "C,,")
"""
_ERRORS = """
  return Services.console.getMessageArray().filter(one => one instanceof Ci.nsIScriptError
    && !(one.flags & Ci.nsIScriptError.warningFlag) && one.sourceName.startsWith(arguments[0]))
    .map(one => `${one.category}: ${one.errorMessage} ${one.sourceName}:${one.lineNumber}`)
"""


class Firefox:
    """One browser with one page and a profile of its own, which believes one CA (PEM), as one imported by hand."""

    def __init__(self, ca: bytes, **preferences: bool | int | str) -> None:
        program = need("firefox-esr")
        self.folder = Path(tempfile.mkdtemp(prefix="tlsrt-firefox."))
        profile = self.folder / "profile"
        profile.mkdir()
        wanted = {**_PREFERENCES, **{name.replace("__", "."): value for name, value in preferences.items()}}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in wanted.items()]
        (profile / "user.js").write_text("".join(lines))
        self._process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--marionette", "--remote-allow-system-access",
             "--profile", str(profile)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "HOME": str(self.folder), "MOZ_CRASHREPORTER_DISABLE": "1"},
        )  # fmt: skip
        self._number = 0
        self._socket: socket.socket | None = None
        try:
            self._connect(profile / "MarionetteActivePort")
            self.ask("WebDriver:NewSession", acceptInsecureCerts=False)
            self._in_chrome(_BELIEVE, ca.decode("ascii"))
            self.ask("WebDriver:SetTimeouts", script=int(WAIT_S * 1000))
        except BaseException:
            self.close()
            raise

    def _connect(self, port: Path) -> None:
        limit = time.monotonic() + WAIT_S
        while not (port.exists() and port.read_text().strip()):
            assert self._process.poll() is None, "the browser has ended"
            assert time.monotonic() < limit, "the browser gives no port"
            time.sleep(0.05)
        self._socket = socket.create_connection(("127.0.0.1", int(port.read_text())), timeout=2 * WAIT_S)
        self._stream = self._socket.makefile("rb")
        self._read()  # what it says of itself

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it and remove its files."""
        if self._socket is not None:
            self._stream.close()
            self._socket.close()
        os.killpg(self._process.pid, signal.SIGKILL)  # with the processes of its pages
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- Marionette --------------------------------------------------------------------------------------------

    def ask(self, name: str, **more: Any) -> Any:
        """Give one command and return its answer."""
        self._number += 1
        message = json.dumps([0, self._number, name, more]).encode()
        assert self._socket is not None
        self._socket.sendall(b"%d:%s" % (len(message), message))
        kind, number, error, answer = self._read()
        assert (kind, number) == (1, self._number)
        assert error is None, error
        return answer

    def _read(self) -> Any:
        size = b""
        while (one := self._stream.read(1)) != b":":
            assert one, "the browser has ended"
            size += one
        return json.loads(self._stream.read(int(size)))

    # -- a page ------------------------------------------------------------------------------------------------

    def go(self, url: str) -> None:
        """Load an address from its beginning."""
        self.ask("WebDriver:Navigate", url="about:blank")
        self.ask("WebDriver:Navigate", url=url)

    def run(self, words: str) -> Any:
        """Evaluate JavaScript in the page, beside its policy, wait for what it promises, and return it."""
        script = f"""
          const done = arguments[arguments.length - 1];
          (async () => ({words}))().then(
            value => done({{ value: value ?? null }}), error => done({{ error: String(error) }}))
        """
        said = self.ask("WebDriver:ExecuteAsyncScript", script=script, args=[], sandbox="default")["value"]
        assert "error" not in said, said
        return said["value"]

    def until(self, words: str) -> None:
        """Evaluate it until it is true there."""
        limit = time.monotonic() + WAIT_S
        while not self.run(f"Boolean({words})"):
            assert time.monotonic() < limit, f"never: {words}\n{self.text()}"
            time.sleep(0.05)

    def text(self) -> str:
        """Return what is read in the page."""
        return str(self.run("document.body.innerText"))

    def wrong(self, origin: str) -> list[str]:
        """Return errors of scripts and reports of policies of the pages of an origin."""
        return list(self._in_chrome(_ERRORS, origin))

    def prefer(self, name: str, value: int) -> None:
        """Change a preference while it runs."""
        self._in_chrome(f"Services.prefs.setIntPref(arguments[0], {value})", name)

    def _in_chrome(self, script: str, *words: str) -> Any:
        self.ask("Marionette:SetContext", value="chrome")
        try:
            return self.ask("WebDriver:ExecuteScript", script=script, args=[*words])["value"]
        finally:
            self.ask("Marionette:SetContext", value="content")

    def picture(self) -> bytes:
        """Return what is seen, PNG."""
        return base64.b64decode(self.ask("WebDriver:TakeScreenshot", full=False)["value"])
