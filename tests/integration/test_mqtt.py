"""external/mqtt on a real host with a real mosquitto: TLS 1.3, certificates, an ACL; and as Home Assistant sees it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hosts.joined_messages import MESSAGES, set_secret, until
from hosts.running_host import RunningHost
from hosts.tls_broker import TlsBroker

from tlsrt import AsyncClient, Client
from tlsrt.config.bundle import Bundle

MQTT, PROCESS, LAMP = "external/mqtt", "external.mqtt", "third/lamp"
PACKAGE = Path(__file__).parents[2] / "examples" / "home_assistant" / "lamp"
RIGHTS = {
    "kettle": (
        "readwrite tlsrt/kettle/#",
        "readwrite homeassistant/#",
        "write garden/#",
        "read door/#",
        "write door/+/answer",
    ),
    "house": ("readwrite #",),
    "guest": ("write tlsrt/kettle/#", "write door/#", "read door/+/answer"),
}
OPTIONS: dict[str, Any] = {
    "node": "kettle",
    "topics": {"lamp": {"topic": "garden/lamp"}, "any": {"topic": "garden/any/#"}, "shed": {"topic": "shed/lamp"}},
    "sources": {
        "door": {"filter": "door/+/bell", "to": "client/anna", "answers": "door/+/answer"},
        "any": {"filter": "door/+/ask", "to": "client/anna", "answers": "#"},
    },
    "home_assistant": {
        "status_s": 1, "components": True,
        "sensors": {
            "watts": {
                "component": LAMP, "method": "look", "field": "watts", "unit": "W", "device_class": "power",
                "every_s": 1,
            },
        },
        "binary_sensors": {"lit": {"component": LAMP, "topic": "turned", "field": "is_on", "device_class": "light"}},
        "switches": {"light": {"component": LAMP, "on": "on", "off": "off", "state": "look", "field": "is_on"}},
        "buttons": {"blink": {"component": LAMP, "method": "blink", "arguments": [2]}},
    },
    "retry_s": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def broker() -> Iterator[TlsBroker]:
    with TlsBroker(RIGHTS) as made:
        yield made


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, broker: TlsBroker) -> Iterator[RunningHost]:
    failed = request.session.testsfailed
    restarts = {"supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}}
    made = RunningHost(clients=["anna"], packages=[PACKAGE], extra=restarts)
    options = {**OPTIONS, "broker": {"host": "127.0.0.1", "port": broker.port, "ca": str(broker.folder / "ca.pem")}}
    needs = {
        "egress": [{"to": [f"127.0.0.1:{broker.port}"], "why": "the broker"}],
        "read": [{"path": str(broker.folder / "ca.pem"), "why": "its authority"}],
        "runtime": [{"may": "list", "components": [MESSAGES], "why": "it shows what runs"}],
    }
    steps: tuple[tuple[str, dict[str, Any], dict[str, Any], list[str]], ...] = (
        (MESSAGES, {}, {}, ["client/anna: [send, sent, inbox, read, acknowledge, watch]", "client/admin: *"]),
        (MQTT, options, needs, ["client/admin: *"]),
    )
    try:
        made.start()
        for address, values, more, allow in steps:
            words = [f"--option={key}={json.dumps(value)}" for key, value in values.items()]
            words += [f"--needs={key}={json.dumps(value)}" for key, value in more.items()]
            words += [f"--allow={rule}" for rule in allow]
            added = made.cli("component", "add", address, "--yes", *words)
            assert added.returncode == 0 or "secret" in added.stdout + added.stderr, added
        add_lamp(made)
        set_secret(made, "client", broker.pairs["kettle"], MQTT)
        made.until(lambda status: made.loop(PROCESS)["state"] == "active", "started mqtt")
        yield made
        if request.session.testsfailed > failed:
            made.print_logs()
    finally:
        made.close()


def add_lamp(host: RunningHost) -> None:
    """Write what `component add` writes for the lamp of the example, with the line that lets the carrier call it."""
    shutil.copyfile(PACKAGE / "tlsrt.yaml", host.folder / "components.d" / "third.lamp.manifest")
    policy = {"client/admin -> third/lamp": "*", f"{MQTT} -> {LAMP}": ["on", "off", "look", "blink", "subscribe"]}
    drop_in = {"package": PACKAGE.name, "manifest": "tlsrt.yaml", "policy": policy}
    (host.folder / "components.d" / "third.lamp.yaml").write_text(yaml.safe_dump(drop_in))
    for verb in ("seal", "reload"):
        done = host.cli(verb)
        assert done.returncode == 0, (done.stdout, host.log(PROCESS)[-2000:])


def answers_to(client: Client, id: str) -> list[Any]:
    return [one for one in client.call(MESSAGES, "inbox")["messages"] if one["in_reply_to"] == id]


def connected(host: RunningHost) -> bool:
    with host.client() as admin:  # idempotent: its process may have been killed just now, and take a while to start
        found = admin.call(MQTT, "connections", timeout_s=60, idempotent=True)
    return all(why is None for why in found.values())


def test_messages_go_out_with_their_id_and_what_the_acl_forbids_is_told(host: RunningHost, broker: TlsBroker) -> None:
    assert "the broker ends TLS: tlsv13 alert certificate required; set its certificate" in host.log(PROCESS)
    with broker.listener("house", "garden/#") as house, host.client("anna") as anna:
        id = anna.call(MESSAGES, "send", MQTT, "on", topic="lamp")["id"]
        heard = house.next("garden/lamp")
        assert heard.payload == b"on" and dict(heard.properties.UserProperty) == {"id": id, "from": "client/anna"}
        anna.call(MESSAGES, "send", MQTT, b"\x00\xff", topic="any.west/1")
        assert house.next("garden/any/west/1").payload == b"\x00\xff"
        for topic, words in (("shed", "refuses the topic shed/lamp"), ("attic", "'attic' names no topic")):
            id = anna.call(MESSAGES, "send", MQTT, "x", topic=topic)["id"]
            told = until(partial(answers_to, anna, id))
            assert words in told[0]["preview"] and told[0]["from"] == MQTT


def test_messages_come_in_once_and_only_from_what_options_name(host: RunningHost, broker: TlsBroker) -> None:
    until(lambda: connected(host))
    with broker.listener("guest") as guest, host.client("anna") as anna:
        guest.say("door/back/window", "never")
        guest.say("door/back/bell", "ring")

        def found() -> list[Any]:
            return list(anna.call(MESSAGES, "inbox", topic="door")["messages"])

        [one] = until(found)
        assert (one["preview"], one["topic"], one["from"]) == ("ring", "door.door/back/bell", MQTT)
        host.kill(PROCESS)
        guest.say("door/front/bell", "rang while it was dead")
        until(lambda: len(found()) == 2)
        until(lambda: connected(host))
        assert len(found()) == 2


def test_an_answer_goes_to_who_has_asked_and_nowhere_else(host: RunningHost, broker: TlsBroker) -> None:
    """Response topic and correlation data, by the broker; a kill between question and answer; a deputy that is none."""
    until(lambda: connected(host))
    with broker.listener("guest", "door/+/answer") as guest, host.client("anna") as anna, host.client() as admin:

        def asked(text: str) -> str:
            found = until(lambda: [one for one in anna.call(MESSAGES, "inbox")["messages"] if one["preview"] == text])
            return str(found[0]["id"])

        def refused(id: str) -> str:
            return str(until(partial(answers_to, anna, id))[0]["preview"])

        guest.ask("door/back/bell", "who is there?", "door/back/answer", b"\x00\x01")
        id = asked("who is there?")
        host.kill(PROCESS)
        stranger = admin.call(MESSAGES, "send", MQTT, "me", in_reply_to=id)["id"]
        sent = anna.call(MESSAGES, "send", MQTT, "come in", in_reply_to=id)["id"]
        heard = guest.next("door/back/answer")
        assert (heard.payload, heard.properties.CorrelationData) == (b"come in", b"\x00\x01")
        assert not hasattr(heard.properties, "UserProperty"), "the broker need not know who it was"
        assert "is answered by client/anna alone" in until(partial(answers_to, admin, stranger))[0]["preview"]
        again = anna.call(MESSAGES, "send", MQTT, "or not", in_reply_to=id)["id"]
        assert "was answered already" in refused(again)
        assert not answers_to(anna, sent)
        # the host may write garden/#, and guest may not
        for where, to in (
            ("bell", "garden/lamp"),
            ("ask", "tlsrt/kettle/light/set"),
            ("ask", "homeassistant/x/config"),
        ):
            guest.ask(f"door/back/{where}", f"to {to}", to)
            away = anna.call(MESSAGES, "send", MQTT, "ON", in_reply_to=asked(f"to {to}"))["id"]
            assert "has no way back" in refused(away)
        guest.ask("door/back/ask", "by a topic that is not ours to write", "elsewhere/x", None)
        away = anna.call(MESSAGES, "send", MQTT, "x", in_reply_to=asked("by a topic that is not ours to write"))["id"]
        assert "the broker refuses the topic elsewhere/x" in refused(away)
    assert host.loop(PROCESS)["violations"] == 0


def test_the_host_appears_in_home_assistant_and_obeys(host: RunningHost, broker: TlsBroker) -> None:
    with broker.listener("house", "homeassistant/#", "tlsrt/kettle/#") as house:
        configuration = json.loads(house.next("homeassistant/switch/tlsrt_kettle/light/config").payload)
        assert house.next("tlsrt/kettle/status").payload == b"online"
        house.say(configuration["command_topic"], configuration["payload_on"])
        until(lambda: house.next("tlsrt/kettle/watts/state").payload == b"7.5")
        with host.client() as admin:
            assert admin.call(LAMP, "look")["is_on"] is True
            house.say("tlsrt/kettle/blink/set", "PRESS")
            until(lambda: admin.call(LAMP, "look")["blinks"] == 2)


def test_a_command_of_the_past_or_without_a_name_does_not_fire(host: RunningHost, broker: TlsBroker) -> None:
    with broker.listener("guest") as guest, host.client() as admin:
        blinks = admin.call(LAMP, "look")["blinks"]
        guest.say("tlsrt/kettle/blink/set", "PRESS", retain=True)  # it is live now, and fires once
        until(lambda: admin.call(LAMP, "look")["blinks"] == blinks + 2)
        host.kill(PROCESS)
        guest.say("tlsrt/kettle/blink/set", "PRESS")  # nobody is there
        until(lambda: connected(host))
        guest.say("tlsrt/kettle/off/set", "PRESS")
        guest.say("tlsrt/kettle/light/set", "PRESS")
        guest.say("tlsrt/kettle/blink/set", "PRESSED and pressed again")
        guest.say("tlsrt/kettle/light/set", "OFF")
        until(lambda: admin.call(LAMP, "look")["is_on"] is False)
        assert admin.call(LAMP, "look")["blinks"] == blinks + 2
        assert host.loop(PROCESS)["violations"] == 0


def test_a_locked_host_is_shown_as_serving_nothing_and_goes_on(host: RunningHost, broker: TlsBroker) -> None:
    until(lambda: connected(host))
    with broker.listener("house", "tlsrt/kettle/#") as house:
        until(lambda: house.next("tlsrt/kettle/host_serving/state").payload == b"ON")
        assert host.cli("lock").returncode == 0
        assert house.next("tlsrt/kettle/host_serving/state").payload == b"OFF"
        assert host.cli("unlock").returncode == 0
        assert house.next("tlsrt/kettle/host_serving/state").payload == b"ON"
    with broker.listener("house", "garden/#") as house, host.client("anna") as anna:
        anna.call(MESSAGES, "send", MQTT, "after", topic="lamp")
        assert house.next("garden/lamp").payload == b"after"


def test_a_broker_that_is_away_for_long_costs_nothing_but_time(host: RunningHost, broker: TlsBroker) -> None:
    with host.client("anna") as anna:
        broker.kill()
        until(lambda: not connected(host))
        ids = [anna.call(MESSAGES, "send", MQTT, f"{n}", topic="any.late")["id"] for n in range(40)]
        broker.start()
        until(lambda: connected(host))

        def states() -> list[str]:
            found = anna.call(MESSAGES, "sent", limit=100)["messages"]
            return [one["recipients"][0]["state"] for one in found if one["id"] in ids]

        until(lambda: states() == ["acknowledged"] * 40)


def payloads_of(client: Client, number: int, seen: list[str], at: list[float]) -> None:
    """Take so many messages of a mailbox, as an application does: each is noted, then acknowledged."""
    for one in client.stream(MESSAGES, "watch", 0, "door"):
        seen.append(one["body"])
        at.append(time.monotonic())
        client.call(MESSAGES, "acknowledge", positions=[one["position"]])
        if len(seen) >= number:
            return


def payloads_until(client: Client, is_last: threading.Event, seen: list[str]) -> None:
    """Take messages, as an application does, until one comes after it was said that it is the last."""
    for one in client.stream(MESSAGES, "watch", 0, "door"):
        seen.append(one["body"])
        client.call(MESSAGES, "acknowledge", positions=[one["position"]])
        if is_last.is_set() and one["body"] == "last":
            return


def runs_anew(host: RunningHost, killed: int) -> bool:
    return host.loop(PROCESS)["state"] == "active" and host.pids().get(PROCESS, killed) != killed


def is_longer(seen: list[str], number: int) -> bool:
    return len(seen) > number


def shares(values: list[float]) -> str:
    ordered = sorted(values)
    return f"p50 {ordered[len(ordered) // 2] * 1000:.1f} ms, p99 {ordered[len(ordered) * 99 // 100] * 1000:.1f} ms"


async def send_many(bundle: Bundle, ids: list[str], at_once: int = 16) -> None:
    left = iter(ids)
    async with AsyncClient(bundle) as client:

        async def some() -> None:
            for id in left:
                await client.call(MESSAGES, "send", MQTT, "x" * 100, topic="any.rate", id=id)

        await asyncio.gather(*(some() for _ in range(at_once)))


@pytest.mark.stress
def test_its_rates(host: RunningHost, broker: TlsBroker) -> None:
    until(lambda: connected(host))
    with broker.listener("house", "garden/#") as house, host.client("anna") as anna:
        took = []
        for _ in range(200):
            began = time.monotonic()
            anna.call(MESSAGES, "send", MQTT, "x", topic="any.one")
            house.next("garden/any/one")
            took.append(time.monotonic() - began)
        print(f"\nout, from send to a subscriber: {shares(took)}")
        ids = [os.urandom(16).hex() for _ in range(400)]
        began = time.monotonic()
        asyncio.run(send_many(host.bundle("anna"), ids))
        for _ in ids:
            house.next("garden/any/rate")
        print(f"out: {len(ids) / (time.monotonic() - began):.0f} messages/s")
        for each in anna.call(MESSAGES, "inbox", 100)["messages"]:
            anna.call(MESSAGES, "acknowledge", [each["id"]])
        seen: list[str] = []
        at: list[float] = []
        with host.client("anna") as reader:
            thread = threading.Thread(target=payloads_of, args=(reader, 600, seen, at))
            thread.start()
            took = []
            for number in range(100):
                began = time.monotonic()
                house.client.publish("door/a/bell", f"{number}", qos=1)
                until(partial(is_longer, seen, number))
                took.append(at[number] - began)
            print(f"in, from a publisher to who watches: {shares(took)}")
            began = time.monotonic()
            for number in range(100, 600):
                house.client.publish("door/a/bell", f"{number}", qos=1)
            thread.join(120)
            print(f"in: {500 / (at[-1] - began):.0f} messages/s")
        assert seen == [f"{number}" for number in range(600)]
    pid = host.pids()[PROCESS]
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    print(f"memory: {[line for line in rollup.splitlines() if line.startswith('Pss:')]}")


@pytest.mark.stress
def test_killed_while_messages_go_both_ways_nothing_is_lost_and_nothing_comes_twice(
    host: RunningHost, broker: TlsBroker
) -> None:
    until(lambda: connected(host))
    end = time.monotonic() + float(os.environ.get("TLSRT_KILLS_S", "60"))
    sent: list[str] = []
    said = kills = 0
    seen: list[str] = []
    heard: list[str] = []
    with (
        broker.listener("house", "garden/#", clean=False, name="kills") as house, host.client("anna") as anna,
        host.client("anna") as reader,
    ):  # fmt: skip
        number = threading.Event()
        thread = threading.Thread(target=payloads_until, args=(reader, number, seen))
        thread.start()
        while time.monotonic() < end:
            killed = host.kill(PROCESS)
            kills += 1
            for _ in range(5):
                id = os.urandom(16).hex()
                anna.call(MESSAGES, "send", MQTT, id, topic="any.kill", id=id)
                sent.append(id)
                house.client.publish("door/k/bell", f"k{said}", qos=1)
                said += 1
            until(partial(runs_anew, host, killed))
            while len(set(heard)) < len(sent) - 20:  # the next kill comes amid its work
                heard.append(house.next("garden/any/kill").payload.decode())
        while not set(heard) >= set(sent):
            heard.append(house.next("garden/any/kill", limit_s=120).payload.decode())
        until(lambda: len(seen) >= said, 120)
        print(f"\n{kills} kills: {len(sent)} out, {len(heard) - len(set(heard))} repeated by id; {said} in")
        number.set()
        house.say("door/k/bell", "last")
        thread.join(60)
        assert sorted(seen) == sorted(["last", *(f"k{each}" for each in range(said))])
