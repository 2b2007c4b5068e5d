"""Messages to a webhook on a real host: over TLS to a real server, while it is away, and killed meanwhile."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.lying_web_server import WebServer, whole
from fakes.own_certificate import server_context
from hosts.joined_messages import MESSAGES, set_secret, until
from hosts.running_host import RunningHost

from tlsrt.errors import Denied

HOOKS, FETCH, PROCESS = "external/webhooks", "external/fetch", "external.webhooks"
KEY = b"a key that both sides know......"


class Hook(WebServer):
    """Keeps what is posted with a right signature; answers with `status`."""

    def __init__(self, *args: Any) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.status = "200 OK"
        self.tries = 0
        super().__init__(*args)

    def hook(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        """Take a message."""
        self.tries += 1
        text = b"%s.%s.%s" % (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body)
        signature = "v1," + base64.b64encode(hmac.digest(KEY, text, hashlib.sha256)).decode()
        if self.status == "200 OK" and headers["webhook-signature"] == signature:
            self.bodies.append(json.loads(body))
        yield whole(b"", status=self.status)


@pytest.fixture(scope="module")
def hook() -> Iterator[tuple[Hook, Path]]:
    with tempfile.TemporaryDirectory(prefix="tlsrt-hook.") as name:
        folder = Path(name)
        folder.chmod(0o755)
        made = Hook(server_context(folder))
        yield made, folder
        made.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, hook: tuple[Hook, Path]) -> Iterator[RunningHost]:
    server, folder = hook
    failed = request.session.testsfailed
    made = RunningHost(clients=["anna"], extra={"supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}})
    read = [{"path": str(folder), "why": "the authority of a test"}]
    hooks = {"chat": {"url": server.url("/hook"), "ca": "test"}}
    egress = [{"to": [f"127.0.0.1:{server.port}"], "why": "the hook"}]
    relay = {"why": "it reaches for others", "clients": {}}
    steps: tuple[tuple[str, dict[str, Any], dict[str, Any], list[str]], ...] = (
        (MESSAGES, {}, {}, ["client/anna: [send, sent, inbox, read]", "client/admin: *"]),
        (FETCH, {"authorities": {"test": str(folder / "ca.pem")}}, {"relay": relay, "read": read}, []),
        (HOOKS, {"hooks": hooks, "retry_s": 1}, {"egress": egress}, ["client/admin: *"]),
    )
    try:
        made.start()
        for address, options, needs, allow in steps:
            words = [f"--option={key}={json.dumps(value)}" for key, value in options.items()]
            words += [f"--needs={key}={json.dumps(value)}" for key, value in needs.items()]
            words += [f"--allow={rule}" for rule in allow]
            added = made.cli("component", "add", address, "--yes", *words)
            assert added.returncode == 0 or "secret" in added.stdout + added.stderr, added
        set_secret(made, "key", KEY, HOOKS)
        made.until(lambda status: made.loop(PROCESS)["state"] == "active", "started webhooks")
        yield made
        if request.session.testsfailed > failed:
            made.print_logs()
    finally:
        made.close()


def states(host: RunningHost, id: str) -> list[str]:
    with host.client("anna") as anna:
        found = anna.call(MESSAGES, "sent")["messages"]
    return [one["state"] for message in found if message["id"] == id for one in message["recipients"]]


def test_it_waits_while_the_hook_is_away_and_the_carrier_is_killed(host: RunningHost, hook: tuple[Hook, Path]) -> None:
    server, _ = hook
    server.status = "503 Busy"
    with host.client("anna") as anna, host.client() as admin:
        ids = [anna.call(MESSAGES, "send", HOOKS, text, topic="chat.kitchen")["id"] for text in ("boils", "böils")]
        until(lambda: server.tries)
        until(lambda: "status 503" in (admin.call(HOOKS, "hooks", timeout_s=60)["chat"] or ""))
        host.kill(PROCESS)
        server.status = "200 OK"
        until(lambda: len({one["id"] for one in server.bodies}) == 2)
        assert [one["id"] for one in server.bodies][:2] == ids
        assert server.bodies[1]["body"] == "böils" and server.bodies[1]["from"] == "client/anna"
        until(lambda: states(host, ids[1]) == ["acknowledged"])


def test_what_is_refused_for_good_is_told_to_its_sender(host: RunningHost, hook: tuple[Hook, Path]) -> None:
    server, _ = hook
    server.status = "410 Gone"
    with host.client("anna") as anna:
        id = anna.call(MESSAGES, "send", HOOKS, "x", topic="chat")["id"]
        [told] = until(lambda: anna.call(MESSAGES, "inbox")["messages"])
        assert (told["from"], told["in_reply_to"]) == (HOOKS, id)
        assert told["preview"] == "the hook chat refuses this message: status 410"


def test_a_captured_client_has_no_right_at_the_carrier(host: RunningHost) -> None:
    with host.client("anna") as anna, pytest.raises(Denied):
        anna.call(HOOKS, "hooks")
    assert host.loop(PROCESS)["violations"] == 0
