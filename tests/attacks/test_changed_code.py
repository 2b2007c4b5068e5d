"""Attacked sentence: code and data that are exchanged while the host runs are not imported by the next birth."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.reloading_host import PACKAGE, edit, reload, seal_host
from hosts.running_host import RunningHost, running

SOURCE = """
from tlsrt import Component, handler
{imports}

class One(Component):
    @handler
    async def said(self) -> str:
        return {value}
"""
EVIL = "evil, which nobody has sealed"


def put_packages(host: RunningHost) -> Path:
    """Make the packages: `swapped` alone, `needing` and the package that it needs, `reading` and its data."""
    assert host._code is not None
    put(host._code / "swapped" / "__init__.py", SOURCE.format(imports="", value="'good'"))
    put(
        host._code / "linked" / "__init__.py", SOURCE.format(imports="from linked.inner.deep import WORD", value="WORD")
    )
    put(host._code / "linked" / "inner" / "__init__.py", "")
    put(host._code / "linked" / "inner" / "deep.py", "WORD = 'good'\n")
    put(host._code / "needing" / "__init__.py", SOURCE.format(imports="import needed", value="needed.WORD"))
    put(host._code / "needed" / "__init__.py", "WORD = 'good'\n")
    read = "Path(__file__).with_name('word.txt').read_text()"
    put(host._code / "reading" / "__init__.py", SOURCE.format(imports="from pathlib import Path", value=read))
    put(host._code / "reading" / "word.txt", "good")
    return host._code


def put(path: Path, text: str) -> None:
    """Put a file in its place at once, as a package manager and an attacker do."""
    path.parent.mkdir(mode=0o755, exist_ok=True, parents=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.chmod(0o644)
    new.rename(path)


NAMES = ("swapped", "linked", "needing", "reading")


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    options: dict[str, Any] = {
        "components": {"third/probed": {"class": "probed:Probed"}},
        "policy": {"client/admin -> third/probed": "*"},
        "packages": [PACKAGE],
        "extra": {"measure": "strict"},
    }
    for host in running(request, **options):
        put_packages(host)
        edit(host, add_components)
        seal_host(host)
        reload(host)
        yield host


def add_components(document: dict[str, Any]) -> None:
    more: dict[str, Any] = {"reading": {"data": ["word.txt"]}}
    for name in NAMES:
        document["components"][f"third/{name}"] = {"class": f"{name}:One", **more.get(name, {})}
        document["policy"][f"client/admin -> third/{name}"] = "*"


def swap_module(code: Path) -> None:
    put(code / "swapped" / "__init__.py", SOURCE.format(imports="", value=repr(EVIL)))


def swap_folder_by_link(code: Path) -> None:
    elsewhere = code.parent / "elsewhere"
    shutil.copytree(code / "linked" / "inner", elsewhere)
    put(elsewhere / "deep.py", f"WORD = {EVIL!r}\n")
    shutil.rmtree(code / "linked" / "inner")
    (code / "linked" / "inner").symlink_to(elsewhere)


def put_folder_for_link(code: Path) -> None:
    place = code / "linked" / "inner"
    place.unlink()
    (code.parent / "elsewhere").rename(place)


def swap_dependency(code: Path) -> None:
    put(code / "needed" / "__init__.py", f"WORD = {EVIL!r}\n")


def swap_data(code: Path) -> None:
    put(code / "reading" / "word.txt", EVIL)


@pytest.mark.parametrize(
    ("name", "swap", "root"),
    [
        ("swapped", swap_module, "swapped"),
        ("linked", swap_folder_by_link, "linked"),
        ("needing", swap_dependency, "needed"),
        ("reading", swap_data, "reading/word.txt"),
    ],
)
def test_what_is_exchanged_is_refused_told_and_serves_after_an_approved_reload(
    host: RunningHost, name: str, swap: Callable[[Path], None], root: str
) -> None:
    assert host._code is not None
    client, process = host.client(), f"third.{name}"
    assert client.call(f"third/{name}", "said") == "good"
    others = {one: pid for one, pid in host.pids().items() if one != process}
    swap(host._code)
    host.kill(process)
    status = host.until(lambda status: state_of(status, process)["state"] == "failed", f"{process} is refused")
    death = state_of(status, process)["last_death"]
    sentence = f"the code of third/{name} is not what was sealed: {host._code / root} has changed"
    assert death["cause"] == "code_changed" and sentence in death["sentence"], death
    event = host.told("code_changed", process)
    assert sentence in event and str(host._code / root) in event
    assert "type `tlsrt-supervisor seal` and `tlsrt-supervisor reload`" in host.cli("status", process).stdout
    assert EVIL not in host.log(process)
    refused = reload(host, code=78)["said"]
    assert any("seal" in line for line in refused), refused
    assert {one: pid for one, pid in host.pids().items() if one != process} == others, "no neighbour is disturbed"
    assert client.call("third/probed", "add", 1) >= 1
    if name == "linked":  # what a link out of its package leads to no sandbox shows: the operator puts a folder there
        put_folder_for_link(host._code)
    seal_host(host)
    reload(host)
    assert client.call(f"third/{name}", "said") == EVIL, "the operator wanted it"


def state_of(status: dict[str, Any], process: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in status["loops"] if one["name"] == process)
    return found


def test_what_is_written_again_as_it_was_is_as_good_after_a_reload(host: RunningHost) -> None:
    assert host._code is not None
    path = host._code / "swapped" / "__init__.py"
    put(path, path.read_text())
    host.kill("third.swapped")
    host.until(lambda status: state_of(status, "third.swapped")["state"] == "failed", "it is refused")
    reload(host)  # what is measured is what was sealed: no yes is needed
    assert host.client().call("third/swapped", "said")
    assert os.path.exists(path)
