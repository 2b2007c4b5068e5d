"""One host per module and mode, whose configuration the tests change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hosts.reloading_host import PROBED
from hosts.running_host import RunningHost, running
from probes.sandbox_runner import MODES


@pytest.fixture(scope="module", params=MODES)
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, **PROBED, mode=request.param)
