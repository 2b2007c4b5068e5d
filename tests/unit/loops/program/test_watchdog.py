"""The watchdog of a run: it ends one that is silent, and none whose word lies unread while we stand still."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from tlsrt.loops.program.watchdog import Watchdog, WatchdogError

SECONDS = 0.05


def test_one_that_is_silent_is_late() -> None:
    async def main() -> None:
        watchdog = Watchdog(SECONDS)
        watchdog.ready()
        with pytest.raises(WatchdogError, match=r"no WATCHDOG=1 for 0.05 s"):
            await asyncio.wait_for(watchdog.watch(), 10)

    asyncio.run(main())


def test_without_a_time_or_before_it_is_ready_none_is_late() -> None:
    async def main() -> None:
        free = Watchdog(None)
        free.alive()
        for one in (free, Watchdog(0.0)):
            watch = asyncio.ensure_future(one.watch())
            for _ in range(200):
                await asyncio.sleep(0)
            assert not watch.done()
            watch.cancel()

    asyncio.run(main())


@pytest.mark.parametrize("others", [0, 9])
def test_what_was_said_in_time_counts_though_the_event_loop_stood_still(others: int) -> None:
    """Of several notices, too, of which each is read in a turn of its own."""

    async def main() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        watchdog, left = Watchdog(SECONDS), others + 1
        heard = asyncio.Event()

        async def hear() -> None:
            nonlocal left
            while left:
                notice = await asyncio.ensure_future(asyncio.get_running_loop().sock_recv(ours, 64))
                left -= 1
                if notice == b"WATCHDOG=1":
                    watchdog.alive()
            heard.set()

        with ours, theirs:
            watchdog.ready()
            tasks = [asyncio.ensure_future(one) for one in (watchdog.watch(), hear())]
            for _ in range(4):
                await asyncio.sleep(0)
            for notice in (*[b"STATUS=x"] * others, b"WATCHDOG=1"):
                theirs.send(notice)
            end = time.monotonic() + 2 * SECONDS
            while time.monotonic() < end:
                pass  # the event loop stands still
            await heard.wait()
            assert not tasks[0].done()
            with pytest.raises(WatchdogError):
                await tasks[0]

    asyncio.run(main())
