"""Attacked sentences: collectors that misbehave stop no call; a captured export process has no file and no network."""

from __future__ import annotations

import json
import os
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hosts.collectors import NAME, Collector, OtlpRequests, SyslogMessages, make_files, server_context, until
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost, running
from probes.process_memory import found_in

# Times of a minute are short here; and what code in the export process tries, when a collector says a word.
PRELUDE = """
import json, os, socket
import tlsrt.supervisor.export.sender as sender
sender.OPEN_S = sender.SILENT_S = 0.5
sender._CAP_S = sender.DROPPED_S = 0.5
_heard = sender.HttpSender._heard_untrusted

def _errno(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0

def _captured(self, connection, data):
    word = data.partition(b"captured:")[2].split()[:1]
    if word == [b"tries"]:
        paths = ("/etc/passwd", "/proc/1/mem", "/run", "/state", "/tmp", "/etc/hosts", "/proc/self/mem")
        tried = {path: _errno(lambda: os.close(os.open(path, os.O_RDONLY))) for path in paths}
        os.write(2, ("tried " + json.dumps(tried) + "\\n").encode())
    elif word == [b"reaches"]:
        socket.socket(socket.AF_INET)
    elif word == [b"hurries"]:
        for _ in range(2):
            self._report._supervisor.send("connect", 0, 0)
    elif word == [b"floods"]:
        for _ in range(100):
            self._report.dropped(0, 1)
    elif word == [b"invents"]:
        self._report._supervisor.send("connect", 9, 0)
    _heard(self, connection, data)

sender.HttpSender._heard_untrusted = _captured
"""


@dataclass
class Stage:
    """A host and its two collectors."""

    host: RunningHost
    syslog: Collector
    messages: SyslogMessages
    otlp: Collector
    requests: OtlpRequests
    context: ssl.SSLContext
    foreign: ssl.SSLContext

    def is_served(self) -> bool:
        return (self.host.status()["export"] or {}).get("state") == "active"


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    files = make_files(tmp_path_factory.mktemp("collectors"))
    other = make_files(tmp_path_factory.mktemp("others"))
    messages, requests, context = SyslogMessages(), OtlpRequests(), server_context(files)
    with Collector(messages.read, context) as syslog, Collector(requests.read) as otlp:
        extra = {
            "log": {
                "syslog": {"address": f"127.0.0.1:{syslog.port}", "name": NAME, "ca": str(files.ca)},
                "otlp": {"endpoint": f"http://127.0.0.1:{otlp.port}"},
            }
        }
        for host in running(request, extra=extra, prelude=LatePrelude(PRELUDE)):
            yield Stage(host, syslog, messages, otlp, requests, context, server_context(other))


def silent(peer: socket.socket) -> None:
    while peer.recv(65536):
        pass


def deaf(peer: socket.socket) -> None:
    time.sleep(5)


def garbage(peer: socket.socket) -> None:
    peer.sendall(os.urandom(100_000))
    silent(peer)


def closing(peer: socket.socket) -> None:
    peer.recv(1)


def endless(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        peer.sendall(b"X: " + b"a" * 10_000 + b"\r\n")


def away(peer: socket.socket) -> None:
    peer.recv(65536)
    peer.sendall(b"HTTP/1.1 503 Away\r\nRetry-After: 0\r\n\r\n")


def sequences(stage: Stage) -> set[int]:
    found = {
        attribute["value"]["stringValue"]
        for record in stage.requests.records() for attribute in record["attributes"]
        if attribute["key"] == "TLSRT_SEQUENCE"
    }  # fmt: skip
    return {int(one) for one in found}


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (silent, "it does not answer"), (garbage, "it refuses"), (closing, "it ends connections"),
        (endless, "it refuses"), (away, "it refuses"),
    ],
)  # fmt: skip
def test_a_collector_that_misbehaves_stops_no_call_and_gets_all_later(stage: Stage, behave: object, words: str) -> None:
    stage.otlp.behave = behave  # type: ignore[assignment]
    for _ in range(3):
        with stage.host.client() as client:
            client.call("primary/kernel", "describe", timeout_s=5)
    stage.host.told("collector_lost", f"otlp logs 127.0.0.1:{stage.otlp.port}: {words}")
    stage.otlp.behave = stage.requests.read
    last = json.loads(stage.host.cli("events", "-n", "1", "--json").stdout)["seq"]
    until(lambda: sequences(stage) >= set(range(1, last + 1)), "all events")
    stage.host.told("collector_back")


@pytest.mark.parametrize(
    ("behave", "is_foreign", "words"),
    [
        (garbage, None, "its certificate or its TLS"), (silent, True, "its certificate or its TLS"),
        (deaf, None, "it does not answer"), (closing, False, "it ends connections"),
    ],
)  # fmt: skip
def test_a_collector_of_syslog_is_the_right_one_or_gets_nothing(
    stage: Stage, behave: object, is_foreign: bool | None, words: str
) -> None:
    stage.syslog.cut()
    stage.syslog.behave = behave  # type: ignore[assignment]
    stage.syslog.context = None if is_foreign is None else stage.foreign if is_foreign else stage.context
    with stage.host.client() as client:
        client.call("primary/kernel", "describe", timeout_s=5)
    stage.host.told(f"syslog 127.0.0.1:{stage.syslog.port}: {words}")
    stage.syslog.behave, stage.syslog.context = stage.messages.read, stage.context
    stage.syslog.cut()
    before = len(stage.messages.messages)
    until(lambda: any("collector_lost" in one for one in stage.messages.messages[before:]), "what was missed")


def test_what_is_captured_has_no_file_no_key_and_no_network(stage: Stage) -> None:
    stage.requests.more = "X: captured:tries\r\n"
    log = stage.host.config.log_dir / "export.log"
    until(lambda: "tried" in log.read_text(), "the tries")
    stage.requests.more = ""
    tried = json.loads(log.read_text().partition("tried ")[2].splitlines()[0])
    assert 0 not in {errno for path, errno in tried.items() if path != "/proc/self/mem"}, tried
    pid = stage.host.status()["export"]["pid"]
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    assert [int(line.split()[1], 16) for line in lines if line.startswith("Cap")] == [0] * 5
    keys = {"master key": (stage.host.folder / "master.key").read_bytes()}
    assert found_in(pid, keys) == set()


@pytest.mark.parametrize(
    ("word", "reason"),
    [("reaches", "violation"), ("hurries", "hurried"), ("floods", "flood"), ("invents", "no_such_collector")],
)
def test_a_captured_one_that_wants_more_is_killed_and_another_sends(stage: Stage, word: str, reason: str) -> None:
    before = stage.host.status()["export"]["restarts"]
    stage.requests.more = f"X: captured:{word}\r\n"
    with stage.host.client() as client:
        client.call("primary/kernel", "describe")
    stage.host.until(lambda status: status["export"]["restarts"] > before, "its end")
    stage.requests.more = ""
    stage.host.until(lambda status: stage.is_served(), "the next one")
    assert reason in stage.host.status()["export"]["last_death"]["sentence"]
