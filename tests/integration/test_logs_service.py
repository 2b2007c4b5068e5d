"""secondary/logs as an operator adds it: a real journal behind a real gateway, own logs and the audit log, as one."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest
from hosts.journal_gateway import JournalGateway
from hosts.running_host import RunningHost, running
from tools.programs import JOURNAL_GATEWAY, need

from tlsrt import Busy, Client, InvalidArgument, Rejected

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the socket of the gateway is given to a uid by root")
LOGS, PROCESS = "secondary/logs", "secondary.logs"
COUNT = 700  # entries of the journal: more than two pages of the gateway
BEGIN = int(time.time()) - 2 * COUNT  # s
BOOT = "0123456789abcdef0123456789abcdef"
ALLOWED = ["--allow", 'client/admin: "*"', "--allow", "client/desk: [query, watch]"]


def entry(number: int, **more: str | bytes) -> dict[str, str | bytes]:
    at = (BEGIN + number) * 1_000_000
    return {
        "__REALTIME_TIMESTAMP": str(at), "__MONOTONIC_TIMESTAMP": str(1_000_000 * (number + 1)), "_BOOT_ID": BOOT,
        "MESSAGE": f"entry {number:04}", "PRIORITY": str(3 + number % 4), "SYSLOG_IDENTIFIER": "kettle",
        "_SYSTEMD_UNIT": "kettle.service" if number % 10 == 0 else "lamp.service",
    } | more  # fmt: skip


@pytest.fixture(scope="module")
def journal() -> Iterator[JournalGateway]:
    need(JOURNAL_GATEWAY)
    journal = JournalGateway()
    hostile: dict[str, str | bytes] = {"MESSAGE": b"\x1b[2Jgone\nfake 2026 line \xff\xfe"}
    journal.write([entry(number) for number in range(300)])
    journal.write([entry(number, **(hostile if number == 500 else {})) for number in range(300, COUNT)])
    yield journal
    journal.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, journal: JournalGateway) -> Iterator[RunningHost]:
    for host in running(request, clients=["desk"]):
        words = ["--option", f"socket={journal.path}", "--option", "look_s=0.2"]
        words += ["--needs", f"sockets=[{{path: {journal.path}, why: a test}}]"]
        host.cli("component", "add", LOGS, "--yes", *words, *ALLOWED)
        host.wait_for(f"^{PROCESS} +active")
        yield host


@pytest.fixture
def served(host: RunningHost, journal: JournalGateway) -> Iterator[Client]:
    journal.start(psutil.Process(host.loop(PROCESS)["pid"]).uids().real)
    with host.client() as client:
        yield client
    journal.stop()


def pages(client: Client, method: str = "query", **filters: Any) -> list[dict[str, Any]]:
    """Return the entries of all pages, the oldest first."""
    found, cursor = list[dict[str, Any]](), ""
    for _ in range(200):
        answer = client.call(LOGS, method, cursor=cursor, **filters)
        assert answer["missing"] == {}
        found[:0] = answer["entries"]
        cursor = answer["cursor"]
        if cursor is None:
            return found
    pytest.fail("it comes to no end")


def test_without_a_gateway_the_rest_is_given_and_a_sentence_says_what_to_do(host: RunningHost) -> None:
    with host.client() as client:
        answer = client.call(LOGS, "query_all")
    assert {one["source"] for one in answer["entries"]} == {"logs", "audit"}
    assert list(answer["missing"]) == ["journal"] and "install systemd-journal-remote" in answer["missing"]["journal"]


@pytest.mark.parametrize("limit", [500, 97])
def test_all_pages_of_the_journal_are_every_entry_once(served: Client, limit: int) -> None:
    found = pages(served, sources=["journal"], limit=limit)
    numbers = [int(one["text"][-4:]) if one["text"].startswith("entry") else 500 for one in found]
    assert numbers == list(range(COUNT))
    hostile = found[500]["text"]
    assert hostile.startswith(r"\x1b[2Jgone\nfake") and hostile.isprintable()
    assert found[10] | {"text": ""} == {
        "at_ms": (BEGIN + 10) * 1000, "source": "journal", "unit": "kettle.service", "component": "kettle",
        "priority": 5, "text": "", "is_cut": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({"unit": "kettle.service"}, range(0, COUNT, 10)),
        ({"priority": 3}, range(0, COUNT, 4)),
        ({"unit": "kettle.service", "priority": 3}, range(0, COUNT, 20)),
        ({"text": "ENTRY 033"}, range(330, 340)),
        ({"since": str((BEGIN + 10) * 1000), "until": str((BEGIN + 20) * 1000)}, range(10, 21)),
        ({"until": str((BEGIN + 2) * 1000)}, range(3)),
        ({"component": "sshd"}, range(0)),
    ],
)  # fmt: skip
def test_each_filter_over_the_real_journal(served: Client, filters: dict[str, Any], numbers: range) -> None:
    found = [one["text"] for one in pages(served, sources=["journal"], limit=7, **filters)]
    assert found == [f"entry {number:04}" for number in numbers if number != 500 or "text" in filters] or [
        text for text in found if text.startswith("entry")
    ] == [f"entry {number:04}" for number in numbers if number != 500]


def test_three_logs_are_one_list_by_time(served: Client) -> None:
    found = pages(served, "query_all", limit=200)
    times = [one["at_ms"] for one in found]
    assert times == sorted(times) and {one["source"] for one in found} == {"journal", "logs", "audit"}
    assert sum(one["source"] == "journal" for one in found) == COUNT
    grants = [one for one in found if one["source"] == "audit" and "runtime_act" in one["text"]]
    assert {one["component"] for one in grants} == {LOGS} and len(grants) == 2
    own = [one for one in found if one["component"] == LOGS and "client/admin reads the audit log" in one["text"]]
    assert own and own[0]["priority"] == 6


def test_the_audit_log_is_a_right_of_its_own(host: RunningHost, served: Client) -> None:
    with host.client("desk") as desk:
        assert desk.call(LOGS, "query", sources=["logs"], component="primary", limit=5)["entries"]
        with pytest.raises(InvalidArgument, match="a right of its own"):
            desk.call(LOGS, "query", sources=["audit"])
        with pytest.raises(Rejected):
            desk.call(LOGS, "query_all")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"since": "yesterday"}, "say 15m"), ({"cursor": "x"}, "the one of the answer before"),
        ({"sources": ["syslog"]}, "some of journal, logs"), ({"priority": 9}, "priority"), ({"limit": 501}, "limit"),
        ({"unit": "a\nb"}, "no name"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_one_sentence(host: RunningHost, arguments: dict[str, Any], says: str) -> None:
    with host.client() as client, pytest.raises(InvalidArgument, match=says):
        client.call(LOGS, "query", **arguments)


def test_a_journal_that_is_rotated_goes_on_where_it_can(served: Client, journal: JournalGateway) -> None:
    answer = served.call(LOGS, "query", sources=["journal"], limit=10, until=str((BEGIN + 250) * 1000))
    journal.rotate()
    gone = served.call(LOGS, "query", sources=["journal"], limit=10, cursor=answer["cursor"])
    assert gone["entries"] == [] or gone["entries"][0]["text"] >= "entry 0300" or gone["missing"]
    assert len(pages(served, sources=["journal"], limit=500)) == COUNT - 300
    journal.write([entry(number) for number in range(300)])
    assert len(pages(served, sources=["journal"], limit=500)) == COUNT


def test_a_stream_tells_what_is_new_in_all_logs(host: RunningHost, served: Client, journal: JournalGateway) -> None:
    stream = served.stream(LOGS, "watch_all")
    assert next(stream) == {"entries": [], "missing": {}, "left_out_bytes": 0}
    journal.write([entry(COUNT + 5, MESSAGE="the kettle boils")])
    assert host.cli("revoke", "client", "desk").returncode == 0
    seen = list[dict[str, Any]]()
    for item in stream:
        seen += item["entries"]
        told = [(one["component"] or "") + one["text"] for one in seen if one["source"] == "audit"]
        if any("desk" in words for words in told) and any(one["source"] == "journal" for one in seen):
            break
    assert [one["text"] for one in seen if one["source"] == "journal"] == ["the kettle boils"]
    host.cli("restore", "client", "desk")


def test_streams_of_one_caller_are_bounded(host: RunningHost) -> None:
    with host.client() as client:
        held = [client.stream(LOGS, "watch", sources=["logs"]) for _ in range(2)]
        for one in held:
            next(one)
        with pytest.raises(Busy, match="2 followers of one caller"):
            next(client.stream(LOGS, "watch", sources=["logs"]))


def test_one_that_hangs_is_told_within_its_time_and_the_rest_is_given(served: Client, journal: JournalGateway) -> None:
    journal.freeze()
    begun = time.monotonic()
    answer = served.call(LOGS, "query", limit=5)
    assert 4 < time.monotonic() - begun < 15 and "did not answer in 5 s" in answer["missing"]["journal"]
    assert answer["entries"]


def test_one_that_lies_is_told_and_the_rest_is_given(host: RunningHost, journal: JournalGateway) -> None:
    """An endless line, as of a program that has taken the place of the gateway."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(journal.path))
        uid = psutil.Process(host.loop(PROCESS)["pid"]).uids().real
        os.chown(journal.path, uid, uid)
        listener.listen(4)

        def lie() -> None:
            peer, _ = listener.accept()
            with suppress(OSError), peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"{" * 50_000_000)

        thread = threading.Thread(target=lie)
        thread.start()
        with host.client() as client:
            answer = client.call(LOGS, "query", limit=5)
        thread.join(20)
    journal.path.unlink()
    assert "more than 256 KiB" in answer["missing"]["journal"] and answer["entries"]
    assert host.loop(PROCESS)["restarts"] == 0
