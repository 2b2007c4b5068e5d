"""Attacked sentence: what comes in by a webhook is signed, of now, and one message; strangers learn nothing."""

from __future__ import annotations

import hmac
import shutil
import socket
import sqlite3
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hosts.joined_messages import until
from hosts.posted_hooks import (
    GITHUB_KEY,
    HOOKS_IN,
    LOST_KEY,
    OWN_KEY,
    PROCESS,
    PostedHooks,
    posted_hooks,
    request,
    signed,
)

BODY = b'{"type": "order.paid"}'
WITHIN_S = 3.0
MIB = 1 << 20


@pytest.fixture(scope="module")
def hooks() -> Iterator[PostedHooks]:
    with posted_hooks(within_s=WITHIN_S, address_per_s=50, address_burst=300) as made:
        yield made


def ids(hooks: PostedHooks) -> set[str]:
    return {one["id"] for one in hooks.inbox()}


def test_a_replay_is_no_second_message_also_after_a_kill(hooks: PostedHooks) -> None:
    taken = request("/hooks/shop", signed("replayed", BODY), BODY)
    assert hooks.status(taken) == 200
    before = ids(hooks)
    assert hooks.status(taken) == 200
    hooks.host.kill(PROCESS)
    assert until(lambda: _try(hooks, taken)) == 200
    with hooks.host.client("anna") as anna:  # and when the mailbox knows of it no more
        anna.call("external/messages", "acknowledge", list(before))
    assert hooks.status(taken) == 200
    assert ids(hooks) == set()


def _try(hooks: PostedHooks, data: bytes) -> int:
    try:
        return hooks.status(data)
    except OSError:
        return 0


def test_nothing_of_a_signed_delivery_can_be_changed(hooks: PostedHooks) -> None:
    before, good = ids(hooks), signed("changed", BODY)
    at = int(good["webhook-timestamp"])
    signature = good["webhook-signature"]
    cut = signed("a", f"{at}.{{}}".encode())
    changes: list[tuple[str, dict[str, str], bytes]] = [
        ("/hooks/shop", {**good, "webhook-id": "other"}, BODY),
        ("/hooks/shop", {**good, "webhook-timestamp": str(at + 1)}, BODY),
        ("/hooks/shop", {**good, "webhook-timestamp": f"{at}.0"}, BODY),
        ("/hooks/shop", {**good, "webhook-timestamp": f"0{at}"}, BODY),
        ("/hooks/shop", good, BODY + b" "),
        ("/hooks/shop", {**good, "webhook-signature": "v1,"}, BODY),
        ("/hooks/shop", {**good, "webhook-signature": signature.lower()}, BODY),
        ("/hooks/shop", {**good, "webhook-signature": "v1a," + signature[3:]}, BODY),
        ("/hooks/shop", {**good, "webhook-signature": " ".join([signature] * 9)}, BODY),
        ("/hooks/shop", {name: value for name, value in good.items() if name != "webhook-id"}, BODY),
        ("/hooks/shop", signed("old", BODY, ago_s=301), BODY),
        ("/hooks/shop", signed("early", BODY, ago_s=-330), BODY),
        ("/hooks/shop", signed("wrong_key", BODY, "whsec_" + "A" * 32), BODY),
        ("/own", good, BODY),  # signed, for another hook
        ("/code", good, BODY),
        # the same signed bytes, cut at another dot: id a.TIME, and the time is the beginning of the body
        ("/hooks/shop", {**cut, "webhook-id": f"a.{at}", "webhook-timestamp": str(at)}, b"{}"),
    ]  # fmt: skip
    assert [hooks.post(*each) for each in changes] == [403] * len(changes)
    assert ids(hooks) == before


def test_a_delivery_as_of_github_under_another_id_is_the_same(hooks: PostedHooks) -> None:
    headers = {"X-Hub-Signature-256": "sha256=" + hmac.digest(GITHUB_KEY, BODY, "sha256").hex()}
    assert hooks.post("/code", {**headers, "X-GitHub-Delivery": "1", "X-GitHub-Event": "push"}, BODY) == 200
    before = ids(hooks)
    for event in ("push", "release", "../x", "x" * 500):
        assert hooks.post("/code", {**headers, "X-GitHub-Delivery": event[:2], "X-GitHub-Event": event}, BODY) == 200
    sha1 = {"X-Hub-Signature": "sha1=" + hmac.digest(GITHUB_KEY, BODY, "sha1").hex()}
    assert hooks.post("/code", sha1, BODY) == 403, "the older header of GitHub"
    other = {"X-Hub-Signature-256": "sha256=" + hmac.digest(OWN_KEY, b"", "sha256").hex()}
    assert hooks.post("/code", other, b"") == 403
    assert ids(hooks) == before


