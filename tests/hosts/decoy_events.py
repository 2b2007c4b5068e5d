"""What a host says of touched decoys, and how soon: events as they come, over its control socket."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hosts.running_host import RunningHost
from tlsrt.supervisor.control.client import ControlClient

IN_TIME_MS = 200
PATIENCE_S = 20.0
LATE_MS = 3_000  # for one of them, on a machine where ten wait for a processor


def events(host: RunningHost) -> list[dict[str, Any]]:
    """Return all events so far."""
    with _connected(host) as client:
        return list(client.follow("events"))


def _connected(host: RunningHost) -> ControlClient:
    with host._as_operator():
        return ControlClient(host.config.run_dir)


class Watch:
    """The events that come."""

    def __init__(self, client: ControlClient, since: int) -> None:
        self._client = client
        self._stream = client.follow("events", since=since, follow=True)
        self._is_asked = False
        self._took_ms: list[int] = []

    def next(self, *names: str) -> dict[str, Any]:
        """Return the next event that has one of these names."""
        while True:
            if self._is_asked and not self._client.has_line:
                assert select.select([self._client], [], [], PATIENCE_S)[0], f"no event {' or '.join(names)}"
            self._is_asked = True
            event = next(self._stream)
            if event.get("name") in names:
                return event

    def touched(self, since_ms: int, name: str = "decoy_touched") -> dict[str, Any]:
        """Return the next touch, of something that was done after `since_ms` (BOOTTIME)."""
        event = self.next(name)
        self._took_ms.append(event["boottime_ms"] - since_ms)
        assert 0 <= self._took_ms[-1] <= LATE_MS, event
        return event

    def in_time(self) -> bool:
        """Tell whether at least half of the touches so far were told in 200 ms."""
        return sorted(self._took_ms)[len(self._took_ms) // 2] <= IN_TIME_MS


@contextmanager
def watching(host: RunningHost, since: int | None = None) -> Iterator[Watch]:
    """Follow what happens from now on, or after the event of a number."""
    since = events(host)[-1]["seq"] if since is None else since
    with _connected(host) as client:
        yield Watch(client, since)
