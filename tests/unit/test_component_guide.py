"""The components of the guide are whole: each block that is one runs as it is printed, in a test without a host."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tlsrt import Component
from tlsrt.loops.component.timers import timers_of
from tlsrt.testing import running

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "components.md"
BLOCKS = [
    block for block in re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    if "(Component)" in block and "import" in block
]  # fmt: skip


def classes_of(block: str) -> dict[str, Any]:
    """Run a block as a module of its own, and return its components."""
    module = ModuleType("guide_block")
    sys.modules["guide_block"] = module  # annotations are looked up there
    exec(compile(block, str(GUIDE), "exec"), vars(module))
    found = {name: value for name, value in vars(module).items() if isinstance(value, type)}
    return {name: kind for name, kind in found.items() if issubclass(kind, Component) and kind is not Component}


def component(name: str) -> Any:
    return next(found[name] for found in map(classes_of, BLOCKS) if name in found)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall(r"class (\w+)\(Component", block)[0])
def test_a_component_of_the_guide_can_be_made(block: str) -> None:
    assert all(kind() is not None for kind in classes_of(block).values())


class FakeKernel:
    async def uname(self) -> dict[str, str]:
        return {"release": "6.1"}


class FakeEvents:
    async def lifecycle(self, since: str) -> Any:
        yield {"at": "ab:1", "gap": 2}
        await asyncio.Event().wait()


def test_the_one_with_peers_calls_one_and_follows_another(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        peers = {"primary/kernel": FakeKernel(), "primary/events": FakeEvents()}
        async with running(component("Report"), peers=peers) as report:
            assert await report.call("release") == "6.1"
            while "missed 2 events" not in caplog.text:
                await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(main(), 5))


def test_the_one_with_timers_runs_and_has_them() -> None:
    kind = component("Tidy")
    assert [*timers_of(kind)] == ["poll", "tidy"]

    async def main() -> None:
        async with running(kind):
            pass

    asyncio.run(main())
