"""A package with many modules and many components is added: the supervisor serves all others meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hosts.reloading_host import EX_CONFIG, PACKAGE, edit, outcomes, reload, seal_host
from hosts.running_host import RunningHost, running

COMPONENTS = [f"c{number:02}" for number in range(13)]
MODULES, FUNCTIONS = 600, 40
CHECK_S = 6.0  # instead of a minute: what is not made to hang here takes a second
# Notes who reads sources of packages, and has it wait or die if a file says so.
PRELUDE = """
import os, signal
from tlsrt.config import packages
from tlsrt.supervisor.reload import reload
reload.CHECK_S = {check_s}
look = packages.imported_names

def watched(sources):
    with open({readers!r}, "a") as file:
        file.write(f"{{os.getpid()}}\\n")
    if os.path.exists({hang!r}):
        signal.pause()
    if os.path.exists({die!r}):
        os.kill(os.getpid(), signal.SIGKILL)
    return look(sources)

packages.imported_names = watched
"""


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notes")
    (folder / "readers").touch()
    return folder


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, notes: Path) -> Iterator[RunningHost]:
    names = {name: str(notes / name) for name in ("readers", "hang", "die")}
    yield from running(
        request,
        components={"third/probed": {"class": "probed:Probed"}},
        policy={"client/admin -> third/probed": "*"},
        packages=[PACKAGE],
        prelude=PRELUDE.format(check_s=CHECK_S, **names),
    )


def put_packages(host: RunningHost) -> None:
    """Make a library of many modules, and a package of components and workers that import it."""
    assert host._code is not None
    library, package = host._code / "bulk", host._code / "heavy"
    functions = "".join(f"def function_{number}(a):\n    return a + {number}\n\n" for number in range(FUNCTIONS))
    classes = (
        f"class {name.upper()}(Component):\n    @handler\n    async def hi(self) -> int:\n        return 1\n\n"
        for name in COMPONENTS
    )
    sources = {
        library / "__init__.py": "",
        package / "__init__.py": "import bulk\nfrom tlsrt import Component, handler\n\n" + "".join(classes),
        package / "model.py": "import bulk\n\ndef run() -> int:\n    return 1\n",
        **{library / f"m{number}.py": f"import os\n\n{functions}" for number in range(MODULES)},
    }
    for folder in (library, package):
        folder.mkdir(mode=0o755)
    for path, text in sources.items():
        path.write_text(text)
        path.chmod(0o644)


def configure(document: dict[str, Any]) -> None:
    program = {"worker": "heavy.model", "why": "a test has one", "memory_mb": 192}
    for name in COMPONENTS:
        document["components"][f"third/{name}"] = {"class": f"heavy:{name.upper()}", "programs": {"model": program}}
        document["policy"][f"client/admin -> third/{name}"] = "*"


def in_thread(host: RunningHost, code: int, said: list[dict[str, Any]]) -> threading.Thread:
    thread = threading.Thread(target=lambda: said.append(reload(host, code=code)))
    thread.start()
    return thread


def test_one_whose_survey_hangs_or_dies_is_refused_in_a_sentence_and_holds_nobody_up(
    host: RunningHost, notes: Path
) -> None:
    put_packages(host)
    edit(host, configure)
    seal_host(host)
    before, client = host.pids(), host.client()
    supervisor = psutil.Process(before["supervisor"])
    earlier = set(supervisor.children())
    (notes / "readers").write_text("")  # the start read some
    (notes / "hang").touch()
    said: list[dict[str, Any]] = []
    thread = in_thread(host, EX_CONFIG, said)
    while not (notes / "readers").read_text():
        assert thread.is_alive() and client.call("third/probed", "add", 1)
    (reader,) = set(supervisor.children()) - earlier
    assert host.status()["boundary"] is not None and not said, "the supervisor answers while its child looks"
    assert client.call("third/probed", "add", 1)
    thread.join()
    assert "packages of components could not be looked through in 6 s, so nothing was changed" in said[0]["said"][0]
    assert not reader.is_running()
    (notes / "hang").unlink()
    (notes / "die").touch()
    (sentence,) = reload(host, code=EX_CONFIG)["said"]
    assert "could not be measured: the process that looked at its files ended before it was done" in sentence
    (notes / "die").unlink()
    assert before.items() <= host.pids().items(), "nothing was restarted"


def test_thirteen_heavy_components_come_and_no_source_is_read_by_the_supervisor(host: RunningHost, notes: Path) -> None:
    before, client = host.pids(), host.client()
    (notes / "readers").write_text("")
    said: list[dict[str, Any]] = []
    thread = in_thread(host, 0, said)
    answers = 0
    while thread.is_alive():
        assert client.call("third/probed", "add", 1) and host.status(), "without a key: births of others end no call"
        answers += 1
    assert answers > 1
    assert {name: how for name, how in outcomes(said[0]).items() if how != "unchanged"} == {
        f"third.{name}": "added" for name in COMPONENTS
    }
    assert before.items() <= host.pids().items()
    assert host.client().call("third/c12", "hi") == 1
    readers = (notes / "readers").read_text().split()
    assert "1" not in readers, "the supervisor is process 1 of its namespace"
    assert len(readers) < len(COMPONENTS), f"each folder is looked through once: {readers}"
