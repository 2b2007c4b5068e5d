"""Webhooks that come in, on a real host, from senders that others have written, and from a carrier of our own."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from hosts.joined_messages import MESSAGES, until
from hosts.posted_hooks import GITHUB_KEY, HOOKS, OLD_KEY, PROCESS, PostedHooks, posted_hooks, signed

MIB = 1 << 20
CURL = ("curl", "--silent", "--show-error", "--max-time", "30", "--output", "/dev/null", "--write-out", "%{http_code}")


@pytest.fixture(scope="module")
def hooks() -> Iterator[PostedHooks]:
    with posted_hooks(has_out=True, address_per_s=1000, address_burst=1000) as made:
        yield made


def curl(hooks: PostedHooks, path: str, headers: dict[str, str], body: bytes, *more: str) -> int:
    words = [word for name, value in headers.items() for word in ("--header", f"{name}: {value}")]
    command = [*CURL, "--cacert", str(hooks.ca), *words, "--data-binary", "@-", *more, hooks.url(path)]
    done = subprocess.run(command, input=body, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_delivery_of_the_standard_library_by_curl_is_one_message(hooks: PostedHooks) -> None:
    body = json.dumps({"type": "order.paid", "name": "Grüße"}, ensure_ascii=False).encode()
    assert curl(hooks, "/hooks/shop", signed("msg_1", body), body) == 200
    assert curl(hooks, "/hooks/shop", signed("msg_1", body), body) == 200, "as a sender that has lost the answer"
    assert curl(hooks, "/hooks/shop", signed("msg_2", body, OLD_KEY), body, "--tlsv1.3") == 200, "a key before"
    found = [one for one in hooks.inbox() if one["topic"] == "shop"]
    assert [one["from"] for one in found] == ["external/webhooks_in"] * 2
    with hooks.host.client("anna") as anna:
        read = anna.call(MESSAGES, "read", found[0]["id"])
    assert (read["body"], read["content_type"]) == (body.decode(), "application/json")


def test_a_delivery_as_of_github_with_expect_100(hooks: PostedHooks) -> None:
    body = b'{"zen": "Keep it logically awesome."}' + b" " * 60_000
    headers = {
        "X-GitHub-Event": "ping", "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "X-Hub-Signature-256": "sha256=" + hmac.digest(GITHUB_KEY, body, "sha256").hex(), "Expect": "100-continue",
    }  # fmt: skip
    assert curl(hooks, "/code", headers, body) == 200
    assert [one["topic"] for one in hooks.inbox()].count("code.ping") == 1


def _attached(hooks: PostedHooks, id: str) -> bytes:
    with hooks.host.client("anna") as anna:
        return b"".join(anna.stream(MESSAGES, "read_stream", f"{id}/body"))


def test_bodies_of_up_to_a_mib_are_attached_by_whatever_posts_them(hooks: PostedHooks) -> None:
    """By curl, with a question before the body; by Python's client, in pieces; and one byte more than a MiB by none."""
    before = {one["id"] for one in hooks.inbox()}
    body = json.dumps({"rows": ["ä" * 100] * 5000}, ensure_ascii=False).encode()
    body += b" " * (MIB - len(body))
    assert curl(hooks, "/hooks/shop", signed("msg_large", body) | {"Expect": "100-continue"}, body) == 200
    assert curl(hooks, "/hooks/shop", signed("msg_large", body), body) == 200, "as a sender that has lost the answer"
    connection = http.client.HTTPSConnection(
        "127.0.0.1", hooks.port, context=ssl.create_default_context(cafile=str(hooks.ca))
    )
    half = body[: MIB // 2]
    half = half[: len(half.decode(errors="ignore").encode())]
    pieces = (half[at : at + 1000] for at in range(0, len(half), 1000))
    headers = signed("msg_pieces", half) | {"Content-Length": str(len(half))}
    connection.request("POST", "/hooks/shop", pieces, headers)
    assert connection.getresponse().status == 200
    connection.close()
    assert curl(hooks, "/hooks/shop", signed("msg_larger", body + b" "), body + b" ") == 413
    new = [one for one in hooks.inbox() if one["id"] not in before]
    assert [one["preview"] for one in new] == [
        f"{len(each)} bytes of application/json are attached as body" for each in (body, half)
    ]
    assert [_attached(hooks, one["id"]) for one in new] == [body, half]


def test_large_bodies_while_messages_are_killed_are_each_one_message(hooks: PostedHooks) -> None:
    before, took = {one["id"] for one in hooks.inbox()}, []
    bodies = [b"%06d" % number * (MIB // 8) for number in range(12)]
    for number, body in enumerate(bodies):
        if number % 3 == 1:
            killer = threading.Timer(0.01 * (number % 5), hooks.host.kill, ["external.messages"])
            killer.start()
        began = time.monotonic()
        until(lambda body=body: _status(hooks, body) == 200)  # type: ignore[misc]
        took.append(time.monotonic() - began)
        if number % 3 == 1:
            killer.join()
    new = [one["id"] for one in hooks.inbox() if one["id"] not in before]
    assert sorted(_attached(hooks, id) for id in new) == bodies
    print(f"{len(bodies[0])} bytes, from the connection to 200: p50 {1000 * statistics.median(took):.0f} ms")


def test_what_our_own_carrier_posts_comes_in(hooks: PostedHooks) -> None:
    with hooks.host.client("anna") as anna:
        id = anna.call(MESSAGES, "send", HOOKS, "the kettle boils", topic="attic.kitchen")["id"]
    [got] = until(lambda: [one for one in hooks.inbox() if one["topic"] == "own"])
    with hooks.host.client("anna") as anna:
        told = json.loads(anna.call(MESSAGES, "read", got["id"])["body"])
    assert (told["id"], told["from"], told["body"]) == (id, "client/anna", "the kettle boils")


def test_while_messages_are_away_nothing_is_answered_as_taken(hooks: PostedHooks) -> None:
    stopped = hooks.host.cli("stop", MESSAGES)
    assert stopped.returncode == 0, stopped
    body = b'{"while": "away"}'
    assert hooks.post("/hooks/shop", signed("msg_away", body), body) == 503
    assert hooks.host.cli("start", MESSAGES).returncode == 0
    assert until(lambda: hooks.post("/hooks/shop", signed("msg_away", body), body) == 200)
    assert hooks.host.loop(PROCESS)["violations"] == 0


def test_killed_again_and_again_nothing_is_lost_or_twice(hooks: PostedHooks) -> None:
    """Each delivery is repeated, as senders do, until it is answered with 200; both processes are killed meanwhile."""
    bodies = [b'{"number": %d}' % number for number in range(24)]
    before = {one["id"] for one in hooks.inbox()}
    for number, body in enumerate(bodies):
        if number % 4 == 1:
            hooks.host.kill(PROCESS if number % 8 == 1 else "external.messages")
        until(lambda body=body: _status(hooks, body) == 200)  # type: ignore[misc]
    hooks.host.kill(PROCESS)
    for body in bodies:  # a replay of all, after the kill
        until(lambda body=body: _status(hooks, body) == 200)  # type: ignore[misc]
    new = [one for one in hooks.inbox() if one["id"] not in before]
    assert sorted(one["preview"] for one in new) == sorted(body.decode() for body in bodies)


def _status(hooks: PostedHooks, body: bytes) -> int:
    try:
        return hooks.post("/hooks/shop", signed(f"killed_{hashlib.sha256(body).hexdigest()}", body), body)
    except OSError:  # the connection was that of a process that is killed
        return 0
