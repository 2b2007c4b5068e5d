"""A real authority process for each test, with the configuration that it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.authority_host import AuthorityHost, Factory, make_config


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[Factory]:
    hosts: list[AuthorityHost] = []

    def make(**options: Any) -> AuthorityHost:
        hosts.append(AuthorityHost(make_config(tmp_path, **options)))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


@pytest.fixture
def host(make_host: Factory) -> AuthorityHost:
    return make_host()
