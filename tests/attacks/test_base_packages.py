"""Attacked sentence: no process finds packages of the interpreter that its environment is made of."""

from __future__ import annotations

import glob
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from attackers.curious_package.curious import PLACES
from hosts.running_host import RunningHost, running

PACKAGE = Path(__file__).parents[1] / "attackers" / "curious_package" / "curious"
COMPONENT = "forth/curious"


@pytest.fixture(scope="module")
def there() -> list[str]:
    """What lies there on this host, but for what the environment imports from."""
    own = sysconfig.get_path("purelib")
    return [path for place in PLACES for path in glob.glob(place) if not path.startswith(own)]


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    components = {COMPONENT: {"class": "curious:Curious"}}
    yield from running(
        request, components=components, policy={f"client/admin -> {COMPONENT}": "*"}, packages=[PACKAGE]
    )  # fmt: skip


def test_a_captured_package_finds_nothing_as_it_is_imported_nor_later(host: RunningHost, there: list[str]) -> None:
    if not there:
        pytest.skip("the base interpreter has no packages")
    with host.client() as client:
        own = sysconfig.get_path("purelib")
        assert [path for path in client.call(COMPONENT, "found") if not path.startswith(own)] == []
        assert "" not in client.call(COMPONENT, "try_open", there[:20])


def test_explain_says_why(host: RunningHost, there: list[str]) -> None:
    if not there:
        pytest.skip("the base interpreter has no packages")
    said = host.cli("sandbox", "explain", "forth.curious", there[0]).stdout
    assert "no package of the base interpreter is shown" in said, said
