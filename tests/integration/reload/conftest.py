"""One host per module and mode, whose configuration the tests change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.reloading import PROBED
from support.running import RunningHost, running
from support.stage import MODES


@pytest.fixture(scope="module", params=MODES)
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **PROBED, mode=request.param)
