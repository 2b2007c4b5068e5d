"""Coming again to a Primary that is replaced while it is asked to lock or to unlock."""

from __future__ import annotations

import asyncio

import pytest

from tlsrt.channels.client import lock
from tlsrt.channels.client.connection import EndedEarly
from tlsrt.config.bundle import Bundle
from tlsrt.errors import Unavailable

BUNDLE = Bundle(1, bytes(16), "ops", "127.0.0.1", 1, "127.0.0.1", b"", b"", b"", bytes(32))


@pytest.mark.parametrize(("timeout_s", "gets_in"), [(30.0, True), (0.01, False)])
def test_a_connection_that_ends_before_anything_was_asked_is_made_again_for_as_long_as_the_caller_waits(
    monkeypatch: pytest.MonkeyPatch, timeout_s: float, gets_in: bool
) -> None:
    tries = 0

    async def try_once(*_: object) -> str:
        nonlocal tries
        tries += 1
        if tries < 30:
            raise EndedEarly("the server ended the connection")
        return lock.LOST

    monkeypatch.setattr(lock, "_try_once", try_once)
    monkeypatch.setattr(lock, "RETRY_S", 0.01)
    monkeypatch.setattr(lock, "REPLACED_S", 0.02)
    trying = lock._try(BUNDLE, None, None, timeout_s)
    if gets_in:
        assert asyncio.run(trying) == lock.LOST
    else:
        with pytest.raises(Unavailable, match="ended the connection"):
            asyncio.run(trying)
        assert tries > 1
