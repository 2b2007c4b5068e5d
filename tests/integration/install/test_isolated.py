"""Components with packages of their own in one host: their libraries, what they may not bring, and their state."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hosts.installation import installed_with_pip, scratch
from hosts.installed_host import InstalledHost
from hosts.plain_wheels import write_wheel

from tlsrt.supervisor.archive.state_file import Head, write_state

EX_CONFIG, EX_USAGE = 78, 64
SOURCE = """\
import importlib, os
import boil, msgpack, psutil, tlsrt
def found(name):
    try:
        return str(importlib.import_module(name).__file__)
    except ImportError:
        return ""
FOUND = {name: found(name) for name in ("pip", "yaml", "sitecustomize", "two")}
class NAME(tlsrt.Component):
    @tlsrt.handler
    async def version(self) -> int:
        return boil.VERSION
    @tlsrt.handler
    async def places(self) -> dict[str, str]:
        return {**FOUND, "msgpack": msgpack.__file__, "psutil": psutil.__file__, "boil": boil.__file__}
    @tlsrt.handler
    async def read(self, path: str) -> str:
        try:
            return ",".join(os.listdir(path))
        except OSError as error:
            return type(error).__name__
"""

KEEPER = """\
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
"""


def package(name: str, wheels: Path, needs: Sequence[str], version: str = "0.1", more: str = "", **files: str) -> Path:
    kind = name.title()
    manifest = f'manifest: 1\ncomponent: third/{name}\nclass: "{name}:{kind}"\ntitle: boils\n{more}'
    own = {f"{name}/__init__.py": SOURCE.replace("NAME", kind), f"{name}/tlsrt.yaml": manifest}
    return write_wheel(wheels, name, {**own, **files}, version=version, requires=needs, component=True)


@pytest.fixture(scope="module")
def wheels() -> Path:
    folder = scratch() / "isolated-wheels"
    for version in ("1.0", "2.0"):
        write_wheel(folder, "boil", {"boil.py": f"VERSION = {version[0]}\n"}, version=version)
    line = f"import os; os.mkdir({str(scratch() / 'ran')!r})"
    hooks = {"hook.pth": f"{line}\n", "hook.py": ""}
    write_wheel(folder, "hook", hooks)
    write_wheel(folder, "evil", {"psutil.py": "raise SystemExit\n"})
    return folder


@pytest.fixture(scope="module")
def host(wheels: Path) -> Iterator[InstalledHost]:
    monkey = pytest.MonkeyPatch()
    environment = installed_with_pip()
    monkey.setenv("PIP_NO_INDEX", "1")
    monkey.setenv("PIP_FIND_LINKS", str(wheels))
    host = InstalledHost(environment, scratch() / "isolated", forked=True)  # takes these along
    host.like_new()
    with host.started():
        component(host, "add", "--isolated", package("two", wheels, ["boil==2.0"]), "--yes")
        yield host
    monkey.undo()


KILLED = """\
import os, signal, sys
from tlsrt.command_line import run
from tlsrt.supervisor.cli.main import main
real = os.rename
def rename(source, target, **more):
    if str(target).endswith("boot.token"):  # all is written, and byte code too, but nothing is sealed
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, target, **more)
os.rename = rename
sys.argv = ["tlsrt-supervisor", *sys.argv[1:]]
main()
"""


def component(host: InstalledHost, *words: str | Path) -> dict[str, Any]:
    code, output, errors = host.run("component", *words, "--json")
    assert code == 0, errors
    found: dict[str, Any] = json.loads(output)
    return found


def refused(host: InstalledHost, *words: str | Path) -> str:
    ended, _, errors = host.run("component", *words)
    assert ended == EX_CONFIG, errors
    return errors


def folders(host: InstalledHost) -> list[str]:
    return sorted(path.name for path in (host.folder / "tlsrt.packages").glob("*"))


def test_two_components_have_two_versions_and_see_nothing_else(host: InstalledHost, wheels: Path) -> None:
    one = package("one", wheels, ["boil==1.0", "msgpack", "tlsrt", "hook"])
    [added] = component(host, "add", "--isolated", one, "--yes")["added"]
    assert added["isolated"] and added["host"]["outcome"] == "added"
    assert [host.call(f"third/{name}", "version") for name in ("one", "two")] == [1, 2]
    assert folders(host) == ["third.one@1", "third.two@1"]
    places = host.call("third/one", "places")
    site = str(host.environment.site)
    assert places["boil"].startswith(f"{host.folder}/tlsrt.packages/third.one@1/")
    assert all(places[name].startswith(f"{site}/") for name in ("msgpack", "psutil", "yaml"))
    assert [name for name in ("pip", "sitecustomize", "two") if places.get(name)] == []
    assert not (scratch() / "ran").exists()  # the line of code in hook.pth
    assert not (host.environment.site / "one").exists()
    assert host.call("third/two", "read", f"{host.folder}/tlsrt.packages/third.one@1") == "FileNotFoundError"
    [listed] = [each for each in component(host, "list")["components"] if each["component"] == "third/one"]
    assert listed["package"] == "one 0.1 (isolated)"

    newer = package("one", wheels, ["boil==2.0"], version="0.2", more=EGRESS)
    assert component(host, "diff", "third/one", newer)["rows"][-1][1] == "egress"
    component(host, "update", "third/one", newer, "--yes")
    assert host.call("third/one", "version") == 2
    assert folders(host) == ["third.one@2", "third.two@1"]
    assert component(host, "remove", "third/one", "--purge", "--uninstall")["isolated"]
    assert folders(host) == ["third.two@1"]


COOK = """\
import tlsrt
class Cook(tlsrt.Component):
    pot = tlsrt.worker_of("pot", idle="30s")
    @tlsrt.handler
    async def version(self) -> int:
        return await self.pot.version()
    @tlsrt.handler
    async def read(self, path: str) -> str:
        return await self.pot.read(path)
