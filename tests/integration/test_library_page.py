"""The page "what your library may not do", line by line, in a real sealed process."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlsrt.testing import running
from tlsrt.testing.running import use_way
from tlsrt.testing.sealed import SealedRun

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "hosts" / "sealed_package"
PAGE = ROOT / "docs" / "guide" / "libraries.md"
LINE = re.compile(r"^\| `([^`]+)` \| `(\w+)` \| (.*)\|$", re.MULTILINE)
LINES = {name: (outcome, remark) for name, outcome, remark in LINE.findall(PAGE.read_text())}
NEEDS = {"egress": [{"to": ["192.0.2.7:443"], "why": "a host that is never reached"}]}


@pytest.fixture(scope="module")
def found() -> Iterator[tuple[dict[str, str], list[str]]]:
    """What each call has met, and what was told of it."""
    sys.path.append(str(PACKAGE))
    run = SealedRun()
    use_way(run.way)
    everyday = importlib.import_module("sealable.everyday")

    async def main() -> tuple[dict[str, str], list[str]]:
        async with asyncio.timeout(60), running(everyday.Everyday, needs=NEEDS) as it:
            outcomes = {name: await it.call("attempt", name) for name in LINES}
            told = list(it.refused)
            it.refused.clear()
            return outcomes, told

    try:
        yield asyncio.run(main())
    finally:
        use_way(None)
        run.close()
        sys.path.remove(str(PACKAGE))


@pytest.mark.parametrize("name", LINES)
def test_a_line_of_the_page_is_what_is_met(found: tuple[dict[str, str], list[str]], name: str) -> None:
    is_below_it = name == "tempfile in /tmp" and ROOT.is_relative_to("/tmp")  # then it is there, and cannot be written
    assert found[0][name] == ("EROFS" if is_below_it else LINES[name][0])


def test_only_what_counts_is_told(found: tuple[dict[str, str], list[str]]) -> None:
    text = PAGE.read_text()
    harmless = text[: text.index("## It is refused")]
    told = " ".join(found[1])
    assert len(LINES) >= 24 and len(LINE.findall(harmless)) >= 19
    harmless_calls = "setsockopt chmod chown pipe fcntl sched_setaffinity mbind inotify memfd vfork openat ioctl"
    for word in harmless_calls.split():
        assert word not in told
    assert "executable memory" in told and "192.0.2.8:443: no egress rule lists it" in told
