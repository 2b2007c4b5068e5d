"""examples/mqtt on a running host, with a real broker: messages in and out, a broker that dies, a wrong password."""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hosts.mqtt_broker import LIMIT_S, MqttBroker
from hosts.running_host import RunningHost

from tlsrt import AsyncClient, Unavailable
from tlsrt.config.bundle import Bundle

PACKAGE = Path(__file__).parents[2] / "examples" / "mqtt" / "mqtt_bridge"
BRIDGE, INBOX = "external/mqtt", "secondary/inbox"
USER, TESTER, PASSWORD = "tlsrt", "tester", "correct-horse-battery"


def add(host: RunningHost, address: str, manifest: str, **decided: Any) -> None:
    """Write what `component add` writes for a component of the package."""
    folder = host.folder / "components.d"
    folder.mkdir(exist_ok=True)
    name = address.replace("/", ".")
    drop_in = {"package": PACKAGE.name, "manifest": manifest, "policy": {f"client/admin -> {address}": "*"}, **decided}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(drop_in))
    shutil.copyfile(PACKAGE / manifest, folder / f"{name}.manifest")


def set_password(host: RunningHost, value: str) -> None:
    subprocess.run(
        host.command("secret", "set", BRIDGE, "broker"), input=value.encode(), check=True, capture_output=True,
        timeout=60, cwd=host.base,
    )  # fmt: skip
    if host.process is not None:
        host._note_processes()


def health(host: RunningHost) -> str:
    """Return what the log of the bridge says last of its state."""
    return [line for line in host.log("external.mqtt").splitlines() if "status: " in line][-1]


def is_ready(status: dict[str, Any]) -> bool:
    """Say whether the bridge is ready, in a status."""
    [loop] = [loop for loop in status["loops"] if loop["name"] == "external.mqtt"]
    return bool(loop["components"][0]["ready"])


@pytest.fixture(scope="module")
def broker() -> Iterator[MqttBroker]:
    with MqttBroker((USER, TESTER), PASSWORD) as broker:
        yield broker


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, broker: MqttBroker) -> Iterator[RunningHost]:
    failed = request.session.testsfailed
    host = RunningHost(packages=[PACKAGE])
    try:
        egress = [{"to": [f"127.0.0.1:{broker.port}"], "why": "the broker of the test"}]
        options = {"broker_port": broker.port, "subscribe": ["in/#"]}
        add(host, BRIDGE, "bridge.tlsrt.yaml", options=options, needs={"egress": egress})
        add(host, INBOX, "inbox.tlsrt.yaml")
        sealed = host.cli("seal")
        assert sealed.returncode == 0, sealed.stderr
        set_password(host, PASSWORD)
        host.start()
        host.until(is_ready, "a bridge that is ready")
        yield host
        if request.session.testsfailed > failed:
            host.print_logs()
    finally:
        host.close()


def assert_clean(host: RunningHost, before: dict[str, int]) -> None:
    """Assert that the same processes run, that nothing was refused, and that status has nothing to say."""
    status = host.status()
    assert {loop["name"]: loop["pid"] for loop in status["loops"]} == before
    assert [loop["violations"] for loop in status["loops"]] == [0] * len(status["loops"])
    assert [line for line in status["warnings"] if not line.startswith("measure is")] == []


def pids(host: RunningHost) -> dict[str, int]:
    return {loop["name"]: loop["pid"] for loop in host.status()["loops"]}


