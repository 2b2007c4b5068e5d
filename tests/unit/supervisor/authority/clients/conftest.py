"""The authority's service with a folder for its state, in which clients can be enrolled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.enrolling import ready
from support.service_stage import Stage


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def stage(tmp_path: Path, folder: int) -> Stage:
    return ready(Stage(tmp_path, folder))
