"""A stage for each way to start: as root (if we are), and as a user without rights."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from probes.sandbox_runner import MODES, SandboxRunner, make_stage


@pytest.fixture(params=MODES)
def stage(request: pytest.FixtureRequest) -> Iterator[SandboxRunner]:
    with make_stage(request.param) as made:
        yield made


@pytest.fixture(params=MODES, scope="module")
def shared_stage(request: pytest.FixtureRequest) -> Iterator[SandboxRunner]:
    with make_stage(request.param) as made:
        yield made
