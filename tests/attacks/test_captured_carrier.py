"""Attacked sentence: a captured carrier has its own mailbox, its own name and the addresses of its rules, and no more.

The attacker sits in external/mqtt on a running host, with a real broker: it has its keys and its session, and puts any
frame on its wire.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from attackers.arena import PACKAGE, Attacker, request_body
from fakes.echo_server import echo_servers
from hosts.joined_messages import MESSAGES, set_secret, until
from hosts.running_host import RunningHost
from hosts.tls_broker import TlsBroker

import tlsrt.loops.external
from tlsrt import Client, TlsrtError
from tlsrt.channels.frames.frame import FrameKind

MQTT, PROCESS = "external/mqtt", "external.mqtt"
HERE = Path(tlsrt.loops.external.__file__).parent
SAFE = "the code of the safe is 1234"


@pytest.fixture(scope="module")
def broker() -> Iterator[TlsBroker]:
    with TlsBroker({"kettle": ("readwrite tlsrt/kettle/#", "read door/#"), "guest": ("write door/#",)}) as made:
        yield made


@pytest.fixture(scope="module")
def echo() -> Iterator[dict[str, int]]:
    with echo_servers() as found:
        yield found


def started(request: pytest.FixtureRequest, broker: TlsBroker, mode: str) -> Iterator[RunningHost]:
    """A host with messages and a captured carrier, with needs and rights as its manifest asks for them."""
    manifest, messages = (yaml.safe_load((HERE / f"{name}.tlsrt.yaml").read_text()) for name in ("mqtt", "messages"))
    needs = manifest["needs"] | {
        "egress": [{"to": [f"127.0.0.1:{broker.port}"], "why": "the broker"}],
        "read": [{"path": str(broker.folder / "ca.pem"), "why": "its authority"}],
    }
    options = {
        "node": "kettle", "retry_s": 1, "sources": {"door": {"filter": "door/+/bell", "to": "client/anna"}},
        "broker": {"host": "127.0.0.1", "port": broker.port, "ca": str(broker.folder / "ca.pem")},
    }  # fmt: skip
    made = RunningHost(
        components={
            MESSAGES: {"class": messages["class"], "needs": messages["needs"], "options": {"name": "kettle"}},
            MQTT: {"class": "captured.carrier:CapturedMqtt", "needs": needs, "options": options},
        },
        clients=["anna", "bob"], packages=[PACKAGE], detection={"mode": mode},
        policy={
            f"client/admin -> {MQTT}": "*",
            **{f"client/{name} -> {MESSAGES}": "*" for name in ("anna", "bob")},
            **{f"{MQTT} -> {target}": its["methods"] for target, its in manifest["calls"].items()},
        },
    )  # fmt: skip
    failed = request.session.testsfailed
    try:
        made.start()
        set_secret(made, "client", broker.pairs["kettle"], MQTT)
        yield made
        if request.session.testsfailed > failed:
            made.print_logs()
    finally:
        made.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, broker: TlsBroker) -> Iterator[RunningHost]:
    """One that goes on, so that all can be tried."""
    yield from started(request, broker, "observe")


@pytest.fixture(scope="module")
def admin(host: RunningHost) -> Iterator[Client]:
    with host.client() as client:
        yield client


@pytest.fixture
def letter(host: RunningHost) -> Iterator[dict[str, Any]]:
    """A message of anna to bob, which is there and unread when the attack is over."""
    with host.client("anna") as anna, host.client("bob") as bob:
        id = anna.call(MESSAGES, "send", "client/bob", SAFE, topic="safe")["id"]
        [sent] = bob.call(MESSAGES, "inbox")["messages"]
        yield dict(sent)
        [found] = bob.call(MESSAGES, "inbox")["messages"]
        assert (found["id"], found["state"], found["from"]) == (id, "new", "client/anna")
        assert bob.call(MESSAGES, "acknowledge", [id]) == 1


def told(host: RunningHost, *words: str) -> None:
    """Wait until one line of the events has all of this."""
    until(
        lambda: any(
            all(word in line for word in words) for line in host.cli("events", "--kind", "security").stdout.splitlines()
        )
    )


def test_it_reads_and_acknowledges_no_message_of_others(
    host: RunningHost, admin: Client, letter: dict[str, Any]
) -> None:
    id = letter["id"]
    forbidden = [
        ("inbox", []), ("inbox", [100, 0]), ("read", [id]), ("sent", []), ("outbox", []), ("drop", [id]),
        ("retry", [id]), ("stat", [f"{id}/a"]), ("deliver", [[], []]), ("key", []),
    ]  # fmt: skip
    for method, words in forbidden:
        assert admin.call(MQTT, "ask", MESSAGES, method, words).startswith("rejected:"), method
    for words in ([[id]], [[id[:6]]], [[], [letter["position"]]], [[], list(range(1, 50))]):
        assert admin.call(MQTT, "ask", MESSAGES, "acknowledge", words) == "0"
    for words in ([0], [0, "safe"]):  # a watch shows what is for it
        shown = admin.call(MQTT, "watched", words)
        assert f"{MQTT}: to itself" in shown and all(one.startswith(f"{MQTT}: ") for one in shown), shown
    thief = Attacker(admin, MQTT, MQTT)
    thief.heard()
    for method in ("inbox", "read"):  # also past its own runtime
        thief.send(thief.forge(thief.header(MESSAGES, method), request_body(id)))
        assert thief.refusals() == ["rejected"]
    told(host, "detected", MQTT, "policy: not_allowed external/messages inbox")
    told(host, "would_respond", "revoke for policy")


def test_it_is_no_other_sender(host: RunningHost, admin: Client, letter: dict[str, Any]) -> None:
    thief = Attacker(admin, MQTT, MQTT)
    body = request_body("client/bob", "I am anna", "safe")
    for sender in ("client/anna", "client/bob", "external/mail", MESSAGES, "third/io"):
        thief.send(thief.forge(thief.header(MESSAGES, "send", src=sender), body))
    answer = thief.header("client/bob", "inbox", kind=FrameKind.REPLY, src=MESSAGES)  # as if bob had asked it
    thief.send(thief.forge(answer, request_body([])))
    told(host, "detected", "foreign_token")
    # Under its own name it may write; not by an id of another one, in its place, or as a host.
    assert "is_new" in admin.call(
        MQTT, "ask", MESSAGES, "send", ["client/anna", "I am bob", "safe"], {"id": letter["id"]}
    )
    for to in ("client/anna@attic", "@kettle", "client/bob\0", "external/mqtt/x"):
        assert admin.call(MQTT, "ask", MESSAGES, "send", [to, "x"]).split(":")[0] in (
            "invalid_argument",
            "not_found",
            "failed",
        )
    with host.client("anna") as anna:
        [found] = anna.call(MESSAGES, "inbox", topic="safe")["messages"]
        assert (found["from"], found["preview"]) == (MQTT, "I am bob")
        anna.call(MESSAGES, "acknowledge", positions=[found["position"]])


def test_it_opens_no_address_and_no_file_that_its_rules_do_not_list(
    host: RunningHost, admin: Client, echo: dict[str, int], broker: TlsBroker
) -> None:
    assert admin.call(MQTT, "reach", "AF_INET", "SOCK_STREAM", ["127.0.0.1", broker.port]) == "open"
    wanted = [["127.0.0.1", echo["tcp"]], ["127.0.0.1", host.port], ["192.0.2.7", 443], ["192.0.2.7", broker.port]]
    for place in wanted:
        for kind in ("SOCK_STREAM", "SOCK_DGRAM"):
            assert admin.call(MQTT, "reach", "AF_INET", kind, place) == "EACCES", place
    assert admin.call(MQTT, "reach", "AF_INET6", "SOCK_STREAM", ["::1", host.port, 0, 0]) == "EACCES"
    assert admin.call(MQTT, "listen", "SOCK_STREAM", ["127.0.0.1", 0]) == "EPERM"
    assert admin.call(MQTT, "listen", "SOCK_DGRAM", ["127.0.0.1", 8883]) == "EACCES"
    config = host.config
    paths = [
        config.state_dir, config.state_dir / "external.messages", host.folder / "admin.tlsrt", config.master_key.path,
        config.run_dir / "control.sock", config.run_dir / "channel" / "external.messages" / "primary.sock",
    ]  # fmt: skip
    for path in paths:
        assert admin.call(MQTT, "look", str(path)) == "ENOENT", path
        assert admin.call(MQTT, "reach", "AF_UNIX", "SOCK_STREAM", [str(path)]) == "EACCES", path
    for place in wanted:
        told(host, "egress_wanted", f"{MQTT} wants {place[0]}:{place[1]}")
    told(host, "violation", "external.mqtt", "listen")
    told(host, "violation", "external.mqtt", "connect to a UNIX socket other than its channel")


def test_meanwhile_it_still_carries_and_others_are_as_they_were(host: RunningHost, broker: TlsBroker) -> None:
    with broker.listener("guest") as guest, host.client("anna") as anna:
        guest.say("door/back/bell", "ring")
        [found] = until(lambda: anna.call(MESSAGES, "inbox", topic="door")["messages"])
        assert (found["from"], found["preview"]) == (MQTT, "ring")


def test_what_it_tries_costs_it_its_session_and_no_one_else_anything(
    request: pytest.FixtureRequest, broker: TlsBroker
) -> None:
    """The same where the host acts: the first forged frames end the process, and no other."""
    for acting in started(request, broker, "act"):
        with acting.client() as admin, acting.client("bob") as bob:
            others = {name: pid for name, pid in acting.pids().items() if name != PROCESS}
            before = len(acting.console)
            thief = Attacker(admin, MQTT, MQTT)
            forged = thief.forge(thief.header(MESSAGES, "send", src="client/anna"), request_body("client/bob", "x"))
            with pytest.raises(TlsrtError):
                thief.do("flood", forged, 10_000)
            acting.wait_for(r"^external.mqtt +(died|quarantined|restart|.*foreign_token)", after=before)
            told(acting, "foreign_token")
            assert bob.call(MESSAGES, "inbox")["messages"] == []
            assert {name: pid for name, pid in acting.pids().items() if name != PROCESS} == others
