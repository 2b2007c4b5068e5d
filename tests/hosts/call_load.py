"""Calls of every kind without a pause, from a component and from a client, and a ledger of what ran."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

from hosts.flow_package.flowing import asker as asking
from hosts.running_host import RunningHost
from tlsrt import AsyncClient, Client

ASKER, LEDGER = "third/asker", asking.LEDGER
KINDS = ("plain", "keyed", "twice", "stream", "upload", "exchange")
CALLED: dict[str, Any] = {
    "components": {
        LEDGER: {"class": "flowing.ledger:Ledger", "process": "shared"},
        ASKER: {"class": "flowing.asker:Asker", "process": "shared"},
    },
    "policy": {f"client/admin -> {LEDGER}": "*", f"client/admin -> {ASKER}": "*", f"{ASKER} -> {LEDGER}": "*"},
    "packages": [Path(asking.__file__).parent],
}


def names_run(host: RunningHost) -> list[str]:
    """Return the names of all runs so far, from the ledger's file: they may be more than fit into one answer."""
    [ledger] = host.config.state_dir.rglob("ran")
    return ledger.read_text().split()


def end_asker(control: Client) -> list[asking.Record]:
    """Let the last calls of the component end; return what came of all."""
    parts = control.stream(ASKER, "end_in_parts", timeout_s=60)
    return [(name, word, spent) for part in parts for name, word, spent in part]


class Askers:
    """A client that asks on and on, in a thread of its own."""

    def __init__(self, host: RunningHost, label: str) -> None:
        self.over = False
        self.records: list[asking.Record] = []
        self.up = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._ask(host, label)))
        self.thread.start()
        assert self.up.wait(20)

    async def _ask(self, host: RunningHost, label: str) -> None:
        async with AsyncClient(host.admin) as client:
            self.up.set()
            await asyncio.gather(
                *(
                    asking.ask_on(
                        client,
                        kind,
                        f"{label}{number}",
                        lambda name: {"idempotent": True},
                        lambda: self.over,
                        self.records,
                    )
                    for kind in KINDS
                    for number in range(2)
                )
            )

    def go_on(self, count: int) -> None:
        """Wait until so many more calls have ended."""
        until, limit = len(self.records) + count, time.monotonic() + 60
        while len(self.records) < until:
            assert time.monotonic() < limit, "calls do not end"
            time.sleep(0.005)

    def end(self) -> list[asking.Record]:
        self.over = True
        self.thread.join(60)
        assert not self.thread.is_alive(), "a call never ended"
        return self.records
