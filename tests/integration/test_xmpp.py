"""Messages to and from people at a real XMPP server, by a carrier in its sandbox on a real host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hosts.joined_messages import MESSAGES, set_secret, until
from hosts.prosody import DOMAIN, PASSWORD, App, People, Prosody
from hosts.running_host import RunningHost

from tlsrt.errors import Denied

XMPP, PROCESS = "external/xmpp", "external.xmpp"


@pytest.fixture(scope="module")
def server() -> Iterator[Prosody]:
    made = Prosody(("house", "anna", "bob", "eve"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def people(server: Prosody) -> Iterator[People]:
    made = People(server)
    yield made
    made.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, server: Prosody) -> Iterator[RunningHost]:
    failed = request.session.testsfailed
    made = RunningHost(clients=["anna", "bob"], extra={"supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}})
    options = {
        "jid": f"house@{DOMAIN}", "server": f"127.0.0.1:{server.port}", "ca": server.ca, "retry_s": 1,
        "people": {
            "anna": {"jid": f"anna@{DOMAIN}", "to": "client/anna"},
            "bob": {"jid": f"bob@{DOMAIN}", "to": "client/bob", "taken_by": "server"},
            "nobody": {"jid": f"nobody@{DOMAIN}"},
        },
    }  # fmt: skip
    needs = {
        "egress": [{"to": [f"127.0.0.1:{server.port}"], "why": "the server"}],
        "read": [{"path": str(server.folder), "why": "the authority of a test"}],
    }
    used = "[send, sent, inbox, read, acknowledge, watch]"
    steps: tuple[tuple[str, dict[str, Any], dict[str, Any], list[str]], ...] = (
        (MESSAGES, {}, {}, [f"client/anna: {used}", f"client/bob: {used}", "client/admin: *"]),
        (XMPP, options, needs, ["client/admin: *"]),
    )
    try:
        made.start()
        for address, values, wants, allow in steps:
            words = [f"--option={key}={json.dumps(value)}" for key, value in values.items()]
            words += [f"--needs={key}={json.dumps(value)}" for key, value in wants.items()]
            words += [f"--allow={rule}" for rule in allow]
            added = made.cli("component", "add", address, "--yes", *words)
            assert added.returncode == 0 or "secret" in added.stdout + added.stderr, added
        set_secret(made, "password", PASSWORD.encode(), XMPP)
        with made.client() as admin:
            until(lambda: is_connected(made, admin))
        yield made
        if request.session.testsfailed > failed:
            made.print_logs()
            print(server.log())
    finally:
        made.close()


@pytest.fixture(scope="module")
def anna(people: People, host: RunningHost) -> App:
    return people.app("anna")


def is_connected(host: RunningHost, admin: Any) -> bool:
    if host.loop(PROCESS)["state"] != "active":
        return False
    return admin.call(XMPP, "people", timeout_s=60)["anna"]["away"] is None


def states(client: Any, id: str) -> list[str]:
    found = client.call(MESSAGES, "sent")["messages"]
    return [one["state"] for message in found if message["id"] == id for one in message["recipients"]]


def inbox(client: Any) -> list[dict[str, Any]]:
    found = client.call(MESSAGES, "inbox", after=0)["messages"]
    return [client.call(MESSAGES, "read", one["id"]) for one in found]


def test_a_conversation_goes_both_ways_and_keeps_its_thread(host: RunningHost, anna: App) -> None:
    with host.client("bob") as bob:
        id = bob.call(MESSAGES, "send", XMPP, "dinner is <ready> \x1b[1m", topic="anna.kitchen")["id"]
        until(lambda: anna.texts)
        wire, text = anna.heard[0]
        assert text == "[client/bob] dinner is <ready> \N{REPLACEMENT CHARACTER}[1m"
        until(lambda: states(bob, id) == ["acknowledged"])
        said = anna.say("house", "I am coming", more=f'<reply xmlns="urn:xmpp:reply:0" id="{wire}"/>')
        [answer] = until(lambda: inbox(bob))
        assert (answer["from"], answer["in_reply_to"], answer["body"]) == (XMPP, id, "I am coming")
        until(lambda: said in anna.receipts)
        back = bob.call(MESSAGES, "send", XMPP, "it gets cold", in_reply_to=answer["id"])["id"]
        until(lambda: len(anna.texts) == 2)
        assert anna.replies[1] == said
        until(lambda: states(bob, back) == ["acknowledged"])
        bob.call(MESSAGES, "acknowledge", [answer["id"]])


def test_what_comes_goes_to_whom_the_options_name(host: RunningHost, people: People, anna: App) -> None:
    eve = people.app("eve")
    eve.say("house", "I am anna", more=f'<stanza-id xmlns="urn:xmpp:sid:0" id="x" by="house@{DOMAIN}"/>')
    eve.raw(f"<message to='house@{DOMAIN}' from='anna@{DOMAIN}/x' type='chat'><body>forged</body></message>")
    with host.client("anna") as reader:
        anna.say("house", "one")
        anna.say("house", "one")
        found = until(lambda: len(all := inbox(reader)) == 2 and all)
        assert {(one["from"], one["topic"], one["body"]) for one in found} == {(XMPP, "anna", "one")}
        reader.call(MESSAGES, "acknowledge", [one["id"] for one in found])
    eve.leave()


def test_nothing_is_lost_while_each_of_them_is_away(host: RunningHost, server: Prosody, people: People) -> None:
    """The carrier is killed, then the server: what was said meanwhile arrives, once."""
    telephone = people.app("bob")
    with host.client("bob") as bob, host.client() as admin:
        host.kill(PROCESS)
        telephone.say("house", "while the carrier was away")
        until(lambda: [one["body"] for one in inbox(bob)] == ["while the carrier was away"])
        until(lambda: is_connected(host, admin))
        server.stop()
        until(lambda: "cannot connect" in (admin.call(XMPP, "people", timeout_s=60)["bob"]["away"] or ""))
        id = bob.call(MESSAGES, "send", XMPP, "while the server was away", topic="bob")["id"]
        server.start()
        until(lambda: states(bob, id) == ["acknowledged"])
        again = people.app("bob")
        until(lambda: again.texts or telephone.texts)
        assert [one["body"] for one in inbox(bob)] == ["while the carrier was away"]


def test_who_is_not_there_is_told(host: RunningHost) -> None:
    with host.client("bob") as bob:
        before = len(inbox(bob))
        ids = [bob.call(MESSAGES, "send", XMPP, "x", topic=topic)["id"] for topic in ("nobody", "carol")]
        found = until(lambda: len(all := inbox(bob)) == before + 2 and all)
        words = {one["in_reply_to"]: one["body"] for one in found if one["in_reply_to"] in ids}
        assert words[ids[0]] == "the server of nobody refuses this message: service-unavailable"
        assert words[ids[1]] == "the topic 'carol' names no person: use one of anna, bob, nobody"


def test_the_carrier_breaks_no_rule_of_its_sandbox(host: RunningHost) -> None:
    with host.client("anna") as client, pytest.raises(Denied):
        client.call(XMPP, "people")
    assert host.loop(PROCESS)["violations"] == 0
