"""Tests of components without a host: `running`, and `pytest --sealed` for the same tests under the real filters."""

from __future__ import annotations

from tlsrt.testing.answering import Sent
from tlsrt.testing.granted import FakeDevice, FakeEvents
from tlsrt.testing.running import ComponentUnderTest, SealedError, running
from tlsrt.testing.synchronous import SynchronousComponent, running_sync

__all__ = [
    "ComponentUnderTest", "FakeDevice", "FakeEvents", "SealedError", "Sent", "SynchronousComponent", "running",
    "running_sync",
]  # fmt: skip
