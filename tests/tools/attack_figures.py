"""What an innocent client sees while another one attacks: `make attack-figures`, or with ROW=name.

A real host with its default limits, one honest client that calls a component of another loop 50 times a second, and
one newcomer a second that opens a session and calls once. Each row is measured before and during one attack, which runs
in a process of its own. Nothing is judged: the suite judges; this shows how much is left, on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

TESTS = Path(__file__).resolve().parents[1]
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from hosts import running_host  # noqa: E402
from hosts.running_host import RunningHost  # noqa: E402

from tlsrt import AsyncClient  # noqa: E402
from tlsrt.channels.frames.frame import FrameKind  # noqa: E402
from tlsrt.config.bundle import encode_bundle, read_bundle  # noqa: E402
from tlsrt.config.init import seal  # noqa: E402
from tlsrt.config.load import load_config  # noqa: E402
from tlsrt.errors import CallError, TlsrtError  # noqa: E402

STORE, KERNEL, HARDWARE, EVENTS = "secondary/store", "primary/kernel", "primary/hardware", "primary/events"
BEFORE_S, ATTACK_S = 4.0, 12.0
PERIOD_S, NEWCOMER_S, PATIENCE_S = 0.02, 1.0, 10.0

Attack = Callable[[Path, int], Awaitable[None]]


# -- attacks, each for ever; they run in a process of their own ---------------------------------------------------


async def _keep_calling(client: AsyncClient, target: str, method: str, *args: object) -> None:
    while True:
        try:
            await client.call(target, method, *args, timeout_s=PATIENCE_S)
        except CallError:
            await asyncio.sleep(0.01)


async def concurrent_calls(bundle: Path, port: int) -> None:
    """60 expensive calls under way all the time."""
    async with AsyncClient(bundle) as client:
        await asyncio.gather(*(_keep_calling(client, HARDWARE, "summary") for _ in range(60)))


async def recent_events(bundle: Path, port: int) -> None:
    """60 calls for the last 256 events of the host under way all the time."""
    async with AsyncClient(bundle) as client:
        await asyncio.gather(*(_keep_calling(client, EVENTS, "recent") for _ in range(60)))


async def _keep_watching(client: AsyncClient) -> None:
    while True:
        with contextlib.suppress(CallError):
            async for _ in client.stream(KERNEL, "watch", 0.1):
                pass
        await asyncio.sleep(0.5)


async def many_streams(bundle: Path, port: int) -> None:
    """2,000 streams of a sample, ten a second each, in two sessions."""
    async with AsyncClient(bundle) as one, AsyncClient(bundle) as other:
        await asyncio.gather(*(_keep_watching(client) for client in (one, other) for _ in range(1000)))


async def nested_bodies(bundle: Path, port: int) -> None:
    """Bodies of 5,300 bytes whose headers claim a list in each list: 60 frames a second."""
    body = b"\xdd\x00\x00\x14\x00" * 1020
    body += bytes(5300 - len(body))
    while True:
        try:
            async with AsyncClient(bundle) as client:
                caller: Any = client._session.caller
                while True:
                    for _ in range(60):
                        deadline = caller._clock() + 10_000
                        caller._send(caller.endpoint.seal_request(FrameKind.REQUEST, STORE, "get", body, deadline)[1])
                    await asyncio.sleep(1)
        except TlsrtError:
            await asyncio.sleep(0.2)


async def short_sessions(bundle: Path, port: int) -> None:
    """Sessions with one call each, as fast as they are given."""

    async def open_and_call() -> None:
        while True:
            try:
                async with AsyncClient(bundle) as client:
                    await client.call(STORE, "keys", timeout_s=PATIENCE_S)
            except TlsrtError:
                await asyncio.sleep(0.05)

    await asyncio.gather(*(open_and_call() for _ in range(8)))


async def many_connections(bundle: Path, port: int) -> None:
    """One client that opens sessions until 1,100 are open, and keeps them."""
    held: list[AsyncClient] = []

    async def hold() -> None:
        while len(held) < 1100:
            client = AsyncClient(bundle)
            try:
                await client.connect()
                held.append(client)
            except TlsrtError:
                await client.close()
                await asyncio.sleep(0.05)
        await asyncio.Event().wait()

    await asyncio.gather(*(hold() for _ in range(8)))


async def _silent(port: int, addresses: int, most: int) -> None:
    """Connections without a byte, from one address after the other; those that end are made again."""
    slots = asyncio.Semaphore(most)

    async def sit(number: int) -> None:
        source = (f"127.{9 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", 0)
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=source)
            try:
                await asyncio.wait_for(reader.read(), 30)
            finally:
                writer.transport.abort()
        slots.release()

    for number in itertools.count():
        await slots.acquire()
        asyncio.ensure_future(sit(number % addresses))  # noqa: RUF006  # it is bounded by the slots
        await asyncio.sleep(0.001)


async def silent_256(bundle: Path, port: int) -> None:
    """256 addresses with a silent connection each."""
    await _silent(port, 256, 256)


async def silent_65536(bundle: Path, port: int) -> None:
    """65,536 addresses that take turns, 900 silent connections at a time."""
    await _silent(port, 65536, 900)


async def parallel_clients(bundle: Path, port: int) -> None:
    """40 programs of one client at one address, each a new session for three calls."""

    async def program() -> None:
        while True:
            try:
                async with AsyncClient(bundle) as client:
                    for _ in range(3):
                        await client.call(STORE, "keys", timeout_s=PATIENCE_S)
                    await asyncio.sleep(1)
            except TlsrtError:
                await asyncio.sleep(0.2)

    await asyncio.gather(*(program() for _ in range(40)))


ATTACKS: Mapping[str, Attack] = {
    attack.__name__.replace("_", "-"): attack
    for attack in (
        concurrent_calls, recent_events, many_streams, nested_bodies, short_sessions, many_connections, silent_256,
        silent_65536, parallel_clients,
    )
}  # fmt: skip


# -- the innocent -------------------------------------------------------------------------------------------------


class Meter:
    """An honest client and its newcomers, for some seconds."""

    def __init__(self, bundle: Path) -> None:
        self._bundle = bundle
        self.latencies: list[float] = []
        self.errors: dict[str, int] = {}
        self.tries = 0
        self.newcomers: list[float] = []

    async def measure(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        await asyncio.gather(self._call_on(end), self._come_in(end))
        ordered = sorted(self.latencies)
        return {
            "p50_ms": round(statistics.median(ordered) * 1000, 2) if ordered else None,
            "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 1) if ordered else None,
            "max_ms": round(ordered[-1] * 1000, 1) if ordered else None,
            "calls": len(ordered), "errors": self.errors,
            "newcomers": f"{len(self.newcomers)} of {self.tries}",
            "newcomer_p50_ms": round(statistics.median(self.newcomers) * 1000) if self.newcomers else None,
        }  # fmt: skip

    async def _call_on(self, end: float) -> None:
        while time.monotonic() < end:
            try:
                async with AsyncClient(self._bundle, connect_timeout_s=PATIENCE_S) as client:
                    while time.monotonic() < end:
                        start = time.perf_counter()
                        await client.call(STORE, "keys", timeout_s=PATIENCE_S)
                        self.latencies.append(time.perf_counter() - start)
                        await asyncio.sleep(max(0.0, PERIOD_S - (time.perf_counter() - start)))
            except TlsrtError as error:
                word = getattr(error, "code", type(error).__name__)
                self.errors[word] = self.errors.get(word, 0) + 1
                await asyncio.sleep(0.1)

    async def _come_in(self, end: float) -> None:
        async def one() -> None:
            start = time.perf_counter()
            with contextlib.suppress(TlsrtError, TimeoutError):
                async with asyncio.timeout(PATIENCE_S), AsyncClient(self._bundle) as client:
                    await client.call(STORE, "keys", timeout_s=PATIENCE_S)
                    self.newcomers.append(time.perf_counter() - start)

        coming: list[asyncio.Task[None]] = []
        while time.monotonic() < end:
            self.tries += 1
            coming.append(asyncio.ensure_future(one()))
            await asyncio.sleep(NEWCOMER_S)
        await asyncio.gather(*coming)


def host_with_default_limits() -> RunningHost:
    host = RunningHost(
        clients=["mallory", "friend"],
        policy={
            f"client/mallory -> {STORE}": ["get", "keys"], f"client/mallory -> {KERNEL}": "*",
            f"client/mallory -> {HARDWARE}": "*", f"client/mallory -> {EVENTS}": "*",
            f"client/friend -> {STORE}": ["get", "keys"],
        },
        detection={"allow": ["127.0.0.1"]},
    )  # fmt: skip
    document = yaml.safe_load(host.config_path.read_text())
    for name in getattr(running_host, "MANY_SESSIONS", {}):  # which other tests need
        document.get("limits", {}).pop(name, None)
    document = {key: value for key, value in document.items() if value or key != "limits"}
    host.config_path.write_text(yaml.safe_dump(document, sort_keys=False))
    host.config = load_config(host.config_path)
    seal(host.config)
    for name in ("mallory", "friend"):
        path = host.base / f"{name}.tlsrt"
        bundle = host.bundle(name)
        path.touch(0o600)
        path.write_bytes(encode_bundle(bundle if not isinstance(bundle, Path) else read_bundle(bundle)))
    return host


def measure(name: str, seconds: float) -> dict[str, Any]:
    """Start a host, measure, attack, measure; return both."""
    with host_with_default_limits() as host:
        friend = host.base / "friend.tlsrt"
        before = asyncio.run(Meter(friend).measure(BEFORE_S))
        lives = {loop["name"]: loop["incarnation"] for loop in host.status()["loops"]}
        words = [sys.executable, __file__, "--attack", name, str(host.base / "mallory.tlsrt"), str(host.port)]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as attack:
            try:
                time.sleep(2)
                during = asyncio.run(Meter(friend).measure(seconds))
                assert attack.poll() is None, attack.stderr.read() if attack.stderr else ""
            finally:
                attack.kill()
        deaths = {
            loop["name"]: loop["incarnation"] - lives[loop["name"]]
            for loop in host.status()["loops"]
            if loop["incarnation"] != lives[loop["name"]]
        }
        events = host.cli("events").stdout.count("over_budget")
    return {"row": name, "before": before, "during": during, "deaths": deaths, "over_budget_events": events}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help=", ".join(ATTACKS))
    parser.add_argument("--seconds", type=float, default=ATTACK_S)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--attack", nargs=3, metavar=("ROW", "BUNDLE", "PORT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.attack:
        name, bundle, port = arguments.attack
        asyncio.run(ATTACKS[name](Path(bundle), int(port)))  # type: ignore[arg-type]
        return 0
    found = []
    print("row                p50 ms         p99 ms         max ms    newcomers        deaths")
    for name in arguments.rows or ATTACKS:
        row = measure(name, arguments.seconds)
        before, during = row["before"], row["during"]
        pairs = [f"{before[key]} -> {during[key]}" for key in ("p50_ms", "p99_ms")]
        print(
            f"{name:18} {pairs[0]:14} {pairs[1]:14} {during['max_ms']!s:9} {during['newcomers']:16} "
            f"{row['deaths'] or 'none'} {during['errors'] or ''}",
            flush=True,
        )
        found.append(row)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    socket.setdefaulttimeout(60)
    raise SystemExit(main())
