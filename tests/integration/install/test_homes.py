"""Where people really put things: below a closed home, and without root at all.

The interpreter is a copy with its standard library, so that everything that runs lies where the test says.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from hosts.installation import build_wheel, copy_tracked, make_environment, place_interpreter, portable, scratch
from hosts.installed_host import NOBODY, InstalledHost

IS_ROOT = os.geteuid() == 0


@cache
def notes_wheel() -> Path:
    source = copy_tracked(scratch() / "homes-source", below="examples/notes/") / "examples" / "notes"
    return build_wheel(source, scratch() / "homes-wheel")


def add_notes(host: InstalledHost) -> None:
    document = yaml.safe_load(host.config.read_text())
    document["components"] = {"third/notes": {"class": "notes:Notes"}}
    document["policy"] |= {"client/admin -> third/notes": "*", "third/notes -> primary/kernel": ["uname"]}
    host.config.write_text(yaml.safe_dump(document))


@pytest.fixture(scope="module")
def closed() -> Iterator[InstalledHost]:
    """A host of which every file lies below a folder that only its owner may enter."""
    home = scratch() / "closed-home"
    home.mkdir()
    environment = make_environment(home / "env", notes_wheel(), python=place_interpreter(home / "python"))
    host = InstalledHost(environment, home / "var")
    home.chmod(0o700)
    host.init()
    add_notes(host)
    host.seal()
    yield host
    shutil.rmtree(home)


def test_everything_below_a_closed_home_works(closed: InstalledHost) -> None:
    home = closed.folder.parent
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    interpreter = Path(os.path.realpath(closed.environment.program("python")))
    assert interpreter.is_relative_to(home), "the interpreter is below it too"
    with closed.started():
        assert closed.call("third/notes", "add", "hello") == 1
        assert closed.call("third/notes", "host") == os.uname().release
        assert closed.call("external/network", "interfaces")
        assert closed.status()["supervisor"]["rootless"] is not IS_ROOT


@pytest.mark.parametrize("name", ["notes", "notes/__init__.py"])
def test_a_component_that_a_loop_cannot_read_is_named(closed: InstalledHost, name: str) -> None:
    """Homes above may be closed, as the folder is bound; its own mode is what a loop meets."""
    path = closed.environment.site / name
    mode = stat.S_IMODE(path.stat().st_mode)
    try:
        path.chmod(mode & 0o700)
        if IS_ROOT:
            sentence = closed.refused()
            assert f" of code {path} has mode {mode & 0o700:04o}, so a loop cannot read it" in sentence
            assert "chmod" in sentence
        else:  # one uid: the loop is the owner
            with closed.started():
                pass
    finally:
        path.chmod(mode)


def test_code_that_a_loop_could_change_is_named(closed: InstalledHost) -> None:
    """A wheel unpacked by everybody's hand: what a loop may write, it may one day become."""
    path = closed.environment.site / "tlsrt" / "loops" / "gate" / "gate.py"
    mode = stat.S_IMODE(path.stat().st_mode)
    try:
        path.chmod(0o666)
        if IS_ROOT:
            assert closed.refused() == f"{path} can be changed by the uid of a loop: chown it to root"
    finally:
        path.chmod(mode)


@pytest.fixture(scope="module")
def rootless() -> Iterator[InstalledHost]:
    """A host of a user without any right, as root we become one, else we are one; root has installed the code."""
    environment = portable()
    environment.install(notes_wheel())
    home = scratch() / "user"
    home.mkdir()
    if IS_ROOT:
        os.chown(home, NOBODY, NOBODY)
    yield InstalledHost(environment, home / "var", user=NOBODY if IS_ROOT else None)
    shutil.rmtree(home)


def test_a_user_without_root_inits_starts_calls_and_stops(rootless: InstalledHost) -> None:
    uid = NOBODY if IS_ROOT else os.geteuid()
    code, _, errors = rootless.init_compiled()
    assert (code, errors) == (0, "")
    assert {path.stat().st_uid for path in rootless.folder.rglob("*")} == {uid}
    add_notes(rootless)
    rootless.seal()
    with rootless.started() as process:
        status = rootless.status()
        assert status["supervisor"]["rootless"] is True
        pids = [status["supervisor"]["pid"], status["authority"]["pid"], *(loop["pid"] for loop in status["loops"])]
        assert len(set(pids)) == 9
        for pid in pids:
            assert Path(f"/proc/{pid}/status").read_text().split("Uid:\t")[1].split()[0] == str(uid)
        assert any(line.startswith("third ") and "rootless" in line for line in rootless.console)
        assert rootless.call("primary/kernel", "uname")["system"] == "Linux"
        assert rootless.call("third/notes", "add", "hello") == 1
        assert rootless.call("third/notes", "host") == os.uname().release
        assert "has stopped" in rootless.do("stop", "--config", rootless.config)
        process.wait(10)
    rootless.assert_nothing_runs()


def test_the_files_of_a_rootless_life_are_the_users(rootless: InstalledHost) -> None:
    """Nothing is left that the user could not remove, and a second life starts over the first one's files."""
    uid = NOBODY if IS_ROOT else os.geteuid()
    assert {path.lstat().st_uid for path in rootless.folder.rglob("*")} == {uid}
    with rootless.started():
        assert rootless.call("primary/kernel", "uname")["system"] == "Linux"


def test_rootless_strict_measurement_holds_as_well(rootless: InstalledHost) -> None:
    path = rootless.environment.site / "notes" / "__init__.py"
    before = path.read_bytes()
    try:
        path.write_bytes(before + b"\n")
        assert "changed component/notes/__init__.py" in rootless.refused()
    finally:
        path.write_bytes(before)
