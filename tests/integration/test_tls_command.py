"""The `tlsrt` command as a process, against a real door with a fake host behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.door_host import GRANTED, STORE, DoorHost, Site, in_a_thread

from tlsrt.config.bundle import write_bundle

COMMAND = (sys.executable, "-m", "tlsrt.channels.cli.main")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site()
    write_bundle(bundle_path(tmp_path_factory), site.bundle)
    yield site
    site.listener.close()


def bundle_path(factory: pytest.TempPathFactory) -> Path:
    return factory.getbasetemp() / "command.tlsrt"


@pytest.fixture
def host(site: Site) -> Iterator[DoorHost]:
    with in_a_thread(site) as host:
        yield host


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {**os.environ, "TLSRT_BUNDLE": str(bundle_path(tmp_path_factory))}


def tlsrt(environment: dict[str, str], *arguments: str, data: bytes = b"") -> Any:
    return subprocess.run((*COMMAND, *arguments), env=environment, input=data, capture_output=True, timeout=20)


def test_call_prints_results(host: DoorHost, environment: dict[str, str]) -> None:
    done = tlsrt(environment, "call", STORE, "put", "5", "5", "ttl_s=1.5")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"5\n5\n", b"")
    assert host.seen[-1][1] == ["5", 5]  # a str stays a word, any becomes JSON
    done = tlsrt(environment, "call", STORE, "echo", '{"a": 1}', "--json")
    assert json.loads(done.stdout) == [{"a": 1}]


def test_streams_print_a_line_an_item(host: DoorHost, environment: dict[str, str]) -> None:
    done = tlsrt(environment, "call", STORE, "count", "3")
    assert (done.returncode, done.stdout) == (0, b"0\n1\n2\n")


def test_bytes_are_raw_in_a_pipe(host: DoorHost, environment: dict[str, str]) -> None:
    done = tlsrt(environment, "call", STORE, "blob", "100")
    assert (done.returncode, done.stdout) == (0, bytes(range(256)) * 100)


def test_uploads_come_from_standard_input(host: DoorHost, environment: dict[str, str]) -> None:
    done = tlsrt(environment, "call", STORE, "save", "name", data=bytes(100_000))
    assert (done.returncode, done.stdout) == (0, b"name\n")


def test_describe_and_whoami(host: DoorHost, environment: dict[str, str]) -> None:
    text = tlsrt(environment, "describe").stdout.decode()
    assert text.startswith(f"{STORE}  Keeps values.\n  get(key: str) -> any\n      What it does.\n")
    assert "secret" not in text
    described = json.loads(tlsrt(environment, "describe", STORE, "--json").stdout)
    assert tuple(described[STORE]["methods"]) == GRANTED
    me = tlsrt(environment, "whoami").stdout.decode()
    assert "client/admin" in me and STORE in me
    assert json.loads(tlsrt(environment, "whoami", "--json").stdout)["rights"] == {STORE: list(GRANTED)}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("call", STORE, "get", "x"), 1, "no key x"),
        (("call", STORE, "secret"), 77, "may not call secret"),
        (("call", "third/io", "read"), 77, "third/io"),
        (("call", STORE, "count", "many"), 64, "number: 'many' is not of type int"),
        (("call", STORE, "get"), 64, "key is missing"),
        (("--timeout", "0.3", "call", STORE, "hang"), 75, "no answer in time"),
        (("--address", "127.0.0.1:1", "whoami"), 69, "cannot reach 127.0.0.1:1"),
        (("--address", "nowhere", "whoami"), 78, "an address is HOST:PORT"),
        (("--bundle", "/nothing", "whoami"), 78, "there is no client bundle at /nothing"),
    ],
)
def test_failures_are_one_sentence_and_a_code(
    host: DoorHost, environment: dict[str, str], arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    done = tlsrt(environment, *arguments)
    error = done.stderr.decode()
    assert (done.returncode, done.stdout) == (code, b"")
    assert error.startswith("tlsrt: ") and sentence in error and error.count("\n") == 1


def test_a_refused_session(host: DoorHost, environment: dict[str, str]) -> None:
    host.refusal = "locked"
    done = tlsrt(environment, "whoami")
    assert done.returncode == 4 and b"the server is locked" in done.stderr


def started(host: DoorHost, environment: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        (*COMMAND, *arguments),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )


def test_ctrl_c_is_quiet(host: DoorHost, environment: dict[str, str]) -> None:
    host.on_request.clear()
    with started(host, environment, "call", STORE, "hang") as process:
        while True:
            assert host.on_request.wait(10)
            host.on_request.clear()
            if host.seen[-1][0] == "hang":
                break
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=10)
    assert (process.returncode, out, error) == (130, b"", b"")


def test_a_closed_pipe_is_quiet(host: DoorHost, environment: dict[str, str]) -> None:
    with started(host, environment, "call", STORE, "count", "20000") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert (process.wait(10), process.stderr.read()) == (141, b"")
