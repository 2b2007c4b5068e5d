"""Who has used a link of `console`: told at the terminal, until it is used, cancelled or too old."""

from __future__ import annotations

import json
import select
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from tlsrt.config.schema import Config
from tlsrt.errors import EX_FAILED
from tlsrt.supervisor.control.client import ControlClient
from tlsrt.text import printable

_LOOK_S = 1.0  # how often it is looked whether the link is too old


def last_event(config: Config) -> int:
    """Return the number of the last event that there is."""
    with ControlClient(config.run_dir) as client:
        return max(
            (event["seq"] for event in client.follow("events", follow=False, since=0) if "seq" in event), default=0
        )


def wait_for_use(config: Config, name: str, ends_ms: int, since: int, *, is_json: bool) -> int:
    """Tell who uses the link of a client, from the event after `since` on; return the exit code."""
    with ControlClient(config.run_dir) as client:
        for event in _events(client, ends_ms, since):
            if event.get("subject") != f"client/{name}":
                continue
            if event["name"] == "client_enrolled":
                _print(event, _used(name, event), is_json=is_json)
                return 0
            if event["name"] == "revocation":
                _print(event, [f"the link of {name} is cancelled"], is_json=is_json)
                return EX_FAILED
    _print({"name": "ended"}, [f"the link of {name} has ended, and no browser has used it"], is_json=is_json)
    return EX_FAILED


def _events(client: ControlClient, ends_ms: int, since: int) -> Iterator[dict[str, Any]]:
    """Yield the events of a host until a time of the wall clock, in ms."""
    told = client.follow("events", follow=True, since=since)
    yield next(told)  # sends the request; that the client was added is an event after `since`
    while time.time_ns() // 1_000_000 < ends_ms:
        if client.has_line or select.select([client], [], [], _LOOK_S)[0]:
            event = next(told, None)
            if event is None:
                return  # the host ends
            yield event


def _used(name: str, event: dict[str, Any]) -> list[str]:
    fields = event["fields"]
    at = datetime.fromisoformat(event["at"]).astimezone(UTC)
    return [
        f"{name} was enrolled at {at:%H:%M:%S} UTC, from {fields.get('address') or 'an unknown address'}; the SHA-256 "
        f"fingerprint of its certificate is {fields.get('fingerprint', '-')}",
        f"if that was not you: tlsrt-supervisor client revoke {name}",
    ]


def _print(event: dict[str, Any], lines: list[str], *, is_json: bool) -> None:
    print(json.dumps(event) if is_json else "\n".join(map(printable, lines)), flush=True)
