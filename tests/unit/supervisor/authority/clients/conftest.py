"""The authority's service with a folder for its state, in which clients can be enrolled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.authority_service import FakeAuthorityService
from hosts.enrolment import ready


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def stage(tmp_path: Path, folder: int) -> FakeAuthorityService:
    return ready(FakeAuthorityService(tmp_path, folder))