def test_each_refusal_says_the_same(hooks: PostedHooks) -> None:
    good = signed("told", BODY)
    wrong = {**good, "webhook-signature": "v1,AAAA"}
    answers: set[bytes] = set()
    paths = ("/hooks/shop", "/nothing", "/hooks/shop?a", "/hooks/shop/", "//hooks/shop", "/hooks/./shop", "*",
             "/hooks%2fshop", "/HOOKS/SHOP", "/hooks/shop%00", "/../hooks/shop",
             "https://127.0.0.1/hooks/shop")  # fmt: skip
    sent = [request(path, wrong if path == "/hooks/shop" else good, BODY) for path in paths]
    sent += [request("/hooks/shop", good, BODY, method) for method in ("GET", "PUT", "DELETE", "TRACE", "POSTX")]
    for data in sent:
        with hooks.connect() as sock:
            sock.sendall(data)
            said = b""
            while piece := sock.recv(4096):
                said += piece
            answers.add(said)
    assert answers == {b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"}


def test_what_is_no_plain_request_is_refused(hooks: PostedHooks) -> None:
    before, good = ids(hooks), signed("smuggled", BODY)
    lines = [f"{name}: {value}" for name, value in good.items()]

    def raw(*more: str, first: str = "POST /hooks/shop HTTP/1.1", body: bytes = BODY) -> bytes:
        return "\r\n".join([first, "Host: 127.0.0.1", *lines, *more, "", ""]).encode() + body

    length = f"Content-Length: {len(BODY)}"
    whole = raw(length)
    chunk = b"10\r\n" + b"x" * 16 + b"\r\n"
    cases: list[tuple[bytes, set[int]]] = [
        (raw(length, "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + whole), {411}),
        (raw("Transfer-Encoding: chunked", body=chunk * 65536), {411, 0}),  # it may be cut while it still sends
        (raw("Transfer-Encoding: chunked", body=b"1;" + b"a" * 200_000), {411, 0}),
        (raw("Transfer-Encoding : chunked", length), {400}),
        (raw("Transfer-Encoding: identity", length), {411, 400}),
        (raw(length, "Content-Length: 5"), {400}),
        (raw("Content-Length: +22"), {400}),
        (raw("Content-Length: 0x16"), {400}),
        (raw("Content-Length: -1"), {400}),
        (raw("Content-Length: 99999999999999999999"), {413, 400}),
        (raw(f"Content-Length: {MIB + 1}"), {413}),
        (raw(), {411}),
        (whole + whole, {400}),  # a second one behind the first
        (raw(length, first="POST /hooks/shop HTTP/1.0"), {400}),
        (raw(length, first="POST /hooks/shop HTTP/2.0"), {400}),
        (raw(length, "Host: other"), {400}),
        (raw(length, "X: a\r\n\tb\x00c"), {400}),
        (raw(length, *[f"X-{number}: a" for number in range(100)]), {400}),
        (raw("X: " + "a" * 20_000, length), {400, 0}),
        (b"GET" * 10_000, {400, 0}),
        (b"\x16\x03\x01" * 20, {400}),
    ]  # fmt: skip
    for data, statuses in cases:
        assert hooks.status(data) in statuses, data[:300]
    assert ids(hooks) == before
    assert hooks.status(whole) == 200, "what was spoiled is a good delivery without that"


def test_no_tls_before_1_3_and_no_plain_http(hooks: PostedHooks) -> None:
    old = ssl.create_default_context(cafile=str(hooks.ca))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", hooks.port), timeout=20) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", hooks.port), timeout=20) as plain:
        plain.sendall(request("/hooks/shop", signed("plain", BODY), BODY))
        assert b"HTTP" not in plain.recv(4096)


def test_slow_senders_displace_themselves_and_end(hooks: PostedHooks) -> None:
    half = request("/hooks/shop", signed("slow", BODY), BODY)[:-1]
    slow: list[ssl.SSLSocket] = []
    silent: list[socket.socket] = []
    try:
        for _ in range(30):
            silent.append(socket.create_connection(("127.0.0.1", hooks.port), timeout=20))  # no handshake
            slow.append(hooks.connect())
            slow[-1].sendall(half)
        assert hooks.post("/hooks/shop", signed("meanwhile", BODY), BODY) == 200
        begin = time.monotonic()
        for one in slow:
            assert hooks.answered(one) == 0  # ended by the host, without an answer
        for plain in silent:
            assert _ends(plain)
        assert time.monotonic() - begin < 60
    finally:
        for each in [*slow, *silent]:
            each.close()


def _ends(sock: socket.socket) -> bool:
    """Tell whether the host ends a connection: by an end or by a reset."""
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True


def test_a_flood_of_one_address_leaves_the_others_their_way(hooks: PostedHooks) -> None:
    before = _metric(hooks, "connections_refused")
    for number in range(700):
        try:
            with socket.create_connection(("127.0.0.1", hooks.port), timeout=20, source_address=("127.0.0.2", 0)):
                pass
        except OSError:
            pass
        if number % 100 == 0:
            assert hooks.post("/hooks/shop", signed(f"flood_{number}", BODY), BODY) == 200
    assert until(lambda: _metric(hooks, "connections_refused") > before)
    assert hooks.host.loop(PROCESS)["violations"] == 0


def test_a_body_that_is_another_length_than_was_said_is_no_delivery(hooks: PostedHooks) -> None:
    before, body = ids(hooks), b"x" * (MIB - 1)
    good = signed("length", body)
    whole = request("/hooks/shop", good, body)
    said = f"Content-Length: {len(body)}".encode()
    assert hooks.status(whole.replace(said, f"Content-Length: {MIB}".encode())) == 0, "it never comes, and ends in time"
    for length in (0, 1, 65536, MIB - 2):
        assert hooks.status(whole.replace(said, f"Content-Length: {length}".encode())) in (400, 0)
    with hooks.connect() as sock:  # it ends within its body
        sock.sendall(whole[:-1])
        sock.unwrap()
    for changed in (body[:-1] + b"y", b"y" + body[1:], body[: MIB // 2] + b"y" + body[MIB // 2 + 1 :]):
        assert hooks.post("/hooks/shop", good, changed) == 403
    assert _files(hooks) == 0, "before its signature was checked nothing of a body goes on"
    assert hooks.status(whole) == 200 and ids(hooks) - before


def _files(hooks: PostedHooks) -> int:
    """Return how many files there are in messages, with those that belong to no message."""
    folder = hooks.host.config.state_dir / "external.messages" / "messages"
    with tempfile.TemporaryDirectory() as copy:  # as it is locked where it is
        for path in (*folder.glob("data.sqlite"), *folder.glob("data.sqlite-wal")):
            shutil.copyfile(path, Path(copy, path.name))
        with closing(sqlite3.connect(Path(copy, "data.sqlite"))) as database:
            return int(database.execute("SELECT count(*) FROM contents").fetchone()[0])


def test_a_hundred_large_bodies_that_never_end_take_eight_mib(hooks: PostedHooks) -> None:
    pid = hooks.host.loop(PROCESS)["pid"]
    idle, most, body = _own(pid), 0, b"x" * MIB
    half = request("/hooks/shop", signed("endless", body), body)[:-1]
    held: list[ssl.SSLSocket] = []
    try:
        for number in range(100):
            held.append(hooks.connect(source=f"127.0.0.{2 + number % 4}"))
            try:
                held[-1].sendall(half)
            except OSError:  # it was displaced
                pass
            most = max(most, _own(pid))
            if number % 20 == 19:
                good = b"%d" % number * (MIB // 2)
                assert hooks.post("/hooks/shop", signed(f"large_{number}", good), good) == 200
    finally:
        for one in held:
            one.close()
    print(f"memory of its own {idle} KiB at rest, at most {most} KiB")
    assert most - idle < 20 << 10 and _metric(hooks, "bodies_displaced") > 0
    assert hooks.host.loop(PROCESS)["violations"] == 0


def _own(pid: int) -> int:
    """Return the KiB of a process that are of no file: a share of what others map, too, grows when these end."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")))


def test_large_bodies_that_messages_refuse_leave_nothing_behind(hooks: PostedHooks) -> None:
    """Of files that belong to no message a carrier may have 64: else these would be there for a day."""
    before = _files(hooks)
    for number in range(66):
        body = b"%4d" % number * (MIB // 32)
        assert hooks.post("/lost", signed(f"lost_{number}", body, LOST_KEY), body) == 503
    assert _files(hooks) == before
    body = b"y" * MIB
    assert hooks.post("/hooks/shop", signed("after_lost", body), body) == 200


def _metric(hooks: PostedHooks, name: str) -> float:
    with hooks.host.client() as admin:
        return float(admin.call(HOOKS_IN, "metrics")["counters"].get(name, 0))
