"""The store's past through TLS, in a real sandboxed loop: expiry is told, and a watch goes on over a kill."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hosts.running_host import RunningHost, running

STORE = "secondary/store"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request)


def test_a_watch_goes_on_over_a_kill_and_tells_of_expiry(host: RunningHost) -> None:
    with host.client() as client:
        since = client.call(STORE, "position")["revision"]
        client.call(STORE, "put", "past/a", 1)
        client.call(STORE, "put", "past/a", 2, ttl_s=0.2)
        stream = client.stream(STORE, "watch", "past/", since=since)
        found = [next(stream) for _ in range(3)]
        assert [each["operation"] for each in found] == ["put", "put", "expire"]
        client.call(STORE, "put", "past/b", 1)
        client.call(STORE, "put", "past/b", 2)
        assert client.call(STORE, "metrics")["counters"] == {"put": 4, "expire": 1}
    host.respawn("secondary")
    with host.client() as client:
        stream = client.stream(STORE, "watch", "past/", since=found[-1]["revision"])
        assert [next(stream)["key"] for _ in range(2)] == ["past/b", "past/b"]
        history = client.call(STORE, "history", "past/b")
        assert client.call(STORE, "version", "past/b", history[1]["revision"]) == 1
