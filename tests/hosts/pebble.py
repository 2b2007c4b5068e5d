"""Pebble, the test CA of Let's Encrypt, with its own name server: real ACME on loopback.

    ca = Pebble()
    with RunningHost(extra={"acme": ca.acme(names=["kettle.example.org"]), "door": {"http": True}}) as host:
        with ca.looking_at(tls_port=host.port):
            host.start()

It rejects one nonce in twenty by itself; `rejected` is another share of a hundred. Names lead to 127.0.0.1.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from tools.programs import need

from hosts.running_host import free_port
from tlsrt.config import pki

NAME = "ca.example.org"
_READY_S = 20.0


class Pebble:
    """One CA. `kill` ends it, `start` begins it again on the same ports: with another root, and without its orders."""

    def __init__(self, *, rejected: int = 5, life_s: int = 90 * 86400, **options: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tlsrt-pebble."))
        self.folder.chmod(0o755)
        self.port, self.dns_port, self._management = free_port(), free_port(), free_port()
        self.directory = f"https://127.0.0.1:{self.port}/dir"
        self.directory_by_name = f"https://{NAME}:{self.port}/dir"  # for who asks its name server
        ca = pki.make_ca(bytes(16), datetime.now(UTC))
        own = pki.issue_server(ca, bytes(16), "127.0.0.1", datetime.now(UTC), [NAME])
        self.roots = self.folder / "roots.pem"
        self.roots.write_bytes(ca.certificate_pem)
        (self.folder / "own.crt").write_bytes(own.certificate_pem)
        (self.folder / "own.key").write_bytes(own.key_pem)
        self._life_s = life_s
        self._options = options
        words = {"VA_NOSLEEP": "1", "AUTHZREUSE": "0", "WFE_NONCEREJECT": str(rejected)}  # each order proves its names
        self._environment = os.environ | {f"PEBBLE_{name}": value for name, value in words.items()}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._log = (self.folder / "log").open("wb")

    def acme(self, **more: Any) -> dict[str, Any]:
        """Return the section `acme` of a host that orders here."""
        return {"directory": self.directory, "agree": True, "roots": str(self.roots), **more}

    @contextmanager
    def looking_at(self, *, tls_port: int = 1, http_port: int = 1) -> Iterator[Self]:
        """Run it; it looks for proofs at these ports."""
        try:
            self._write(tls_port, http_port)
            empty = ("-http01", "-https01", "-doh", "-tlsalpn01", "-defaultIPv6")
            none = [word for name in empty for word in (name, "")]
            dns, management = f"127.0.0.1:{self.dns_port}", f"127.0.0.1:{free_port()}"
            self._begin(need("pebble-challtestsrv"), *none, "-dns01", dns, "-management", management)
            self.start()
            yield self
        finally:
            self.close()

    def _write(self, tls_port: int, http_port: int) -> None:
        config = {
            "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(self.folder / "own.crt"), "privateKey": str(self.folder / "own.key"),
            "httpPort": http_port, "tlsPort": tls_port, "ocspResponderURL": "",
            "certificateValidityPeriod": self._life_s,
            "externalAccountBindingRequired": False, "retryAfter": {"authz": 1, "order": 1}, **self._options,
        }  # fmt: skip
        (self.folder / "config.json").write_text(json.dumps({"pebble": config}))

    def _begin(self, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(words, stdout=self._log, stderr=self._log, env=self._environment, cwd=self.folder)
        self._processes.append(process)
        return process

    def start(self) -> None:
        """Begin, and wait until it answers."""
        config = str(self.folder / "config.json")
        process = self._begin(need("pebble"), "-config", config, "-dnsserver", f"127.0.0.1:{self.dns_port}")
        until = time.monotonic() + _READY_S
        while True:
            try:
                self.get(self.port, "/dir")
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise AssertionError(f"pebble does not answer: {self.log()}") from None
                time.sleep(0.02)

    def get(self, port: int, path: str) -> bytes:
        """Return what it says over HTTPS."""
        context = ssl.create_default_context(cafile=str(self.roots))
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def root(self) -> bytes:
        """Return the root of what it issues, PEM."""
        return self.get(self._management, "/roots/0")

    def log(self) -> str:
        """Return all that it has said."""
        return (self.folder / "log").read_text()

    def kill(self) -> None:
        """End the CA, not its name server."""
        process = self._processes.pop()
        process.send_signal(signal.SIGKILL)
        process.wait()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Have it take connections and answer nothing meanwhile."""
        self._processes[-1].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._processes[-1].send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End both."""
        while self._processes:
            self.kill()
        self._log.close()
        shutil.rmtree(self.folder)
