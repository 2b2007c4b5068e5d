"""A running host with messages and webhooks, in and out, and what senders of webhooks need of it."""

from __future__ import annotations

import json
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fakes.own_certificate import server_context

from hosts.joined_messages import MESSAGES, USED, set_secret
from hosts.running_host import RunningHost, free_port

HOOKS_IN, HOOKS, FETCH = "external/webhooks_in", "external/webhooks", "external/fetch"
PROCESS = "external.webhooks_in"
KEY, OLD_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
LOST_KEY = "whsec_bG9zdGxvc3Rsb3N0bG9zdGxvc3Rsb3N0"
GITHUB_KEY, OWN_KEY = b"It's a Secret to Everybody", b"a key that both hosts know"


@dataclass
class PostedHooks:
    """The host, and the way in for senders."""

    host: RunningHost
    ca: Path
    port: int

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    def connect(self, timeout_s: float = 20.0, source: str = "127.0.0.1") -> ssl.SSLSocket:
        """Return a connection as senders make it, with the handshake done."""
        context = ssl.create_default_context(cafile=str(self.ca))
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s, source_address=(source, 0))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as curl and servers that post do
        try:
            return context.wrap_socket(plain, server_hostname="127.0.0.1")
        except BaseException:
            plain.close()
            raise

    def status(self, request: bytes) -> int:
        """Send bytes and return the status of what is answered, 0 for an end without one."""
        with self.connect() as sock:
            try:
                sock.sendall(request)
                return self.answered(sock)
            except OSError:
                return 0

    @staticmethod
    def answered(sock: ssl.SSLSocket) -> int:
        said = b""
        try:
            while piece := sock.recv(4096):
                said += piece
        except OSError:
            pass
        return int(said.split(b" ")[1]) if said.startswith(b"HTTP/1.1 ") else 0

    def post(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Post as a sender does; return the status."""
        return self.status(request(path, headers, body))

    def inbox(self, client: str = "anna") -> list[dict[str, Any]]:
        """What is in a mailbox, by what it began with."""
        with self.host.client(client) as owner:
            found: list[dict[str, Any]] = owner.call(MESSAGES, "inbox", limit=100, after=0)["messages"]
            return found

    def figures(self, hook: str) -> dict[str, Any]:
        with self.host.client() as admin:
            found: dict[str, Any] = admin.call(HOOKS_IN, "hooks", timeout_s=60)[hook]
            return found


def request(path: str, headers: dict[str, str], body: bytes, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def signed(id: str, body: bytes, key: str = KEY, ago_s: int = 0) -> dict[str, str]:
    """Return the headers that the library of Standard Webhooks signs."""
    from standardwebhooks import Webhook

    at = int(datetime.now(UTC).timestamp()) - ago_s
    signature = Webhook(key).sign(id, datetime.fromtimestamp(at, tz=UTC), body.decode())
    return {
        "webhook-id": id, "webhook-timestamp": str(at), "webhook-signature": signature,
        "content-type": "application/json",
    }  # fmt: skip


@contextmanager
def posted_hooks(*, has_out: bool = False, **bounds: Any) -> Iterator[PostedHooks]:
    """Start a host, and add webhooks to it as the guide says: those that come in, and if asked those that go out."""
    with tempfile.TemporaryDirectory(prefix="tlsrt-hooks.") as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        server_context(folder)
        host = RunningHost(clients=["anna"], extra={"supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}})
        try:
            host.start()
            _add(host, folder, port, bounds, has_out)
            yield PostedHooks(host, folder / "ca.pem", port)
        except BaseException:
            host.print_logs()
            raise
        finally:
            host.close()


def _add(host: RunningHost, folder: Path, port: int, bounds: dict[str, Any], has_out: bool) -> None:
    hooks = {
        "shop": {"to": "client/anna", "path": "/hooks/shop", "per_minute": 1000},
        "code": {"to": "client/anna", "style": "github", "secret": "code"},
        "own": {"to": "client/anna", "secret": "own"},
        "lost": {"to": "client/anna@nowhere", "secret": "lost", "per_minute": 1000},
    }
    listen = [{"name": "https", "port": port, "why": "a test"}]
    secrets = [{"name": each, "why": "a test"} for each in ("tls", "key", "code", "own", "lost")]
    out = {"attic": {"url": f"https://127.0.0.1:{port}/own", "ca": "test"}}
    egress = [{"to": [f"127.0.0.1:{port}"], "why": "a test"}]
    relay = {"why": "it reaches for others", "clients": {}}
    read = [{"path": str(folder), "why": "the authority of a test"}]
    steps: tuple[tuple[str, dict[str, Any], dict[str, Any], list[str]], ...] = (
        (MESSAGES, {"mailbox_messages": 10_000}, {}, [f"client/anna: {USED}"]),
        (HOOKS_IN, {"hooks": hooks, **bounds}, {"listen": listen, "secrets": secrets}, ["client/admin: *"]),
        (FETCH, {"authorities": {"test": str(folder / "ca.pem")}}, {"relay": relay, "read": read}, []),
        (HOOKS, {"hooks": out, "retry_s": 1}, {"egress": egress}, []),
    )
    for address, options, needs, allow in steps if has_out else steps[:2]:
        words = [f"--option={key}={json.dumps(value)}" for key, value in options.items()]
        words += [f"--needs={key}={json.dumps(value)}" for key, value in needs.items()]
        words += [f"--allow={rule}" for rule in allow]
        added = host.cli("component", "add", address, "--yes", *words)
        assert added.returncode == 0 or "secret" in added.stdout + added.stderr, added
    pair = (folder / "key.pem").read_bytes() + (folder / "ca.pem").read_bytes()
    values = {"tls": pair, "key": f"{KEY}\n{OLD_KEY}\n".encode(), "code": GITHUB_KEY + b"\n", "own": OWN_KEY}
    values["lost"] = LOST_KEY.encode()
    for name, value in values.items():
        set_secret(host, name, value, HOOKS_IN)
    if has_out:
        set_secret(host, "key", OWN_KEY, HOOKS)
    for process in (PROCESS, *(["external.webhooks"] if has_out else [])):
        host.until(lambda status, process=process: host.loop(process)["state"] == "active", f"started {process}")  # type: ignore[misc]
