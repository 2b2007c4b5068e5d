"""The authority's service with a folder for its state, in which clients can be enrolled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.authority_service import Stage
from hosts.enrolment import ready


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def stage(tmp_path: Path, folder: int) -> Stage:
    return ready(Stage(tmp_path, folder))
