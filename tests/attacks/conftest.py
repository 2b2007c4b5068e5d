"""A running host with captured loops, for every module of attacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attackers.arena import STAGE, Arena
from hosts.running_host import RunningHost, running


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    """One host per module: two attackers, a victim, and an attacker in Primary that most modules leave asleep."""
    yield from running(request, **STAGE)


@pytest.fixture(scope="module")
def stage(host: RunningHost) -> Iterator[Arena]:
    arena = Arena(host)
    yield arena
    arena.settle()


@pytest.fixture
def arena(stage: Arena) -> Arena:
    """The arena at the beginning of an attack."""
    stage.mark()
    return stage
