"""Attacked sentence: one touch of a decoy is answered by the stated step within 200 ms, and nobody else is.

A host that acts on what it finds, with no address on its list of friends. The time is the host's own, from before the
touch to the event of the step.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
from attackers.arena import PACKAGE, VICTIM, request_body, seal
from attackers.loop_scripts import SCRIPTS
from attackers.tls_peer import TlsPeer, open_session
from hosts.decoy_events import Watch, watching
from hosts.running_host import RunningHost, free_port, running

from tlsrt import Client
from tlsrt.channels.client.connection import client_context
from tlsrt.channels.clock import boottime_ms
from tlsrt.config.bundle import read_bundle, write_bundle
from tlsrt.errors import EX_TEMPFAIL, CallError, Quarantined
from tlsrt.loops.door.tarpit import HEAD
from tlsrt.sandbox.apply.root_filesystem import CANARY
from tlsrt.supervisor.cli.main import main

PORT = free_port()
SCANNER, THIEF = "127.0.0.9", "127.0.0.10"  # addresses of this machine that nobody else here uses
STEP_MS = 200
TOOK: list[int] = []


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    scripts = {address: {"class": "captured.script:Script", "process": "shared"} for address in SCRIPTS.values()}
    yield from running(
        request, packages=[PACKAGE], clients=["guest", "ops"], may={"ops": ["operate"]},
        detection={"mode": "act", "allow": ["127.0.0.1"]},
        components={VICTIM: {"class": "captured.counter:Counter", "process": "shared"}, **scripts},
        policy={
            f"client/guest -> {VICTIM}": ["value"], f"client/ops -> {VICTIM}": ["value"],
            f"client/admin -> {VICTIM}": "*", **{f"client/admin -> {address}": "*" for address in scripts},
        },
        extra={"deception": {"endpoint": {"host": "127.0.0.1", "port": PORT}}},
    )  # fmt: skip


def wait_for_step(watch: Watch, since_ms: int, step: str, subject: str = "") -> None:
    while True:
        event = watch.next("response")
        if event["fields"]["step"] == step and subject in (event["subject"], ""):
            TOOK.append(event["boottime_ms"] - since_ms)
            return


def release(host: RunningHost, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """End what is done about a name, once it is: the event of a step goes out before its record is on the disk."""

    def is_shown(_: object) -> bool:
        capsys.readouterr()
        assert main(["quarantine", "list", "--config", str(host.config_path)]) == 0
        return name in capsys.readouterr().out

    host.until(is_shown, f"that {name} is shown among those about whom something is done")
    assert main(["quarantine", "release", name, "--config", str(host.config_path)]) == 0
    capsys.readouterr()


def touch(peer: TlsPeer, target: str, token: bytes, seq: int = 1) -> None:
    header = peer.header(VICTIM, "value", seq)._replace(dst=target)
    peer.send(seal(header, request_body(), token=token, body_key=bytes(32), proof_key=peer.content.proof_key))


def test_a_client_that_asks_for_a_decoy_or_brings_a_canary_is_shut_out(
    host: RunningHost, capsys: pytest.CaptureFixture[str]
) -> None:
    import base64

    path = host.base / "token.env"
    assert main(["honeypot", "plant", "token", str(path), "--config", str(host.config_path)]) == 0
    text = path.read_text().partition("=")[2].strip()
    planted = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    for target, stolen in (("secondary/vault", b""), (VICTIM, planted)):
        with watching(host) as watch, open_session(host, "admin") as other, open_session(host, "guest") as peer:
            since = boottime_ms()
            touch(peer, target, stolen or peer.content.token)
            wait_for_step(watch, since, "quarantine", "client/guest")
            header = other.header(VICTIM, "value", 1)  # who has done nothing is served
            content, right = other.content, other.right(VICTIM)
            other.send(
                seal(header, request_body(), token=content.token, body_key=right.key, proof_key=content.proof_key)
            )
            assert other.frame()
        release(host, "guest", capsys)


def test_a_quarantined_client_is_told_so_with_its_end(host: RunningHost, capsys: pytest.CaptureFixture[str]) -> None:
    with watching(host) as watch, open_session(host, "guest") as peer:
        since = boottime_ms()
        touch(peer, "secondary/vault", peer.content.token)
        wait_for_step(watch, since, "quarantine", "client/guest")
    with (
        pytest.raises(Quarantined, match="quarantined this client for") as told,
        Client(host.bundle("guest")) as client,
    ):
        client.call(VICTIM, "value")
    assert 0 < told.value.retry_after_s <= 72
    bundle = host.base / "guest.tlsrt"
    write_bundle(bundle, host.bundle("guest"))
    command = [sys.executable, "-m", "tlsrt.channels.cli.main", "--bundle", str(bundle), "call", VICTIM, "value"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == EX_TEMPFAIL and "quarantined this client for" in done.stderr, done
    release(host, "guest", capsys)


def test_a_client_that_operates_the_host_is_warned_by_one_plausible_word(
    host: RunningHost, capsys: pytest.CaptureFixture[str]
) -> None:
    with watching(host) as watch, open_session(host, "ops") as peer:
        touch(peer, "secondary/vault", peer.content.token)
        event = watch.next("decoy_touched")
        assert event["subject"] == "client/ops" and "only warned" in str(event)
        peer.frame()  # the refusal, which reads like any other
        header, right = peer.header(VICTIM, "value", 2), peer.right(VICTIM)
        peer.send(
            seal(header, request_body(), token=peer.content.token, body_key=right.key, proof_key=peer.content.proof_key)
        )
        assert peer.frame(), "it is served on"
        since = boottime_ms()
        touch(peer, "third/shell", peer.content.token, 3)
        wait_for_step(watch, since, "quarantine", "client/ops")
    release(host, "ops", capsys)


def test_who_comes_with_a_canary_bundle_or_to_the_decoy_endpoint_is_blocked(
    host: RunningHost, capsys: pytest.CaptureFixture[str]
) -> None:
    path = host.base / "operator.tlsrt"
    assert main(["honeypot", "plant", "client", str(path), "--config", str(host.config_path)]) == 0
    bundle = read_bundle(path)
    with watching(host) as watch:
        since = boottime_ms()
        plain = socket.create_connection(("127.0.0.1", host.port), 30, source_address=(THIEF, 0))
        with suppress(ConnectionError), client_context(bundle).wrap_socket(plain, server_hostname="127.0.0.1") as thief:
            wait_for_step(watch, since, "block", THIEF)
            while thief.recv(4096):
                continue
        since = boottime_ms()
        with socket.create_connection(("127.0.0.1", PORT), 30, source_address=(SCANNER, 0)) as scanner:
            scanner.sendall(b"\x16\x03\x01" + bytes(100))
            assert scanner.recv(100) == HEAD
            wait_for_step(watch, since, "block", SCANNER)
    with open_session(host, "guest"):
        pass  # from an address that has done nothing
    for address in (THIEF, SCANNER):
        release(host, address, capsys)


def test_a_loop_that_opens_a_canary_file_is_another_process_and_two_such_loops_lock_the_host(host: RunningHost) -> None:
    incarnation = host.loop("third")["incarnation"]
    with watching(host) as watch:
        since = boottime_ms()
        with suppress(CallError):  # it may be gone before it has answered
            host.client().call(SCRIPTS["third"], "read_file", CANARY)
        wait_for_step(watch, since, "respawn", "third")
        host.until(lambda document: host.loop("third")["state"] == "active", "an active third")
        assert host.loop("third")["incarnation"] > incarnation and host.status()["lock"] is None
        since = boottime_ms()
        with suppress(CallError):
            host.client().call(SCRIPTS["external"], "read_file", CANARY)
        wait_for_step(watch, since, "lock")
    host.until(lambda document: document["lock"] is not None, "the lock")


def test_the_steps_came_within_200_ms() -> None:
    assert len(TOOK) == 8 and sorted(TOOK)[3] <= STEP_MS, TOOK  # a busy machine may delay some
