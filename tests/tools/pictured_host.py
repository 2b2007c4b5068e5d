"""A host with something to see on every screen of the console: what pictures for the documents are taken of."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from hosts import running_host
from hosts.running_host import RunningHost
from hosts.web_client import WebPeer

from tlsrt.config.deception import PATHS

PORT = 7443  # as on a host of a reader
PACKAGE = Path(__file__).resolve().parents[1] / "hosts" / "page_package" / "painted"
LAMP, SECRETS, NOTIFY, MESSAGES, FILES = (
    "third/lamp", "secondary/secrets", "third/notify", "external/messages", "third/files",
)  # fmt: skip
ADDED = ("third/status", "secondary/logs", "secondary/updates", MESSAGES)
PRESENT = ("primary/events", "secondary/store", "external/network", "forth/power", LAMP)
ALLOWED = tuple(f"{name}: *" for name in (*ADDED, *PRESENT, SECRETS, NOTIFY, FILES))
PAPERS = (("front door.jpg", 184_320), ("minutes.txt", 1_204), ("heating.csv", 45_056))
READERS = ["client/phone", "client/admin"]
NAMESPACES = {"heating": {"read": ["client/phone"], "write": ["client/admin", "client/phone"]}}


def _add(host: RunningHost, name: str, *words: str, starts: bool = True) -> None:
    done = host.cli("component", "add", name, "--yes", "--allow", 'client/admin: "*"', *words)
    assert done.returncode == 0 or not starts, done.stderr


async def touch_a_decoy(host: RunningHost) -> None:
    """Ask the door for a file that only an attacker asks for."""
    async with WebPeer(host.admin.ca_pem, host.port) as peer:
        await peer.ask(PATHS[0])


@contextmanager
def pictured_host() -> Iterator[RunningHost]:
    """Run a host with services, files, values, secrets, a process that was started anew and an attack."""
    policy = {f"client/admin -> {name}": "*" for name in ("secondary/store", LAMP)}
    lamp = {"class": "painted:Painted", "process": "shared", "page": "page.js"}
    with patch.object(running_host, "free_port", lambda: PORT):
        host = RunningHost(
            extra={"door": {"console": True}}, policy=policy, packages=[PACKAGE], components={LAMP: lamp}
        )
    with host:
        folder = host.base / "papers"
        (folder / "photos").mkdir(parents=True, mode=0o755)
        for name, size in PAPERS:
            (folder / name).write_bytes(b"x" * size)
            os.utime(folder / name, (1_796_000_000, 1_796_000_000))
        for service in ADDED:
            _add(host, service)
        _add(host, NOTIFY, "--option", f"readers={json.dumps(READERS)}")
        _add(
            host, FILES, "--option", f"trees={{papers: {{path: {folder}}}}}",
            "--needs", f"read=[{{path: {folder}, why: shows it}}]",
        )  # fmt: skip
        _add(host, SECRETS, "--option", f"namespaces={json.dumps(NAMESPACES)}", starts=False)  # it has no root yet
        assert host.cli("secret", "make", SECRETS, "root").returncode == 0
        with host.client() as admin:
            admin.call("secondary/store", "put", "greeting", "hello")
            for celsius in (19.5, 20, 20.5):
                admin.call("secondary/store", "put", "heating.celsius", celsius)
            admin.upload(SECRETS, "put", b"not shown", "boiler", namespace="heating")
            admin.call(NOTIFY, "send", "The cellar is wet", "12 mm of water, since a minute", severity="warning")
            admin.call("secondary/updates", "plan")  # the first one takes apt longest
            admin.call(NOTIFY, "send", "A backup is done", severity="info")
        host.respawn("forth")
        asyncio.run(touch_a_decoy(host))
        yield host


def write_to(host: RunningHost, client: str) -> None:
    """Send messages to a client, once it is there."""
    with host.client() as admin:
        admin.call(MESSAGES, "send", f"client/{client}", "The plumber comes on Friday at nine.", topic="house")
        admin.call(MESSAGES, "send", f"client/{client}", "Please read the gas meter.", priority=9)
