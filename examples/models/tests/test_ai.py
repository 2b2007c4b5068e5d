"""The component with its worker in a plain process: `pytest` here."""

from __future__ import annotations

from tlsrt_ai import Ai

from tlsrt.testing import running_sync


def test_jobs() -> None:
    with running_sync(Ai) as ai:
        assert ai.call("heavy_numpy", 0.1) > 0
        assert ai.call("big", 16) == 16 << 20
        assert [one["done"] for one in ai.stream("count", 3, 1)] == [1, 2, 3]
