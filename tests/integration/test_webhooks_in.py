"""Webhooks that come in, on a real host, from senders that others have written, and from a carrier of our own."""

from __future__ import annotations

import hmac
import json
import subprocess
from collections.abc import Iterator

import pytest
from hosts.joined_messages import MESSAGES, until
from hosts.posted_hooks import GITHUB_KEY, HOOKS, OLD_KEY, PROCESS, PostedHooks, posted_hooks, signed

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
        return hooks.post("/hooks/shop", signed(f"killed_{body.hex()}", body), body)
    except OSError:  # the connection was that of a process that is killed
        return 0
