"""Canaries and decoy paths of a running host, and the command that lists, plants and tests."""

from __future__ import annotations

import http.client
import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import request_body, seal
from attackers.tls_peer import open_session
from hosts.decoy_events import events, watching
from hosts.host_files import issue_client
from hosts.running_host import RunningHost, free_port, running

from tlsrt import Client
from tlsrt.channels.client.connection import client_context
from tlsrt.channels.clock import boottime_ms
from tlsrt.config.bundle import read_bundle
from tlsrt.config.deception import COMPONENTS, PATHS
from tlsrt.errors import CallError
from tlsrt.loops.door.tarpit import HEAD
from tlsrt.supervisor.cli.main import main

STORE = "secondary/store"
PORT = free_port()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, clients=["web"], http=["web"], policy={f"client/web -> {STORE}": ["get"]},
        extra={"deception": {"endpoint": {"host": "127.0.0.1", "port": PORT, "max_per_address": 4}}},
        detection={"mode": "observe"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def token(host: RunningHost) -> str:
    """A canary token with the number 3, as text."""
    path = host.base / "token.env"
    done = host.cli("honeypot", "plant", "token", str(path), "--number", "3")
    assert done.returncode == 0, done.stderr
    assert "canary token 3" in done.stdout and stat.S_IMODE(path.stat().st_mode) == 0o600
    return path.read_text().removeprefix("TLSRT_TOKEN=").strip()


def browse(host: RunningHost, *paths: str, **headers: str) -> list[tuple[int, bytes, list[tuple[str, str]]]]:
    context = client_context(host.bundle("web"))
    context.set_alpn_protocols(["http/1.1"])
    connection = http.client.HTTPSConnection("127.0.0.1", host.port, context=context, timeout=30)
    answers: list[tuple[int, bytes, list[tuple[str, str]]]] = []
    for path in paths:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answers.append((answer.status, answer.read(), [each for each in answer.getheaders() if each[0] != "date"]))
    connection.close()
    return answers


def test_a_canary_token_in_a_frame(host: RunningHost, token: str) -> None:
    import base64

    planted = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    with watching(host) as watch, open_session(host, "admin") as peer:
        content = peer.content
        for stolen in (bytes(len(planted)), planted):  # the first is none
            since = boottime_ms()
            header = peer.header(STORE, "get", 1)
            frame = seal(
                header, request_body("x"), token=stolen, body_key=peer.right(STORE).key, proof_key=content.proof_key
            )
            peer.send(frame)
            assert peer.frame()
        event = watch.touched(since)
    assert event["subject"] == "client/admin" and event["fields"] == {"decoy": "token 3"}


def test_a_canary_token_over_http(host: RunningHost, token: str) -> None:
    with watching(host) as watch:
        since = boottime_ms()
        (status, _, _), *_ = browse(host, "/v1/", Authorization=f"Bearer {token}")
        assert status == 200  # as if nobody had looked
        assert watch.touched(since)["fields"]["decoy"] == "token 3"


def test_a_canary_client_is_refused_as_any_unknown_one_and_known_by_its_address(host: RunningHost) -> None:
    path = host.base / "operator.tlsrt"
    assert host.cli("honeypot", "plant", "client", str(path), "--number", "7").returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    issue_client(host.folder, "stranger")
    told: list[str] = []
    with watching(host) as watch:
        for bundle in (read_bundle(path), host.bundle("stranger")):
            since = boottime_ms()
            with pytest.raises(CallError) as refused, Client(bundle) as client:
                client.call(STORE, "get", "x", timeout_s=10)
            told.append(str(refused.value))
            if bundle.name == "operator":
                event = watch.touched(since)
                assert event["fields"] == {"decoy": "client 7", "address": "127.0.0.1"} and event["subject"] == "door"
    assert told[0] == told[1]


def test_each_decoy_path_is_answered_as_any_other_that_there_is_not(host: RunningHost) -> None:
    with watching(host) as watch:
        since = boottime_ms()
        plain, *answers = browse(host, "/nothing", *PATHS)
        assert plain[0] == 404 and all(answer == plain for answer in answers)
        found = [watch.touched(since)["fields"]["decoy"]] + [
            watch.next("decoy_touched")["fields"]["decoy"] for _ in PATHS[1:]
        ]
    assert found == [f"path {path}" for path in PATHS]


def test_who_speaks_to_the_decoy_endpoint_is_told_of_and_held_and_no_more_than_so_many(host: RunningHost) -> None:
    held: list[socket.socket] = []
    with watching(host) as watch:
        since = boottime_ms()
        for _ in range(4):
            held.append(socket.create_connection(("127.0.0.1", PORT), timeout=30))
            held[-1].sendall(b"\x16\x03\x01" + bytes(200))
            assert held[-1].recv(100) == HEAD
        event = watch.touched(since)
        assert (event["subject"], event["fields"]) == ("door", {"decoy": "endpoint", "address": "127.0.0.1"})
    with socket.create_connection(("127.0.0.1", PORT), timeout=30) as one_too_many:
        assert one_too_many.recv(100) == b""
    with host.client() as client:  # the door minds nothing
        assert client.call("primary/kernel", "uname")
    for client_socket in held:
        client_socket.close()


def test_what_behaves_touches_nothing(host: RunningHost) -> None:
    before = [event for event in events(host) if event["name"] == "decoy_touched"]
    answers = browse(host, "/v1/openapi.json", "/v1/", "/favicon.ico", "/", Authorization="Bearer of-good-news")
    shown = answers[0][1].decode() + answers[1][1].decode()
    assert not [name for name in COMPONENTS if name in shown]
    with watching(host) as watch, host.client():
        watch.next("session_opened")
    assert [event for event in events(host) if event["name"] == "decoy_touched"] == before


def test_a_trial_when_one_is_asked_for(host: RunningHost) -> None:
    done = host.cli("honeypot", "test", "--json")
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0 and answer["heard"] and answer["took_ms"] < 2_000, done.stderr


def honeypot(host: RunningHost, *words: str) -> int:
    """Run the command in this process, which takes less time."""
    return main(["honeypot", *words, "--config", str(host.config_path)])


def test_the_list(host: RunningHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert honeypot(host, "list", "--json") == honeypot(host, "list") == 0
    document, _, table = capsys.readouterr().out.partition("}\n")
    listed = json.loads(document + "}")
    assert listed["components"] == list(COMPONENTS) and listed["paths"] == list(PATHS) and listed["tokens"] == 16
    assert "component  secondary/vault" in table


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("plant",), 64, "the following arguments are required: KIND, FILE"),
        (("plant", "token", "{base}/there"), 78, "exists, and a canary never overwrites"),
        (("plant", "token", "{base}/no/where"), 78, "there is no folder"),
        (("plant", "token", "{base}/new", "--number", "16"), 64, "--number is from 0 to 15"),
        (("plant", "client", "{base}/new", "--name", "admin"), 78, "admin is a client of this host"),
        (("plant", "client", "{base}/new", "--name", "Admin"), 78, "'Admin' is no client name"),
        (("list", "token"), 64, "too many arguments: token"),
    ],
)
def test_what_cannot_be_done(
    host: RunningHost, words: tuple[str, ...], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (host.base / "there").write_text("kept")
    assert honeypot(host, *(word.format(base=host.base) for word in words)) == code
    assert sentence in capsys.readouterr().err
    assert (host.base / "there").read_text() == "kept" and not Path(host.base / "new").exists()
