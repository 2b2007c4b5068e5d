"""Attacked sentence: nobody acts on the host from a console but who may, for that act, and no one is harmed by a name.

One real host with third/operate, as an operator adds it, and with a captured component that has the same rights.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgpack
import pytest
from attackers.arena import PACKAGE, header_of, request_body, seal
from attackers.tls_peer import open_session, request
from hosts.running_host import RunningHost, running

from tlsrt import Client
from tlsrt.channels.control.life import PERSONS_AT_ONCE
from tlsrt.channels.frames.frame import FrameKind
from tlsrt.config.bundle import read_bundle
from tlsrt.errors import Busy, CallError, Denied, InvalidArgument, NotFound, Rejected

OPERATE, STATUS, CAPTURED, BYSTANDER = "third/operate", "third/status", "third/captured", "secondary/bystander"
NEEDS = [
    {"may": "restart", "components": ["secondary/store", STATUS, OPERATE, "secondary/none"], "why": "a test"},
    {"may": "pause", "components": [STATUS], "why": "a test"},
    *({"may": one, "why": "a test"} for one in ("lock", "release", "revoke")),
]
RESTART, RELEASE, REVOKE = 0, 3, 4  # of the captured one
ALL = ["targets", "restart", "pause", "resume", "lock", "release", "revoke"]


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    one = {"class": "captured.helped:Helped"}
    rights = [
        {"may": "restart", "components": [BYSTANDER], "why": "a test"},
        {"may": "pause", "components": [BYSTANDER], "why": "a test"},
        *({"may": each, "why": "a test"} for each in ("release", "revoke")),
    ]
    for host in running(
        request, packages=[PACKAGE], clients=["looker", "guest", "stranger"],
        components={CAPTURED: one | {"needs": {"runtime": rights}}, BYSTANDER: one},
        policy={f"client/admin -> {CAPTURED}": "*", "client/guest -> secondary/store": ["get"],
                f"client/stranger -> {CAPTURED}": ["hears"]},
        extra={"detection": {"mode": "act", "allow": ["127.0.0.1"]}},
    ):  # fmt: skip
        added = host.cli("component", "add", STATUS, "--yes", "--allow", 'client/looker: "*"')
        assert added.returncode == 0, added.stderr
        needs = f"runtime={json.dumps(NEEDS)}"
        allow = ["--allow", f"client/admin: {json.dumps(ALL)}", "--allow", "client/looker: [targets]"]
        added = host.cli("component", "add", OPERATE, "--yes", "--needs", needs, *allow)
        assert added.returncode == 0, added.stderr
        yield host


def records(host: RunningHost, component: str = OPERATE) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in host.cli("audit", "tail", "-n", "500", "--json").stdout.splitlines()]
    return [one for one in lines if "runtime_act" in json.dumps(one) and component in json.dumps(one)]


def enrolled(host: RunningHost, name: str, allow: str = "secondary/store: *") -> None:
    added = host.cli("client", "add", name, "--allow", allow, "--bundle", str(host.folder / f"{name}.tlsrt"))
    assert added.returncode == 0, added.stderr


def sha(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def test_a_restart_is_recorded_with_who_asked_before_it_is_done(host: RunningHost) -> None:
    before = host.loop("third.status")["pid"]
    assert host.client().call(OPERATE, "targets")["pause"] == [STATUS]
    assert host.client().call(OPERATE, "restart", STATUS) is None
    assert host.loop("third.status")["pid"] not in (None, before) and host.loop("third.status")["state"] == "active"
    [record] = records(host)
    said = json.dumps(record)
    assert "client/admin" in said and '"restart"' in said and STATUS in said
    assert f"{OPERATE}: restart {STATUS}, for client/admin" in host.told("runtime_act")


def test_who_may_only_look_calls_no_act(host: RunningHost) -> None:
    looker, before = host.client("looker"), len(records(host))
    assert set(looker.call(OPERATE, "targets")) == {"restart", "pause", "lock", "release", "revoke"}
    for act, words in (("restart", [STATUS]), ("pause", [STATUS]), ("resume", [STATUS]), ("lock", []),
                       ("release", ["client/guest"]), ("revoke", ["guest"])):  # fmt: skip
        with pytest.raises((Denied, Rejected)):
            looker.call(OPERATE, act, *words)
    assert len(records(host)) == before and host.status()["door"]["locked"] is False


def test_a_pause_lasts_until_it_is_resumed(host: RunningHost) -> None:
    admin = host.client()
    admin.call(OPERATE, "pause", STATUS)
    assert host.loop("third.status")["state"] == "stopped"
    admin.call(OPERATE, "resume", STATUS)
    assert host.loop("third.status")["state"] == "active"


def test_what_the_operator_stopped_and_what_carries_the_call_is_not_restarted(host: RunningHost) -> None:
    assert host.cli("stop", "third.status").returncode == 0
    with pytest.raises(Denied, match="the operator"):
        host.client().call(OPERATE, "restart", STATUS)
    assert host.cli("start", "third.status").returncode == 0
    with pytest.raises(Denied, match="only the operator"):
        host.client().call(OPERATE, "restart", OPERATE)
    with pytest.raises(Denied, match="may not restart"):
        host.client().call(OPERATE, "restart", "external/network")


def test_the_same_key_restarts_once(host: RunningHost) -> None:
    """A page that lost its connection asks again with the key of its first attempt, over another session."""
    before = host.loop("third.status")["restarts"]
    body: bytes = msgpack.packb([[STATUS], {}, "k" * 20])
    with open_session(host, "admin") as lost:
        lost.send(request(lost, OPERATE, "restart", 1, body))
        host.until(lambda document: host.loop("third.status")["restarts"] > before, "the restart", timeout_s=20)
    for _ in range(2):
        with open_session(host, "admin") as peer:
            peer.send(request(peer, OPERATE, "restart", 1, body))
            assert header_of(peer.frame()).kind in (FrameKind.REPLY, FrameKind.ERROR)
    assert host.loop("third.status")["restarts"] == before + 1


@pytest.mark.parametrize("name", ["guest\nadmin", "guest' OR 1", "../guest", "g" * 400, "", "GUEST", "client/guest"])
def test_a_name_that_is_none_is_refused_by_its_shape(host: RunningHost, name: str) -> None:
    before = len(records(host))
    with pytest.raises(InvalidArgument):
        host.client().call(OPERATE, "revoke", name)
    assert len(records(host)) == before


def test_a_client_is_revoked_and_operators_and_oneself_are_not(host: RunningHost) -> None:
    enrolled(host, "phone")
    phone = Client(read_bundle(host.folder / "phone.tlsrt"))
    phone.call("secondary/store", "keys")
    admin = host.client()
    for name, why in (("admin", "only the operator"), ("guest", "only the operator")):
        with pytest.raises(Denied, match=why):  # guest is listed in the configuration
            admin.call(OPERATE, "revoke", name)
    admin.call(OPERATE, "revoke", "phone")
    with pytest.raises(CallError):
        phone.call("secondary/store", "keys", timeout_s=3)
    assert "revoked" in host.cli("client", "list").stdout
    host.told('"subject": "client/phone"', by=("audit", "tail", "-n", "20", "--json"))
    with pytest.raises(Denied, match="no such client"):
        admin.call(OPERATE, "revoke", "phone")
    phone.close()


def test_nobody_ends_itself_or_one_that_operates(host: RunningHost) -> None:
    enrolled(host, "boss", f"{OPERATE}: [revoke, release]")
    enrolled(host, "keeper")
    assert host.cli("client", "set", "keeper", "--may", "unlock").returncode == 0
    with Client(read_bundle(host.folder / "boss.tlsrt")) as boss:
        for name in ("boss", "keeper"):
            with pytest.raises(Denied, match="only the operator"):
                boss.call(OPERATE, "revoke", name)
        with pytest.raises(Denied, match="only the operator"):
            boss.call(OPERATE, "release", "client/boss")
    assert "revoked" not in [row.split()[1] for row in host.cli("client", "list").stdout.splitlines() if "boss" in row]


def test_who_is_in_quarantine_is_released_and_nobody_else(host: RunningHost) -> None:
    with open_session(host, "guest") as peer:
        header = peer.header("secondary/store", "get", 1)._replace(dst="secondary/vault")
        content = peer.content
        peer.send(seal(header, request_body(), token=content.token, body_key=bytes(32), proof_key=content.proof_key))
        host.until(lambda document: "client/guest" in document["quarantined"], "the quarantine")
    admin = host.client()
    for name in (OPERATE, "client/stranger", "client/guest\n"):
        with pytest.raises(Denied):
            admin.call(OPERATE, "release", name)
    admin.call(OPERATE, "release", "client/guest")
    assert host.status()["quarantined"] == []
    with pytest.raises(NotFound, match="no value"):  # it is served again
        host.client("guest").call("secondary/store", "get", "none")


def test_a_captured_one_names_nobody_who_did_not_ask(host: RunningHost) -> None:
    """It is said by the digest of a name: no text; and only for who has a session and may call it."""
    before, admin = len(records(host, CAPTURED)), host.client()
    enrolled(host, "victim")
    host.client("stranger").call(CAPTURED, "hears", "uevents")  # it may call that, and no `revoke`
    for asker in (b"", sha("client/looker"), sha("client/admin\n"), sha("client/stranger"), bytes(32)):
        assert admin.call(CAPTURED, "say_runtime", REVOKE, 1, 0, sha("client/victim"), asker) == "sent"
    told = host.told("runtime_act_failed")
    assert "who is said to ask has no session" in told
    assert len(records(host, CAPTURED)) == before and "victim" in host.cli("client", "list").stdout
    assert "revoked" not in next(row for row in host.cli("client", "list").stdout.splitlines() if "victim" in row)


@pytest.mark.parametrize(
    ("right", "subject", "asker"),
    [(99, b"", b""), (RESTART, b"x" * 32, b""), (REVOKE, b"", b""), (REVOKE, b"client/victim", b""),
     (RESTART, b"", b"x" * 31), (REVOKE, b"x" * 33, b"x" * 32)],
)  # fmt: skip
def test_what_no_honest_runtime_says_ends_the_process(
    host: RunningHost, right: int, subject: bytes, asker: bytes
) -> None:
    restarts, before = host.loop("third.captured")["restarts"], len(records(host, CAPTURED))
    with suppress(CallError):
        host.client().call(CAPTURED, "say_runtime", right, 1, 0, subject, asker)
    host.until(lambda document: host.loop("third.captured")["restarts"] > restarts, "its end")
    assert "no_such_" in host.loop("third.captured")["last_death"]["sentence"]
    host.until(lambda document: host.loop("third.captured")["state"] == "active", "the next one")
    assert len(records(host, CAPTURED)) == before


def test_ten_thousand_acts_a_second_do_no_more_than_their_bound(host: RunningHost) -> None:
    before, restarts = len(records(host, CAPTURED)), host.loop("secondary.bystander")["restarts"]
    with suppress(CallError):
        host.client().call(CAPTURED, "say_runtime", RESTART, 10_000, timeout_s=20)
    host.until(lambda document: host.loop("third.captured")["state"] == "active", "that it runs, or runs again")
    assert len(records(host, CAPTURED)) - before <= PERSONS_AT_ONCE + 2
    assert host.loop("secondary.bystander")["restarts"] - restarts <= PERSONS_AT_ONCE + 2
    assert host.client().call("primary/kernel", "uname")["release"], "the host is served as before"


def test_a_storm_of_locks_is_one_lock_which_no_component_ends(host: RunningHost) -> None:
    """The last one: the host stays locked until the operator unlocks it."""
    admins = [host.client() for _ in range(4)]

    def storm(client: Client) -> None:
        with suppress(CallError):
            client.call(OPERATE, "lock", timeout_s=3)

    threads = [threading.Thread(target=storm, args=(client,)) for client in admins]
    for thread in threads:
        thread.start()
    lock = host.until(lambda document: document["door"]["locked"], "the lock")
    for thread in threads:
        thread.join()
    said = json.dumps(lock)
    assert "asked for by client/admin" in said
    lines = host.cli("audit", "tail", "-n", "60", "--json").stdout.splitlines()
    locks = [one for one in lines if '"kind": "locked"' in one]
    assert len(locks) == 1 and OPERATE in locks[0]
    assert host.cli("unlock").returncode == 0
    with suppress(Busy):
        assert host.client().call(OPERATE, "targets")["lock"] is True