class Heard:
    """What a client of the broker hears; wait for a number of messages."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()

    def __call__(self, topic: str, payload: bytes) -> None:
        with self._changed:
            self.messages.append((topic, payload))
            self._changed.notify_all()

    def wait(self, number: int) -> list[tuple[str, bytes]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.messages) >= number, LIMIT_S), self.messages
            return list(self.messages)


def wait_for_count(host: RunningHost, number: int) -> None:
    """Wait until the inbox has so many messages. It tells each one, but ends a listener that is slow."""
    client, limit = host.client(), time.monotonic() + LIMIT_S
    while (count := client.call(INBOX, "count")) < number:
        assert time.monotonic() < limit, f"{count} of {number} messages: {client.call(BRIDGE, 'figures')}"
        select.select([], [], [], 0.02)


def test_messages_go_in_and_out_and_nothing_is_refused(host: RunningHost, broker: MqttBroker) -> None:
    before = pids(host)
    client, heard = host.client(), Heard()
    with broker.client(TESTER, "out/#", heard=heard) as outside:
        client.call(BRIDGE, "send", "out/lamp", b"\x00on")
        client.call(BRIDGE, "send", "out/text", "grüße", qos=2)
        assert heard.wait(2) == [("out/lamp", b"\x00on"), ("out/text", "grüße".encode())]
        arrived = client.stream(INBOX, "subscribe", "arrived")
        outside.publish("in/door", b"open", qos=1)
        assert next(iter(arrived))["topic"] == "in/door"
    [kept] = client.stream(INBOX, "recent", topic="in/door")
    assert (kept["payload"], kept["sender"]) == (b"open", BRIDGE)
    own, ours = (os.readlink(f"/proc/{pid}/ns/net") for pid in (before["external.mqtt"], "self"))
    assert own != ours, "its network namespace is its own, and empty"
    assert_clean(host, before)


def test_many_messages_come_in_their_order_and_once(host: RunningHost, broker: MqttBroker) -> None:
    client = host.client()
    before = client.call(INBOX, "count")
    with broker.client(TESTER) as outside:
        for number in range(2000):
            outside.publish("in/many", str(number), qos=1)
        wait_for_count(host, before + 2000)
    kept = [one["payload"] for one in client.stream(INBOX, "recent", 1000, topic="in/many")]
    assert kept == [str(number).encode() for number in range(1000, 2000)]
    assert client.call(INBOX, "count") == before + 2000


@pytest.mark.stress
def test_its_rates(host: RunningHost, broker: MqttBroker) -> None:
    """Both ways, with every message counted; bench/MEASURED.md has the figures of one machine."""
    client = host.client()
    before, number = client.call(INBOX, "count"), 5000
    with broker.client(TESTER) as outside:
        began = time.monotonic()
        for each in range(number):
            outside.publish("in/rate", str(each), qos=1)
        wait_for_count(host, before + number)
    print(f"broker to database: {number / (time.monotonic() - began):.0f} messages/s")
    for at_once in (1, 16, 32):
        heard = Heard()
        with broker.client(TESTER, "out/#", heard=heard):
            took = asyncio.run(send_many(host.bundle("admin"), at_once, 60 * at_once + 200))
            assert len(heard.wait(60 * at_once + 200)) == 60 * at_once + 200
        print(f"client to broker, {at_once} at once: {(60 * at_once + 200) / took:.0f} messages/s")


async def send_many(bundle: Bundle, at_once: int, number: int) -> float:
    """Have so many messages sent by so many tasks; return the seconds until all were acknowledged."""
    numbers = iter(range(number))
    async with AsyncClient(bundle) as client:
        await client.call(BRIDGE, "figures")

        async def one() -> None:
            for each in numbers:
                await client.call(BRIDGE, "send", "out/rate", str(each))

        began = time.monotonic()
        await asyncio.gather(*(one() for _ in range(at_once)))
        return time.monotonic() - began


def test_the_broker_dies_and_comes_again_and_nothing_is_restarted(host: RunningHost, broker: MqttBroker) -> None:
    before = pids(host)
    client = host.client()
    connects = client.call(BRIDGE, "figures")["connects"]
    broker.kill()
    host.until(lambda status: not is_ready(status), "a bridge without its broker")
    assert f"{BRIDGE} is not ready, see the log of external.mqtt" in host.cli("status").stdout
    assert "no broker at 127.0.0.1" in health(host)
    broker.start()
    client.call(BRIDGE, "send", "out/again", b"x")  # waits until it is ready
    assert client.call(BRIDGE, "figures")["connects"] == connects + 1
    count = client.call(INBOX, "count")
    with broker.client(TESTER) as outside:
        outside.publish("in/again", b"y", qos=1).wait_for_publish(LIMIT_S)
        wait_for_count(host, count + 1)
    host.until(is_ready, "a bridge that is ready")
    assert "not ready" not in host.cli("status").stdout
    assert_clean(host, before)


def test_a_wrong_password_is_a_sentence(host: RunningHost) -> None:
    before = len(host.console)
    set_password(host, "wrong")
    host.until(lambda status: not is_ready(status), "a refused bridge")
    host.wait_for(rf"external.mqtt +unready +{BRIDGE} is not ready, see ", after=before)
    host.until(lambda status: "the broker refuses tlsrt: " in health(host), "the reason")
    with pytest.raises(Unavailable, match="not ready"):
        host.client().call(BRIDGE, "send", "out/lamp", b"on", timeout_s=3)
    set_password(host, PASSWORD)
    host.client().call(BRIDGE, "send", "out/lamp", b"on")
    assert host.loop("external.mqtt")["violations"] == 0
