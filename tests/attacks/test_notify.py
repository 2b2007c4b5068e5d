"""Attacked sentence: a sender speaks for itself alone, and neither it nor a server harms notifications of others."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from fakes.lying_mail_server import WAYS, LyingMailServer
from hosts.running_host import RunningHost

import tlsrt.loops.third
from tlsrt import Client
from tlsrt.errors import Busy, CallError, Denied, Failed, InvalidArgument, NotFound

NOTIFY, PROCESS = "third/notify", "third.notify"
PASSWORD = "correct horse battery staple"
LIMIT_S = 30.0
MANIFEST = Path(tlsrt.loops.third.__file__).parent / "notify.tlsrt.yaml"


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, LyingMailServer]]:
    made = {way: LyingMailServer(way) for way in WAYS}
    yield made
    for server in made.values():
        server.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, servers: dict[str, LyingMailServer]) -> Iterator[RunningHost]:
    manifest = yaml.safe_load(MANIFEST.read_text())
    mail = {
        way: {
            "host": "127.0.0.1", "port": server.port, "sender": "a@example.org", "to": ["b@example.org"],
            "user": "host", "timeout_s": 1,
        }
        for way, server in servers.items()
    }  # fmt: skip
    egress = [{"to": [f"127.0.0.1:{server.port}" for server in servers.values()], "why": "a test"}]
    needs = {**manifest["needs"], "egress": egress, "threads": len(WAYS)}
    options = {
        "mail": mail, "routes": [{"to": [way], "topics": [way.replace("_", "-")]} for way in WAYS],
        "readers": ["client/admin"], "burst": 5, "per_minute": 60, "keep": 40, "waiting": 80,
    }  # fmt: skip
    components = {NOTIFY: {"class": manifest["class"], "needs": needs, "options": options}}
    made = RunningHost(
        components=components, clients=["nosy", "kiosk", "stranger"],
        policy={
            f"client/admin -> {NOTIFY}": "*", f"client/kiosk -> {NOTIFY}": ["send"],
            f"client/nosy -> {NOTIFY}": ["send", "list", "show", "acknowledge", "withdraw", "outbox"],
        },
    )  # fmt: skip
    failed = request.session.testsfailed
    try:
        set_password(made)
        made.start()
        made.until(lambda status: made.loop(PROCESS)["state"] == "active", "a started notify")
        yield made
        if request.session.testsfailed > failed:
            made.print_logs()
    finally:
        made.close()


def set_password(host: RunningHost) -> None:
    command = host.command("secret", "set", NOTIFY, "smtp")
    subprocess.run(command, input=PASSWORD.encode(), check=True, capture_output=True, timeout=60, cwd=host.base)


def until(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + LIMIT_S
    while not (found := what()):
        assert time.monotonic() < end, found
    return found


def test_no_one_speaks_as_another_or_sees_what_is_not_its_own(host: RunningHost) -> None:
    with host.client() as client, host.client("nosy") as nosy:
        theirs = client.call(NOTIFY, "send", "the safe is open", key="k")["id"]
        with pytest.raises(InvalidArgument):
            nosy.call(NOTIFY, "send", "x", sender="client/admin")
        mine = nosy.call(NOTIFY, "send", "I am client/admin", key="k")["id"]
        assert mine != theirs, "a key is of its sender"
        assert client.call(NOTIFY, "show", mine)["sender"] == "client/nosy"
        assert [one["id"] for one in nosy.call(NOTIFY, "list", sender="client/admin")["notices"]] == [mine]
        for method in ("show", "acknowledge"):
            with pytest.raises(NotFound):
                nosy.call(NOTIFY, method, theirs)
        with pytest.raises(Denied):
            nosy.call(NOTIFY, "withdraw", theirs)
        with pytest.raises(Denied), host.client("stranger") as stranger:
            stranger.call(NOTIFY, "send", "x")
        with pytest.raises(CallError), host.client("kiosk") as kiosk:
            next(kiosk.stream(NOTIFY, "subscribe", "notice"))
        assert client.call(NOTIFY, "show", theirs)["state"] == "open"


@pytest.mark.parametrize(
    "arguments",
    [
        {"title": "x" * 201}, {"title": "x", "body": "x" * 4001}, {"title": "x", "topic": "a/../b"}, {"title": ""},
        {"title": "x", "topic": "A'; DROP TABLE notices"}, {"title": "x", "tags": ["a"] * 9},
        {"title": "x", "severity": "loud"},
        {"title": "x", "expires_s": 0}, {"title": "x", "expires_s": 1e300}, {"title": "x", "key": "k" * 129},
    ],
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused_with_its_name(host: RunningHost, arguments: dict[str, Any]) -> None:
    with host.client() as client, pytest.raises(InvalidArgument) as caught:
        client.call(NOTIFY, "send", **arguments)
    assert "\n" not in caught.value.message and re.match(
        r"(title|body|topic|tags|severity|expires_s|key)", caught.value.message
    )


def test_a_flood_pushes_out_no_notification_of_another(host: RunningHost) -> None:
    with host.client() as client, host.client("nosy") as nosy:
        theirs = client.call(NOTIFY, "send", "the cellar is wet", key="cellar")["id"]
        refused = 0
        for number in range(300):
            try:
                nosy.call(NOTIFY, "send", f"n{number}", severity="critical", body="x" * 4000)
            except (Failed, Busy):
                refused += 1
        assert client.call(NOTIFY, "show", theirs)["title"] == "the cellar is wet"
        found = client.call(NOTIFY, "list", limit=100)["notices"]
        assert len(found) <= 40 and sum(one["sender"] == "client/nosy" for one in found) <= 20
        assert any(one["topic"] == "notify.sum" for one in found) and refused < 300
        assert not client.call(NOTIFY, "send", "still heard")["is_summed"]


WORDS = {
    "no_starttls": "has no STARTTLS", "no_tls": "", "dripping": "did not take the mail within 1 s",
    "endless": "it says more than 64 KiB|did not take", "long_line": "", "silent": "did not take|timed out",
    "garbage": "", "early": "",
}  # fmt: skip


def test_servers_that_lie_get_no_password_and_delay_nothing(
    host: RunningHost, servers: dict[str, LyingMailServer]
) -> None:
    pid = host.loop(PROCESS)["pid"]
    with host.client("kiosk") as kiosk, host.client() as client:
        for way in WAYS:
            until(partial(send_soon, kiosk, way.replace("_", "-")))
        for way in WAYS:
            away = until(partial(why_away, client, way))
            assert away.isprintable() and re.search(WORDS[way], away), (way, away)
        number = client.call(NOTIFY, "send", "beside them")["id"]
        until(lambda: client.call(NOTIFY, "show", number)["deliveries"][0]["state"] == "delivered")
    for way, server in servers.items():
        for secret in (PASSWORD, "AUTH"):
            assert secret.encode() not in server.heard, way
    assert host.loop(PROCESS)["pid"] == pid and host.loop(PROCESS)["violations"] == 0
    assert psutil.Process(pid).memory_full_info().uss < 64 << 20
    assert PASSWORD not in host.log(PROCESS) and "\x1b" not in host.log(PROCESS)
    assert "Traceback" not in host.log(PROCESS)


def why_away(client: Client, carrier: str) -> str | None:
    away: str | None = client.call(NOTIFY, "outbox")[carrier]["away"]
    return away


def send_soon(client: Client, topic: str) -> bool:
    return not client.call(NOTIFY, "send", "x", topic=topic)["is_summed"]
