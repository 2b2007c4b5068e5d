"""Attacked sentence: whatever strangers send by WebSocket, a native client and an enrolled browser are served.

The host has its ordinary detection. The attackers come from other addresses of loopback than those who are served.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from hosts.console_browser import ConsoleBrowser, Tab
from hosts.running_host import RunningHost, running
from hosts.web_client import BINARY, PING, WebPeer, masked

STORE = "secondary/store"
ATTACKERS = 24
CALLS = 100
ENDS = (OSError, EOFError, asyncio.TimeoutError, AssertionError)  # how a host ends what it does not want
MEASURE = f"""await (async () => {{
  const took = []
  for (let at = 0; at < {CALLS}; at++) {{
    const begun = performance.now()
    await client.call('{STORE}', 'get', ['here'])
    took.push(performance.now() - begun)
  }}
  return took
}})()"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    for host in running(request, policy={f"client/admin -> {STORE}": "*"}, extra={"door": {"console": True}}):
        with host.client() as client:
            client.call(STORE, "put", "here", 1)
        yield host


@pytest.fixture(scope="module")
def tab(host: RunningHost) -> Iterator[Tab]:
    """An enrolled browser with a session."""
    made = host.cli("console", "phone", "--allow", f"{STORE}: [get]", "--json")
    assert made.returncode == 0, made.stderr
    code = json.loads(made.stdout)["link"].partition("#")[2]
    with ConsoleBrowser(host.admin.ca_pem) as browser:
        tab = browser.tab(f"https://127.0.0.1:{host.port}/style.css")
        tab.run("globalThis.tlsrt = await import('/client.js')")
        tab.run(f"globalThis.client = await tlsrt.connect(await tlsrt.enrol({{ url: location.href, code: '{code}' }}))")
        tab.run("globalThis.lost = 0; client.addEventListener('offline', () => { lost++ })")
        yield tab


async def half_frames(peer: WebPeer) -> None:
    assert await peer.upgrade() == 101
    peer.writer.write(masked(BINARY, b"x" * 5000)[:4000])
    await peer.read_end()


async def fragments_of_one_byte(peer: WebPeer) -> None:
    assert await peer.upgrade() == 101
    peer.writer.write(masked(BINARY, b"x", fin=False))
    for _ in range(1100):
        peer.writer.write(masked(0, b"x", fin=False))
        await peer.writer.drain()
    await peer.read_end()


async def pings_whose_answers_are_not_read(peer: WebPeer) -> None:
    assert await peer.upgrade() == 101
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    while True:
        peer.writer.write(masked(PING, b"x" * 125) * 50)
        await peer.writer.drain()
        await asyncio.sleep(0)  # over TLS, drain() of Python 3.11 lets no turn pass in which the end would be seen


async def lengths_that_are_lies(peer: WebPeer) -> None:
    assert await peer.upgrade() == 101
    peer.writer.write(b"\x82\xff" + (2**63 - 1).to_bytes(8, "big") + b"mask" + b"x" * 60000)
    await peer.read_end()


async def a_head_byte_by_byte(peer: WebPeer) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    for byte in f"GET /tlsrt HTTP/1.1\r\nHost: {peer.authority}\r\nSec-WebSocket-Key: {key}\r\nX: ".encode():
        peer.writer.write(bytes([byte]))
        await peer.writer.drain()
        await asyncio.sleep(0.01)
    await peer.read_end()


async def nothing_but_connections(peer: WebPeer) -> None:
    return


async def plain_files_again_and_again(peer: WebPeer) -> None:
    """Each is unpacked for its answer."""
    while True:
        status, fields, _ = await peer.ask("/client.js", accept_encoding="gzip;q=0")
        assert status == 200 and "content-encoding" not in fields


async def absurd_codings(peer: WebPeer) -> None:
    for value in ("gzip;q=0," * 800, "," * 8000, "gzip;q=" + "9" * 8000, ";" * 8000, "\xff" * 8000):
        status, fields, _ = await peer.ask("/client.js", accept_encoding=value)
        assert status == 200 and "content-encoding" not in fields


async def garbage_after_the_upgrade(peer: WebPeer) -> None:
    assert await peer.upgrade() == 101
    peer.writer.write(masked(BINARY, os.urandom(200)))
    await peer.read_end()


@contextmanager
def attacked(host: RunningHost, attack: Callable[[WebPeer], Awaitable[None]]) -> Iterator[list[int]]:
    """Let many attackers come again and again; gives how often they came, once they all have."""
    counts, begun, ends = [0], threading.Event(), threading.Event()

    async def one(number: int) -> None:
        while not ends.is_set():
            with suppress(*ENDS):
                async with WebPeer(host.admin.ca_pem, host.port, source=f"127.0.{number % 4}.9") as peer:
                    counts[0] += 1
                    if counts[0] >= ATTACKERS // 2:
                        begun.set()
                    await asyncio.wait_for(attack(peer), 5)
            await asyncio.sleep(0)

    async def all_of_them() -> None:
        tasks = [asyncio.create_task(one(number)) for number in range(ATTACKERS)]
        await asyncio.to_thread(ends.wait)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(all_of_them()), daemon=True)
    thread.start()
    assert begun.wait(30), f"only {counts[0]} attackers came"
    try:
        yield counts
    finally:
        ends.set()
        thread.join(30)
    assert not thread.is_alive(), "the attackers go on"


def p99(took: list[float]) -> float:
    return sorted(took)[int(0.99 * (len(took) - 1))]


@pytest.mark.parametrize(
    "attack",
    [
        half_frames, fragments_of_one_byte, pings_whose_answers_are_not_read, lengths_that_are_lies,
        a_head_byte_by_byte, nothing_but_connections, garbage_after_the_upgrade, plain_files_again_and_again,
        absurd_codings,
    ],
)  # fmt: skip
def test_clients_are_served_meanwhile(
    host: RunningHost, tab: Tab, attack: Callable[[WebPeer], Awaitable[None]]
) -> None:
    native = []
    with attacked(host, attack) as counts:
        with host.client() as client:
            for _ in range(CALLS):
                begun = time.monotonic()
                assert client.call(STORE, "get", "here") == 1
                native.append(1000 * (time.monotonic() - begun))
        browser = tab.run(MEASURE)
        came = counts[0]
    assert tab.run("lost") == 0, "the browser lost its session"
    print(f"{attack.__name__}: {came} came; p99 native {p99(native):.1f} ms, browser {p99(browser):.1f} ms")
    assert len(browser) == CALLS
