"""Attacked sentence: short sessions and openings without end harm the client that makes them, and no other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPSConnection

import pytest
from attackers.tls_peer import TlsPeer
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost, running

from tlsrt import Client
from tlsrt.channels.client.connection import client_context
from tlsrt.channels.tls.message_stream import encode_control
from tlsrt.errors import OutcomeUnknown

STORE = "secondary/store"
POLICY = {f"client/* -> {STORE}": ["keys"], "client/* -> primary/kernel": ["uname"]}
BURST, MOST = 12, 8
REMEMBERED, SHARE = 48, 16  # sessions that a component remembers here, and those of one subject
SMALL = f"""
from tlsrt.channels.session import heard_sessions
heard_sessions.HeardSessions.__init__.__defaults__ = ({REMEMBERED}, {SHARE})
"""


@pytest.fixture(scope="module")
def strict(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    """A host with small budgets."""
    limits = {"sessions_per_client": MOST, "openings_per_s": 1, "openings_burst": BURST}
    yield from running(request, clients=["hog", "other", "web"], http=["web"], limits=limits, policy=POLICY)


@pytest.fixture(scope="module")
def forgetful(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    """A host whose components remember few sessions."""
    yield from running(request, clients=["hog", "other"], policy=POLICY, prelude=LatePrelude(SMALL))


def opened(stack: ExitStack, host: RunningHost, name: str) -> str:
    """Open a session and keep it if there is one; return what the host said."""
    with ExitStack() as mine:
        peer = mine.enter_context(TlsPeer(host, name))
        data, signature = peer.opening.answer_untrusted(*peer.challenge())
        peer.send(encode_control("open", data, signature))
        control = peer.control()
        if control.name == "granted":
            stack.push(mine.pop_all())
        return control.name if control.name == "granted" else str(control.fields[0])


def calls_within(host: RunningHost, name: str) -> float:
    """Open a session, call, and close it; return how long that took."""
    begin = time.monotonic()
    with Client(host.bundle(name)) as client:
        assert client.call(STORE, "keys", timeout_s=20) == []
        assert client.call("primary/kernel", "uname", timeout_s=20)
    return time.monotonic() - begin


def test_a_client_holds_so_many_sessions_and_opens_so_many_a_second_and_others_come_in(strict: RunningHost) -> None:
    with ExitStack() as stack:
        words = [opened(stack, strict, "hog") for _ in range(3 * BURST)]
        assert words[:MOST] == ["granted"] * MOST
        assert set(words[MOST:]) == {"busy"}
        print(f"others take {[round(calls_within(strict, name), 3) for name in ('other', 'admin')]} s")
        strict.told("client/hog", "over_budget", "sessions at once", "new sessions a second", by=("events",))
        assert "client/hog" not in strict.cli("anomalies").stdout, "it has no points"
    with Client(strict.bundle("hog")) as client:  # it waits until it may
        assert client.call("primary/kernel", "uname", timeout_s=20)


def test_an_http_client_over_its_budget_is_told_when_to_come_again(strict: RunningHost) -> None:
    context = client_context(strict.bundle("web"))
    context.set_alpn_protocols(["http/1.1"])
    statuses = set[int]()
    for _ in range(2 * BURST):
        connection = HTTPSConnection("127.0.0.1", strict.port, context=context, timeout=20)
        connection.request("GET", "/v1/")
        answer = connection.getresponse()
        statuses.add(answer.status)
        retry = answer.headers["Retry-After"]
        text = answer.read()
        connection.close()
        if answer.status != 200:
            break
    assert statuses == {200, 503}
    assert int(retry) >= 1 and b"urn:tlsrt:error:busy" in text and b"ask again" in text


def test_short_sessions_of_one_client_leave_room_for_all(forgetful: RunningHost) -> None:
    for _ in range(2 * REMEMBERED):
        calls_within(forgetful, "hog")
    for name in ("hog", "other", "admin"):
        calls_within(forgetful, name)
    assert "over_remembered" not in forgetful.log("secondary")


def test_a_component_that_remembers_as_many_sessions_of_a_client_as_it_may_says_so_at_once(
    forgetful: RunningHost,
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(forgetful.bundle("hog"))) for _ in range(SHARE + 1)]
        for client in clients[:SHARE]:
            assert client.call(STORE, "keys", timeout_s=20) == []
        begin = time.monotonic()
        with pytest.raises(OutcomeUnknown, match="too many sessions of client/hog"):
            clients[SHARE].call(STORE, "keys", timeout_s=60)
        assert time.monotonic() - begin < 30, "and not after its deadline"
        assert clients[0].call(STORE, "keys", timeout_s=20) == []
        calls_within(forgetful, "other")
    until_told = time.monotonic() + 10
    while "sessions that a component remembers" not in forgetful.cli("events").stdout:
        assert time.monotonic() < until_told
