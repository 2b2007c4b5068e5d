"""The pytest plugin: `--sealed` runs the components of all tests under the real filters, and the fixture `tlsrt`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    group = parser.getgroup("tlsrt")
    group.addoption(
        "--sealed", action="store_true", help="run each component in a sealed process, as a host does (tlsrt.testing)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Run components sealed from now on, if that is asked for."""
    if not config.getoption("--sealed"):
        return
    from tlsrt.testing.running import use_way
    from tlsrt.testing.sealed import SealedRun

    run = SealedRun()
    use_way(run.way)
    config.add_cleanup(run.close)
    config.add_cleanup(lambda: use_way(None))


@pytest.fixture
def is_sealed(request: pytest.FixtureRequest) -> bool:
    """Whether components run sealed: what a test may then not look at is `component`."""
    return bool(request.config.getoption("--sealed"))


@pytest.fixture
def tlsrt() -> Iterator[Callable[..., Any]]:
    """Run components until the end of the test: `kettle = tlsrt(Kettle, options={...})`, as `running_sync`."""
    from tlsrt.testing.synchronous import running_sync

    with ExitStack() as stack:

        def run(*args: Any, **kwargs: Any) -> Any:
            manager: AbstractContextManager[Any] = running_sync(*args, **kwargs)
            return stack.enter_context(manager)

        yield run
