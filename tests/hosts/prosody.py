"""A real prosody on loopback, in a folder of its own, and people there: slixmpp as it is."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import slixmpp
from fakes.own_certificate import server_context
from tools.programs import need

DOMAIN = "chat.test"
PASSWORD = "a password of a test"
_CONFIGURATION = """
{root}
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ {direct} }}
s2s_ports = {{}} http_ports = {{}} https_ports = {{}}
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "carbons", "ping", "smacks", {modules} }}
modules_disabled = {{ "s2s", "admin_socket" }}
c2s_require_encryption = true
allow_unencrypted_plain_auth = false
authentication = "internal_hashed"
storage = "internal"
ssl = {{ key = "{folder}/key.pem", certificate = "{folder}/ca.pem" }}
limits = {{ c2s = {{ rate = "100mb/s" }} }}
log = {{ info = "{folder}/log" }}
{more}
VirtualHost "{domain}"
"""


class Prosody:
    """The server; it keeps its ports and data when it is stopped and started again."""

    def __init__(self, accounts: tuple[str, ...], *, has_archive: bool = True, more: str = "") -> None:
        self._held = tempfile.TemporaryDirectory(prefix="tlsrt-prosody.")
        self.folder = Path(self._held.name)
        self.folder.chmod(0o755)
        server_context(self.folder, DOMAIN)
        self.port, self.direct = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (self.folder / "data").mkdir()
        self.configuration = self.folder / "prosody.cfg.lua"
        self.configuration.write_text(
            _CONFIGURATION.format(
                folder=self.folder, port=self.port, direct=self.direct, domain=DOMAIN, more=more,
                root="run_as_root = true" if os.getuid() == 0 else "", modules='"mam"' if has_archive else '"offline"',
            )
        )  # fmt: skip
        for name in accounts:
            command = [
                need("prosody") + "ctl",
                *self._root,
                "--config",
                str(self.configuration),
                "register",
                name,
                DOMAIN,
                PASSWORD,
            ]
            done = subprocess.run(command, capture_output=True, timeout=60)
            assert done.returncode == 0, done
        self.start()

    @property
    def _root(self) -> list[str]:
        return ["--root"] if os.getuid() == 0 else []

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [need("prosody"), *self._root, "-F", "--config", str(self.configuration)], stdout=output, stderr=output
            )
        until(self._listens)

    def _listens(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self.log()
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End it as a machine does that is switched off."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """What it has written."""
        return "".join(path.read_text() for path in (self.folder / "log", self.folder / "output") if path.exists())

    def close(self) -> None:
        self.stop()
        self._held.cleanup()


class People:
    """People at a server, each with an app; they live in a thread of their own."""

    def __init__(self, server: Prosody) -> None:
        self._server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._apps: list[App] = []

    def app(self, name: str, *, receipts: bool = True) -> App:
        """Return an app of a person that is logged in."""
        made: App = self.run(self._app(name, receipts))
        self._apps.append(made)
        return made

    async def _app(self, name: str, receipts: bool) -> App:
        made = App(f"{name}@{DOMAIN}/telephone", self, receipts)
        made.ca_certs = Path(self._server.ca)
        made.enable_direct_tls = False
        made.connect("127.0.0.1", self._server.port)
        async with asyncio.timeout(30):
            await made.is_ready.wait()
        return made

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine in their thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def close(self) -> None:
        for one in self._apps:
            one.leave()
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class App(slixmpp.ClientXMPP):
    """An app on a telephone: it keeps what comes, and says that it has it."""

    def __init__(self, jid: str, people: People, receipts: bool) -> None:
        super().__init__(jid, PASSWORD)
        self.is_ready = asyncio.Event()
        self.heard: list[tuple[str, str]] = []  # id and text
        self.replies: list[str] = []
        self.receipts: list[str] = []
        self._people = people
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0184", {"auto_ack": receipts})
        self.add_event_handler("session_start", self._begin)
        self.add_event_handler("message", self._hear)
        self.add_event_handler("receipt_received", lambda message: self.receipts.append(message["receipt"]))

    async def _begin(self, _: Any) -> None:
        await self.get_roster()
        self.send_presence()
        self.is_ready.set()

    def _hear(self, message: Any) -> None:
        if message["type"] in ("chat", "normal") and message["body"]:
            self.heard.append((message["id"], message["body"]))
            reply = message.xml.find("{urn:xmpp:reply:0}reply")
            self.replies.append("" if reply is None else reply.get("id", ""))

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.heard]

    def say(self, to: str, text: str, *, id: str = "", more: str = "", kind: Literal["chat", "normal"] = "chat") -> str:
        """Write a message; return its id. `more` is XML inside of it."""

        async def write() -> str:
            message = self.make_message(f"{to}@{DOMAIN}", text, mtype=kind)
            message["id"] = id or self.new_id()
            if kind == "chat":
                message["request_receipt"] = True
            if more:
                message.append(slixmpp.ET.fromstring(more))
            message.send()
            return str(message["id"])

        return str(self._people.run(write()))

    def raw(self, xml: str) -> None:
        """Send XML as it is."""

        async def write() -> None:
            self.send_raw(xml)

        self._people.run(write())

    def leave(self) -> None:
        """Log out."""

        async def go() -> None:
            self.cancel_connection_attempt()
            await self.disconnect(wait=1)

        self._people.run(go())


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def until(what: Callable[[], Any], limit_s: float = 60.0) -> Any:
    """Ask until it is so."""
    end = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found
