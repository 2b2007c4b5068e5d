"""One host per module, whose configuration the tests change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.reloading import PROBED
from support.running import RunningHost, running


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **PROBED)
