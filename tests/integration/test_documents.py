"""The documents against the code: generated pages are fresh; commands and clients of README, tutorial and guides run.

A page's commands run in a folder of their own where `var` is the host's folder, as in a checkout. Blocks that call make
are the newcomer's first minutes, which tests/tools/clean_clone.sh goes through.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.host_files import DEFAULT_SESSIONS
from hosts.running_host import RunningHost, running
from tools.documents import ROOT, Block, blocks
from tools.reference import pages

pytestmark = pytest.mark.once

PAGES = [ROOT / "README.md", ROOT / "docs" / "tutorial.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]

ENDS = re.compile(r"^(.+?) +# exit code (\d+)(?: or (\d+))?$", re.M)  # what a command says of its end


def checked(command: re.Match[str]) -> str:
    """Return a command that fails unless it ends with a code that the document names."""
    codes = [f"$code -eq {code}" for code in command.groups()[1:] if code]
    return f"code=0; {command[1]} || code=$?; test {' -o '.join(codes)}"


def runnable(page: Path) -> list[Block]:
    """Return what is run: shell commands, and Python that calls as a client does."""
    return [
        block
        for block in blocks(page, "sh", "python")
        if (not block.text.startswith("make ") if block.language == "sh" else "with Client(" in block.text)
    ]


@pytest.mark.parametrize("name", pages.PAGES)
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    path = pages.path_of(name)
    is_fresh = path.exists() and path.read_text() == pages.document(name)
    assert is_fresh, f"docs/reference/{name}.md is stale: run `make docs-reference` and commit what it writes"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, limits=DEFAULT_SESSIONS)  # as a reader's host has them


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page: Path, host: RunningHost, tmp_path: Path) -> None:
    (tmp_path / "var").symlink_to(host.folder)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if os.geteuid() == 0:  # root has to name it
        environment["TLSRT_CONFIG"] = str(host.config_path)
    for block in runnable(page):
        program = ["bash", "-euxo", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
        ran = subprocess.run(
            [*program, ENDS.sub(checked, block.text)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert ran.returncode == 0, f"{page.name}:{block.line} ended with {ran.returncode}\n{ran.stdout}{ran.stderr}"
