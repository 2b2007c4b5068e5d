"""Notifications on a real host: mail, webhook and desktop to real peers, alerts of the host, killed while it sends."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from attackers.arena import PACKAGE
from attackers.killed_writer import KilledWriter
from fakes.desktop import NAME, Desktop, desktop
from fakes.lying_web_server import WebServer, whole
from fakes.mail_server import MailServer
from fakes.own_certificate import server_context
from hosts.running_host import RunningHost

from tlsrt import CallError, Client

NOTIFY, FETCH, WATCH = "third/notify", "external/fetch", "third/watch"
USER, PASSWORD = "host", "correct horse"
LIMIT_S = 30.0


class Hook(WebServer):
    """A webhook that keeps what is posted."""

    def __init__(self, *args: Any) -> None:
        self.bodies: list[dict[str, Any]] = []
        super().__init__(*args)

    def hook(self, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        """Take a notification."""
        self.bodies.append({**json.loads(body), "token": headers.get("authorization")})
        yield whole(b"")


class Peers:
    """A mail server, a webhook and a desktop."""

    def __init__(self, folder: Path, screen: Desktop) -> None:
        self.folder, self.desktop = folder, screen
        context = server_context(folder)
        self.mail = MailServer(context, USER, PASSWORD)
        self.hook = Hook(context)

    def close(self) -> None:
        self.mail.close()
        self.hook.close()


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    with tempfile.TemporaryDirectory(prefix="tlsrt-notify.") as name, desktop() as screen:
        folder = Path(name)
        folder.chmod(0o755)
        made = Peers(folder, screen)
        yield made
        made.close()


def add(host: RunningHost, address: str, options: dict[str, Any], needs: dict[str, Any], allow: list[str]) -> str:
    words = [f"--option={key}={json.dumps(value)}" for key, value in options.items()]
    words += [f"--needs={key}={json.dumps(value)}" for key, value in needs.items()]
    words += [f"--allow={rule}" for rule in allow]
    added = host.cli("component", "add", address, "--yes", *words)
    said = added.stdout + added.stderr
    assert added.returncode == 0 or "secret" in said, said
    return said


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, peers: Peers) -> Iterator[RunningHost]:
    failed = request.session.testsfailed
    alert = {"name": "odd", "severity": "critical", "why": "a test of what is odd"}
    made = RunningHost(
        packages=[PACKAGE], components={WATCH: {"class": "captured.helped:Helped", "needs": {"alerts": [alert]}}},
        policy={f"client/admin -> {WATCH}": "*"}, extra={"supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}},
    )  # fmt: skip
    read = [{"path": str(peers.folder), "why": "the authority of a test"}]
    mail = {
        "host": "127.0.0.1", "port": peers.mail.port, "sender": "host@example.org", "to": ["ops@example.org"],
        "user": USER, "ca": str(peers.folder / "ca.pem"),
    }  # fmt: skip
    hook = {"url": peers.hook.url("/hook"), "ca": "test", "secret": "webhook"}
    options = {
        "mail": {"ops": mail}, "webhooks": {"chat": hook}, "desktop": {"bus": str(peers.desktop.bus)},
        "routes": [
            {"to": ["ops"], "topics": ["heating.*", "host.*"]}, {"to": ["chat"], "topics": ["chat.*"]},
            {"to": ["desktop"], "topics": ["desk"]},
        ],
        "escalations": [{"to": ["chat"], "after_s": 1, "topics": ["escalated"]}],
        "burst": 1000, "per_minute": 6000,
    }  # fmt: skip
    to = [f"127.0.0.1:{peers.mail.port}", f"127.0.0.1:{peers.hook.port}"]
    methods = [f"{NAME}.Notify", f"{NAME}.CloseNotification"]
    signals = [f"{NAME}.ActionInvoked", f"{NAME}.NotificationClosed"]
    bus = {"bus": str(peers.desktop.bus), "call": {NAME: methods}, "hear": {NAME: signals}, "why": "shows it to people"}
    needs = {"egress": [{"to": to, "why": "mail and webhook"}], "read": read, "buses": [bus]}
    try:
        made.start()
        relay = {"why": "it reaches for others", "clients": {}}
        add(made, FETCH, {"authorities": {"test": str(peers.folder / "ca.pem")}}, {"relay": relay, "read": read}, [])
        said = add(made, NOTIFY, options, needs, ["client/admin: *"])
        assert "notifications for people" in said
        for name, value in (("smtp", PASSWORD), ("webhook", "a token")):
            command = made.command("secret", "set", NOTIFY, name)
            done = subprocess.run(command, input=value.encode(), capture_output=True, timeout=60, cwd=made.base)
            assert done.returncode == 0, done.stderr
        made.until(lambda status: state(status) == "active", "a started notify")
        yield made
        if request.session.testsfailed > failed:
            made.print_logs()
    finally:
        made.close()


def state(status: dict[str, Any]) -> str:
    return next(str(loop["state"]) for loop in status["loops"] if loop["name"] == "third.notify")


def until(what: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
    end = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < end, found
        threading.Event().wait(0.02)
    return found


def send(client: Client, title: str, **more: Any) -> int:
    return int(client.call(NOTIFY, "send", title, **more, timeout_s=60)["id"])


def sent_again(client: Client, title: str) -> bool:
    """Send, by a key that makes it one however often; tell whether that was acknowledged."""
    try:
        return bool(send(client, title, topic="heating", key=title))
    except CallError:
        return False


def test_a_mail_comes_over_tls_with_a_login_and_brings_no_header_of_the_sender(host: RunningHost, peers: Peers) -> None:
    with host.client() as client:
        before = len(peers.mail.mails)
        title = "cold\r\nBcc: all@example.org\r\n\r\nüber"
        number = send(
            client, title, body="5 °C\r\n.\r\nQUIT\r\n" + "x" * 3000, severity="error", topic="heating.boiler"
        )
        mail = peers.mail.wait(before + 1)[-1]
        assert mail["subject"] == "[error] cold Bcc: all@example.org über" and mail["bcc"] is None
        assert (mail["to"], mail["from"]) == ("ops@example.org", "host@example.org")
        text = mail.get_content()
        assert "5 °C\n.\nQUIT\n" + "x" * 3000 in text.replace("\r\n", "\n") and "from client/admin" in text
        until(lambda: client.call(NOTIFY, "show", number)["deliveries"][1]["state"] == "delivered")


def test_the_mail_server_is_away_then_refuses_and_then_takes_it(host: RunningHost, peers: Peers) -> None:
    with host.client() as client:
        before = len(peers.mail.mails)
        peers.mail.close()
        number = send(client, "away", topic="heating")
        away = until(lambda: client.call(NOTIFY, "outbox")["ops"]["away"])
        assert f"127.0.0.1:{peers.mail.port} cannot be reached" in away
        peers.mail.open()
        assert peers.mail.wait(before + 1)[-1]["subject"] == "[info] away"
        until(lambda: client.call(NOTIFY, "outbox")["ops"]["waiting"] == 0)
        peers.mail.refuse = "554 no\x1b[31m spam"
        number = send(client, "refused", topic="heating")
        given_up = until(lambda: [one for one in client.call(NOTIFY, "show", number)["deliveries"] if one["error"]])
        assert given_up[0]["error"] == "127.0.0.1 refuses the mail: 554 no\ufffd[31m spam"
        assert given_up[0]["state"] == "given_up"
        peers.mail.refuse = ""


def test_a_webhook_has_it_as_json_with_its_token(host: RunningHost, peers: Peers) -> None:
    with host.client() as client:
        number = send(client, "hello", topic="chat.all", tags=["a", "b"])
        [body] = until(lambda: [one for one in peers.hook.bodies if one["id"] == number])
        assert (body["title"], body["tags"], body["sender"]) == ("hello", ["a", "b"], "client/admin")
        assert body["token"] == "Bearer a token"


def test_who_does_not_acknowledge_hears_of_it_elsewhere(host: RunningHost, peers: Peers) -> None:
    with host.client() as client:
        known, number = (send(client, title, severity="error", topic="escalated") for title in ("known", "unknown"))
        client.call(NOTIFY, "acknowledge", known, "I see to it")
        [body] = until(lambda: [one for one in peers.hook.bodies if one["id"] == number])
        assert body["reminder"] == 1 and not [one for one in peers.hook.bodies if one["id"] == known]


def test_a_person_at_the_desktop_sees_it_and_acknowledges_it(host: RunningHost, peers: Peers) -> None:
    with host.client() as client:
        number = send(client, "the <b>kettle</b>", body="boils & whistles <img>", severity="critical", topic="desk")
        until(lambda: peers.desktop.shown() == 1)
        peers.desktop.press()
        until(lambda: client.call(NOTIFY, "show", number)["by"] == "desktop")
        other = send(client, "another", topic="desk")
        until(lambda: peers.desktop.shown() == 1)
        client.call(NOTIFY, "acknowledge", other)
        until(lambda: peers.desktop.shown() == 0)
        shown = {one["summary"]: one for one in peers.desktop.history()}
        assert shown["the <b>kettle</b>"]["urgency"] == "CRITICAL"
        assert "boils &amp; whistles &lt;img&gt;" in shown["the <b>kettle</b>"]["message"]


def test_an_alert_of_a_component_becomes_a_mail_once(host: RunningHost, peers: Peers) -> None:
    with host.client() as client:
        before = len(peers.mail.mails)
        client.call(WATCH, "report", "odd")
        peers.mail.wait(before + 1)
        found = client.call(NOTIFY, "list", sender="primary/events")["notices"]
        assert any("a test of what is odd" in one["title"] for one in found), found
        host.respawn("third.notify")
        until(lambda: sent_again(client, "after it"))
        mails = peers.mail.wait(before + 2)[before:]
        assert [mail["subject"] for mail in mails].count("[info] after it") == 1
        again = client.call(NOTIFY, "list", sender="primary/events")["notices"]
        assert [one["id"] for one in again] == [one["id"] for one in found]


def kill_while_sending(host: RunningHost, peers: Peers, kills: int, seed: int) -> None:
    acknowledged: set[int] = set()

    def write(client: Client, name: str, number: int) -> int:
        made = send(client, str(number), topic=f"chat.{name}")
        acknowledged.add(made)
        return made

    def read(client: Client, name: str) -> tuple[int, int]:
        [found] = client.call(NOTIFY, "list", topic=f"chat.{name}", limit=1, timeout_s=60)["notices"]
        return found["id"], int(found["title"])

    KilledWriter(host, "third.notify", write, read).run(kills, seed)
    with host.client() as client:
        until(lambda: client.call(NOTIFY, "outbox", timeout_s=60)["chat"]["waiting"] == 0, 120)
    bodies = [one for one in peers.hook.bodies if one["topic"].startswith("chat.n")]
    print("acknowledged", len(acknowledged), "posted", len(bodies))
    assert acknowledged <= {one["id"] for one in bodies}, "each was delivered"
    by_name = {one["delivery"]: one["id"] for one in bodies}
    assert len(by_name) == len(set(by_name.values())), "each under one name, however often"


def test_nothing_that_was_acknowledged_is_lost_when_it_is_killed(host: RunningHost, peers: Peers) -> None:
    kill_while_sending(host, peers, 10, 11)


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_100_kills(host: RunningHost, peers: Peers) -> None:
    kill_while_sending(host, peers, 100, 12)


def test_figures_and_no_refused_call(host: RunningHost) -> None:
    with host.client() as client:
        for method, words in (("send", ["a figure"]), ("list", [])):
            took = []
            for _ in range(100):
                began = time.perf_counter()
                client.call(NOTIFY, method, *words)
                took.append(1000 * (time.perf_counter() - began))
            cuts = statistics.quantiles(took, n=100)
            print(f"{method}: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms")
    loop = host.loop("third.notify")
    used = psutil.Process(loop["pid"]).memory_full_info()
    print(f"memory: {used.pss / (1 << 20):.1f} MiB (PSS), {used.uss / (1 << 20):.1f} of its own")
    assert loop["violations"] == 0
