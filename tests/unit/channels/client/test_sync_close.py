"""What a thread waits for when another one closes its client."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tlsrt import Cancelled, Client


def test_what_is_cut_off_by_a_close_has_the_type_of_a_call_error() -> None:
    client = Client.__new__(Client)  # without a host
    client._loop = asyncio.new_event_loop()
    thread = threading.Thread(target=client._loop.run_forever)
    thread.start()

    async def never() -> None:
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)  # type: ignore[union-attr]
        await asyncio.Event().wait()

    try:
        with pytest.raises(Cancelled, match="closed meanwhile"):
            client._run(never())
    finally:
        client._loop.call_soon_threadsafe(client._loop.stop)
        thread.join()
        client._loop.close()
