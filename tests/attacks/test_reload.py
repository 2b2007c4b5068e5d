"""Attacked sentence: profile and epoch are one boundary; what a reload took away is gone, and so are the keys before.

The epoch of a reload leaves no grace, so nothing here waits for one to be over.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from attackers.arena import IN_PRIMARY, STAGE, THIEF, VICTIM, Arena, request_body
from hosts.reloading_host import PROBED, edit, entry_of, outcomes, reload, set_loop
from hosts.running_host import RunningHost, running

# The host lets a loop live that was late for an epoch: the refusals are to be seen without its death.
MERCIFUL = """
from tlsrt.supervisor.reload import rollout
from tlsrt.supervisor.supervision import findings
findings.FATAL = ()
rollout.SLACK_S = 3.0  # until the end of who does not end is waited for
"""


@pytest.fixture(scope="module")
def probed(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **PROBED)


def test_the_keys_of_the_epoch_before(arena: Arena) -> None:
    """A captured loop that stays alive keeps them, and every frame that it seals with them is refused."""
    third, host = arena.third, arena.host
    third.learn()
    epoch, frame = third.loot["epoch"], third.genuine()
    header, token, proof_key = third.header(), third.token, third.session()["proof_key"]
    set_loop(host, "forth", memory_mb=333)
    report = reload(host)
    assert outcomes(report)["third"] == "unchanged" and report["epoch"] == epoch + 1
    arena.mark()
    third.send(frame)
    arena.refused("stale_epoch", told=["stale"])
    again = third.forge(header._replace(seq=1 << 20), request_body(1), token=token, proof_key=proof_key)
    third.send(again)
    arena.refused("stale_epoch", told=["stale"])
    arena.client.call(IN_PRIMARY, "deliver", "secondary", [again])
    arena.refused("stale_epoch", by="secondary")
    third.learn()
    assert third.loot["epoch"] == epoch + 1 and third.token != token
    third.send(third.forge(third.header(), request_body(1), token=token))
    arena.refused("token_epoch", told=["rejected"])
    third.send(third.genuine())
    arena.total += 1
    arena.refused(told=[])


def test_a_right_that_was_taken_away(arena: Arena) -> None:
    """The thief keeps its old token, its old key and its knowledge of the method: none of them is good any more."""
    third, host, line = arena.third, arena.host, f"{THIEF} -> {VICTIM}"
    third.learn()
    header, token, proof_key = third.header(), third.token, third.session()["proof_key"]
    body_key = third.right(VICTIM)["key"]
    text = host.config_path.read_text()
    edit(host, lambda document: document["policy"].update({line: ["value"]}))
    assert reload(host)["policy"] == "changed"
    third.learn()
    arena.mark()
    again = third.forge(header, request_body(1), token=token, body_key=body_key, proof_key=proof_key)
    third.send(again)
    arena.refused("stale_epoch", told=["stale"])
    third.send(third.genuine())
    arena.refused("not_allowed", told=["rejected"])
    arena.client.call(IN_PRIMARY, "deliver", "secondary", [third.genuine()])
    arena.refused("not_allowed", by="secondary")
    host.config_path.write_text(text)
    assert reload(host)["policy"] == "changed"
    third.learn()
    arena.mark()
    third.send(third.genuine())
    arena.total += 1
    arena.refused(told=[])


def test_who_does_not_acknowledge_is_refused_with_old_and_new_keys(request: pytest.FixtureRequest) -> None:
    for host in running(
        request,
        **{**STAGE, "prelude": STAGE["prelude"] + MERCIFUL},
        limits={"stop_timeout_s": 0.5, "ready_timeout_s": 2.0},
    ):
        client, seen = host.client(), len(host.console)
        client.call("third/captured", "disobey", THIEF, VICTIM, "add", request_body(1))
        set_loop(host, "forth", memory_mb=333)
        thread = threading.Thread(target=reload, args=(host,), kwargs={"code": 69})
        thread.start()
        host.wait_for("^authority +unprepared +third", after=seen)
        total = client.call(VICTIM, "value", idempotent=True)
        refused = len(host.log("primary"))
        host.until(lambda document: " from third" in host.log("primary")[refused:], "refusals")  # noqa: B023
        lines = [line for line in host.log("primary")[refused:].splitlines() if " from third" in line]
        words = {line.partition("refused a frame: ")[2].partition(" from ")[0] for line in lines}
        assert words <= {"revoked", "not_attested", "stale_epoch"}, words
        assert client.call(VICTIM, "value", idempotent=True) == total, "none of its requests was executed any more"
        thread.join()


def test_a_path_that_was_taken_away(probed: RunningHost) -> None:
    folder = probed.base / "once"
    folder.mkdir(mode=0o755)
    (folder / "text").write_text("seen")
    text = probed.config_path.read_text()
    set_loop(probed, "third", read=[str(folder)])
    reload(probed)
    client = probed.client()
    assert client.call("third/probed", "read", str(folder / "text")) == "seen"
    probed.config_path.write_text(text)
    assert entry_of(reload(probed), "third")["outcome"] == "restarted"
    assert "seen" not in client.call("third/probed", "read", str(folder / "text"), idempotent=True)


def test_a_limit_that_was_lowered(probed: RunningHost) -> None:
    client = probed.client()
    assert client.call("secondary/probed", "descriptors", 150) == "done"
    set_loop(probed, "secondary", open_files=100)
    assert entry_of(reload(probed), "secondary")["outcome"] == "tightened live"
    for attempt in ("descriptors", "raise_limit", "descriptors"):
        answer = client.call("secondary/probed", attempt, 150 if attempt == "descriptors" else 4096, idempotent=True)
        assert answer != "done", f"{attempt}: the loop got back what was taken away"


def test_an_address_that_was_taken_away(probed: RunningHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        text = probed.config_path.read_text()
        set_loop(probed, "external", egress=[{"to": [f"127.0.0.1:{port}"], "why": "for this test"}])
        reload(probed)
        client = probed.client()
        assert client.call("external/probed", "connect", port, idempotent=True) == "done"
        probed.config_path.write_text(text)
        # The process goes, and with it the connections that it had.
        assert entry_of(reload(probed), "external")["outcome"] == "restarted"
        assert client.call("external/probed", "connect", port, idempotent=True).startswith("PermissionError")
