"""What psutil finds in a component, line by line of the page of libraries, by what the component is granted."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tlsrt.testing import running
from tlsrt.testing.running import use_way
from tlsrt.testing.sealed import SealedRun

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "hosts" / "sealed_package"
WHY = {"why": "it watches the machine"}
READS = {"calls": ["ioctl"], "when": ["arg1 in SIOCGIFNAME SIOCGIFFLAGS SIOCGIFMTU SIOCETHTOOL"], **WHY}
NEEDS: Mapping[str, Mapping[str, Any]] = {
    "nothing": {}, "proc": {"proc": WHY}, "sys": {"sys": WHY},
    "proc, network": {"proc": WHY, "network": WHY},
    "proc, network, calls": {"proc": WHY, "network": WHY, "calls": [READS]},
}  # fmt: skip
LINE = re.compile(rf"^\| (`psutil\..*?) \| ({'|'.join(map(re.escape, NEEDS))}) \|", re.MULTILINE)
LINES = {
    name.removeprefix("psutil.").removesuffix("()"): needs
    for names, needs in LINE.findall((ROOT / "docs" / "guide" / "libraries.md").read_text())
    for name in re.findall(r"`([^`]+)`", names)
}


@pytest.fixture(scope="module")
def found() -> Iterator[Mapping[str, Mapping[str, str]]]:
    """By needs and by call: what it says."""
    sys.path.append(str(PACKAGE))
    run = SealedRun()
    use_way(run.way)
    machine = importlib.import_module("sealable.machine")

    async def main() -> dict[str, dict[str, str]]:
        outcomes: dict[str, dict[str, str]] = {}
        for name, needs in NEEDS.items():
            async with asyncio.timeout(60), running(machine.Machine, needs=needs) as it:
                outcomes[name] = {call: await it.call("attempt", call) for call in LINES}
                it.refused.clear()  # of what is tried without its grant
        return outcomes

    try:
        yield asyncio.run(main())
    finally:
        use_way(None)
        run.close()
        sys.path.remove(str(PACKAGE))


@pytest.mark.parametrize("name", LINES)
def test_a_call_works_with_the_needs_of_its_line(found: Mapping[str, Mapping[str, str]], name: str) -> None:
    needs = LINES[name]
    assert found[needs][name] == "works"
    assert needs == "nothing" or found["nothing"][name] != "works"


def test_each_kind_of_needs_has_a_line() -> None:
    assert set(LINES.values()) == set(NEEDS) and len(LINES) > 18
