"""The component with its worker in a plain process: `pytest` here."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tlsrt_ai import Ai

from tlsrt.testing import running_sync

SCRIPT = b"#!/bin/sh\necho hello; for i in 1 2; do echo $i; done\n"


async def silence() -> AsyncIterator[bytes]:
    for _ in range(10):
        yield bytes(700)


def test_identify_and_speech() -> None:
    with running_sync(Ai) as ai:
        assert ai.call("identify", SCRIPT)["label"] == "shell"
        assert len(list(ai.exchange("speech", silence()))) == 6
        assert ai.call("heavy_numpy", 0.1) > 0
        assert ai.call("big", 16) == 16 << 20
        assert [one["done"] for one in ai.stream("count", 3, 1)] == [1, 2, 3]