"""
POT = """\
import os
import boil, msgpack
from tlsrt.worker import worker
@worker
def version() -> int:
    return boil.VERSION
@worker
def read(path: str) -> str:
    try:
        return ",".join(os.listdir(path))
    except OSError as error:
        return type(error).__name__
"""


def test_a_worker_of_one_imports_its_version_and_sees_no_other(host: InstalledHost, wheels: Path) -> None:
    programs = "programs: {pot: {worker: cook.pot, why: it boils}}\n"
    cook = {"cook/__init__.py": COOK, "cook/pot.py": POT}
    component(host, "add", "--isolated", package("cook", wheels, ["boil==1.0"], more=programs, **cook), "--yes")
    assert [host.call(f"third/{name}", "version") for name in ("cook", "two")] == [1, 2]
    assert host.call("third/cook", "read", f"{host.folder}/tlsrt.packages/third.two@1") == "FileNotFoundError"
    component(host, "remove", "third/cook", "--purge", "--uninstall")


EGRESS = 'needs:\n  egress: [{to: ["192.0.2.7:443"], why: it asks the weather there}]\n'


def test_what_an_isolated_package_may_not_bring(host: InstalledHost, wheels: Path) -> None:
    add = ("add", "--yes", "--isolated")
    before = folders(host)
    stranger = scratch() / "strangers"
    assert "takes the place of psutil" in refused(host, *add, package("five", stranger, ["evil"]))
    conflict = refused(host, *add, package("seven", stranger, ["msgpack<1"]))
    assert "seven 0.1 depends on msgpack<1, and tlsrt itself has msgpack " in conflict
    shared = refused(host, *add, package("eight", stranger, ["boil"], more="process: shared\n"))
    assert "packages of its own has a process of its own" in shared
    assert folders(host) == before
    assert host.do("seal", "--diff").strip() == "nothing differs from the boot token"


def test_a_state_comes_back_and_one_that_does_not_start_goes_again(host: InstalledHost, wheels: Path) -> None:
    keeper = {"keeper/__init__.py": KEEPER}
    component(host, "add", "--isolated", package("keeper", wheels, [], more=STATE, **keeper), "--yes")
    file, spoiled = scratch() / "keeper.state", scratch() / "spoiled.state"
    host.call("third/keeper", "add", "one")
    made = component(host, "backup", "third/keeper", file)
    assert made["left_out"] == [] and file.stat().st_mode & 0o777 == 0o600
    host.call("third/keeper", "add", "two")
    answer = component(host, "restore", "third/keeper", file)
    assert answer["host"] and answer["kept"] is None
    assert host.call("third/keeper", "notes") == ["one"]

    state = scratch() / "spoiled"
    state.mkdir()
    (state / "spoiled").touch()
    with open(spoiled, "wb") as out:
        write_state(out, Head("third/keeper", "keeper", "0.1", "now"), state)
    error = refused(host, "restore", "third/keeper", spoiled)
    assert "does not start with this state, and has the one from before again" in error
    assert host.call("third/keeper", "notes") == ["one"]
    assert not list((host.folder / "state").glob(".before-restore*"))


STATE = "needs: {state_mb: 8}\n"


def test_what_is_changed_after_the_seal_does_not_run(host: InstalledHost, wheels: Path) -> None:
    file = host.folder / "tlsrt.packages" / "third.two@1" / "boil.py"
    assert file.stat().st_mode & 0o777 == 0o444 and file.parent.stat().st_mode & 0o777 == 0o555
    text = file.read_text()
    file.chmod(0o644)
    file.write_text("VERSION = 666\n")
    code, _, errors = host.run("reload")
    assert code == EX_CONFIG and "run `tlsrt-supervisor seal`" in errors
    file.write_text(text)
    file.chmod(0o444)
    outside = scratch() / "outside.py"
    outside.write_text(text)
    file.parent.chmod(0o755)
    file.unlink()
    file.symlink_to(outside)  # of the same content: no digest differs
    sentence = "boil.py is a link: packages of a component hold files only"
    assert "is not what was sealed" in host.run("reload")[2]
    assert sentence in host.run("seal")[2]
    [failed] = [one for one in component(host, "list")["components"] if one["state"] == "failed"]
    assert sentence in failed["why"][0]
    component(host, "remove", "third/two")


def test_a_command_that_is_killed_leaves_a_host_that_starts(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    host = InstalledHost(installed_with_pip(), scratch() / "killed", forked=True)
    assert host.init_compiled()[0] == 0
    add = ("component", "add", "--isolated", package("ten", wheels, ["boil==1.0"]), "--yes", "--config", host.config)
    code, _, errors = host.run("-c", KILLED, *add, program="python")
    assert code == -signal.SIGKILL, errors
    assert (host.folder / "components.d" / "third.ten.yaml").exists()
    code, _, errors = host.run("component", "list", "--json")
    assert code == 0, errors
    with host.started():
        assert any("a change of third/ten was interrupted before, and was put back" in line for line in host.console)
        assert not (host.folder / "components.d" / "third.ten.yaml").exists()
