"""`component backup` and `component restore` of a component that runs, with its database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.installation import installed_with_pip, scratch
from hosts.installed_host import InstalledHost
from hosts.plain_wheels import write_wheel

EX_CONFIG = 78
SOURCE = """\
import tlsrt
class Keeper(tlsrt.Component):
    db = tlsrt.database(steps=["create table notes (text text not null)"])
    async def start(self) -> None:
        if (self.state / "spoiled").exists():
            raise ValueError("it is spoiled")
    @tlsrt.handler
    async def add(self, text: str) -> int:
        await self.db.execute("insert into notes (text) values (?)", text)
        return len(await self.db.read("select text from notes"))
    @tlsrt.handler
    async def notes(self) -> list[str]:
        return [row["text"] for row in await self.db.read("select text from notes")]
    @tlsrt.handler
    async def spoil(self) -> None:
        (self.state / "spoiled").touch()
    @tlsrt.handler
    async def mend(self) -> None:
        (self.state / "spoiled").unlink()
"""


def package(name: str) -> Path:
    manifest = f'manifest: 1\ncomponent: third/{name}\nclass: "{name}:Keeper"\ntitle: keeps\nneeds: {{state_mb: 8}}\n'
    files = {f"{name}/__init__.py": SOURCE, f"{name}/tlsrt.yaml": manifest}
    return write_wheel(scratch() / "backup-wheels", name, files, component=True)


@pytest.fixture(scope="module")
def host() -> Iterator[InstalledHost]:
    host = InstalledHost(installed_with_pip(), scratch() / "backup")
    host.init()
    with host.started():
        component(host, "add", "--isolated", package("keeper"), "--yes")
        yield host


def component(host: InstalledHost, *words: str | Path) -> dict[str, Any]:
    code, output, errors = host.run("component", *words, "--json")
    assert code == 0, errors
    found: dict[str, Any] = json.loads(output)
    return found


def refused(host: InstalledHost, *words: str | Path) -> str:
    ended, _, errors = host.run("component", *words)
    assert ended == EX_CONFIG, errors
    return errors


def test_a_state_comes_back_and_one_that_does_not_start_goes_again(host: InstalledHost) -> None:
    file, spoiled = scratch() / "keeper.state", scratch() / "spoiled.state"
    host.call("third/keeper", "add", "one")
    made = component(host, "backup", "third/keeper", file)
    assert made["left_out"] == [] and file.stat().st_mode & 0o777 == 0o600
    host.call("third/keeper", "add", "two")
    host.call("third/keeper", "spoil")
    component(host, "backup", "third/keeper", spoiled)
    host.call("third/keeper", "mend")

    answer = component(host, "restore", "third/keeper", file)
    assert answer["host"] and answer["kept"] is None
    assert host.call("third/keeper", "notes") == ["one"]
    assert host.call("third/keeper", "add", "three") == 2

    error = refused(host, "restore", "third/keeper", spoiled)
    assert "does not start with this state, and has the one from before again" in error
    assert host.call("third/keeper", "notes") == ["one", "three"]
    assert not list((host.folder / "state").glob(".before-restore*"))

    damaged = scratch() / "damaged.state"
    damaged.write_bytes(file.read_bytes()[:-40])
    assert "is damaged, or was not written to its end" in refused(host, "restore", "third/keeper", damaged)
    assert host.call("third/keeper", "notes") == ["one", "three"]
