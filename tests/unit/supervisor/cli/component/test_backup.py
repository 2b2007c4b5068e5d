"""What a restore takes, and a backup of a component that does not stop to write."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tlsrt.config.components import ComponentConfig
from tlsrt.config.programs import ProgramConfig
from tlsrt.errors import ConfigError
from tlsrt.sandbox import syscalls
from tlsrt.supervisor.archive import state_file
from tlsrt.supervisor.archive.state_file import Head
from tlsrt.supervisor.cli import lifecycle
from tlsrt.supervisor.cli.component import backup

HEAD = Head("third/kettle", "kettle", "0.2", "now")
KETTLE = ComponentConfig("third", "kettle", "kettle:Kettle", part="kettle", origin="kettle")


def test_the_state_of_another_component_and_of_a_newer_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "_package", lambda one: ("kettle", "0.2"))
    backup._check(KETTLE, HEAD)
    backup._check(KETTLE, replace(HEAD, version="0.1"))
    with pytest.raises(ConfigError, match="the state of third/pan, and not of third/kettle"):
        backup._check(KETTLE, replace(HEAD, component="third/pan"))
    with pytest.raises(ConfigError, match=r"of kettle 0\.10, and 0\.2 is installed: a state goes to newer"):
        backup._check(KETTLE, replace(HEAD, version="0.10"))
    with pytest.raises(ConfigError, match="the state of pan, and third/kettle is of kettle now"):
        backup._check(KETTLE, replace(HEAD, package="pan"))


def test_a_copy_is_of_one_moment_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, file = tmp_path / "state", tmp_path / "file"
    state.mkdir()
    monkeypatch.setattr(backup, "_PAUSE_S", 0.01)
    real, count = state_file.write_state, 0

    def written(*words: object) -> list[str]:
        nonlocal count
        count += 1
        left = real(*words)  # type: ignore[arg-type]
        if count < busy:
            (state / "a").write_bytes(b"x" * count)  # while it is copied
        return left

    monkeypatch.setattr(backup, "write_state", written)
    busy = 3
    assert backup._copied(state, HEAD, file) == [] and count == 3
    busy = 1000
    with pytest.raises(ConfigError, match="writes all the time"):
        backup._copied(state, HEAD, file)
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_is_told_when_a_state_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config: Any = None  # which nothing here asks
    place, kept = tmp_path / "place", tmp_path / "kept"
    place.mkdir()
    answers: list[str | BaseException] = []

    def failure(*_: object) -> str:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(backup, "_failure", failure)
    answers[:] = ["it is spoiled"]
    with pytest.raises(ConfigError, match="keeps it, as it had none before: it is spoiled"):
        backup._taken(config, KETTLE, [(None, place)])
    kept.mkdir()
    answers[:] = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        backup._taken(config, KETTLE, [(kept, place)])
    assert f"the one from before is in {kept}" in capsys.readouterr().err
    (kept / "old").touch()
    answers[:] = ["it is spoiled", "nor with this"]
    with pytest.raises(ConfigError, match="has the one from before again: it is spoiled"):
        backup._taken(config, KETTLE, [(kept, place)])
    assert "the state from before, either: nor with this" in capsys.readouterr().err
    assert (place / "old").exists() and not kept.exists()


def test_an_exchange_is_there_or_not(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    pid = os.fork()
    if pid == 0:
        syscalls.exchange(str(tmp_path / "old"), str(tmp_path / "new"))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert (tmp_path / "old" / "new").exists() and (tmp_path / "new" / "old").exists()


def test_a_backup_with_the_state_of_a_program_that_is_no_more_is_refused(tmp_path: Path) -> None:
    program = ProgramConfig("main", Path("/usr/bin/redis-server"), "a test", life="kept", state_mb=64)
    one = replace(KETTLE, programs=(program,))
    config: Any = SimpleNamespace(state_dir=tmp_path)
    place = tmp_path / "third.kettle+main+1"
    assert backup._programs_of_backup(config, one, replace(HEAD, programs="main")) == {"main": place}
    assert backup._programs_of_backup(config, one, HEAD) == {}, "what a backup does not have stays"
    with pytest.raises(ConfigError, match="has the state of the program other, and third/kettle has no such"):
        backup._programs_of_backup(config, one, replace(HEAD, programs="main,other"))


def test_the_states_of_programs_go_back_with_that_of_their_component(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [(tmp_path / f"{name} before", tmp_path / name) for name in ("component", "program")]
    for before, place in pairs:
        before.mkdir()
        place.mkdir()
        (before / "old").touch()
    answers = ["it is spoiled", ""]
    monkeypatch.setattr(backup, "_failure", lambda *_: answers.pop(0))
    config: Any = None
    (tmp_path / "new").mkdir()
    with pytest.raises(ConfigError, match="has the one from before again: it is spoiled"):
        backup._taken(config, KETTLE, [*pairs, (None, tmp_path / "new")])
    assert all((place / "old").exists() and not before.exists() for before, place in pairs)
    assert not (tmp_path / "new").exists(), "it had none before"


def test_all_that_is_kept_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failure(*_: object) -> str:
        raise KeyboardInterrupt

    config: Any = None
    programs: list[tuple[Path | None, Path]] = [(tmp_path / name, tmp_path / f"{name} now") for name in ("one", "two")]
    names = f"{tmp_path / 'one'}, {tmp_path / 'two'}"
    monkeypatch.setattr(backup, "_failure", failure)
    with pytest.raises(KeyboardInterrupt):
        backup._taken(config, KETTLE, programs)
    assert f"the one from before is in {names}" in capsys.readouterr().err
    monkeypatch.setattr(backup, "_failure", lambda *_: "it is spoiled")
    with pytest.raises(ConfigError) as caught:
        backup._taken(config, KETTLE, [(None, tmp_path), *programs])
    assert f"as it had none before (what its programs had is in {names}): it is spoiled" in str(caught.value)
    answer = {"component": "third/kettle", "made": "now", "version": "0.2", "host": False}
    lines = backup.restore_lines({**answer, "kept": "one", "kept_of_programs": ["two"]})
    assert lines[1] == "the host does not run; the state from before is in one, two: remove it once all is well"
    assert len(backup.restore_lines({**answer, "kept": None, "kept_of_programs": []})) == 1


@pytest.mark.parametrize("fails_at", range(6))
def test_new_states_take_their_places_all_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    moves = [(tmp_path / f".new.{name}", tmp_path / name) for name in ("component", "first", "program")]
    for new, place in moves:
        new.mkdir()
        (new / "new").touch()
        if place.name != "first":
            place.mkdir()
            (place / "old").touch()
    steps = iter(range(100))

    def failing(call: Any) -> Any:
        def step(*words: object) -> None:
            if next(steps) == fails_at:
                raise OSError(5, "spoiled")
            call(*words)

        return step

    for owner, name in ((syscalls, "exchange"), (backup, "sync_folder"), (backup, "move")):
        monkeypatch.setattr(owner, name, failing(getattr(owner, name)))
    if fails_at == 5:  # there are five steps
        assert backup._put(moves) == [moves[0], (None, moves[1][1]), moves[2]]
        assert all((place / "new").exists() for _, place in moves)
        return
    with pytest.raises((OSError, ConfigError)):
        backup._put(moves)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {
        "component", "component/old", "program", "program/old"
    }  # fmt: skip


def test_a_restart_is_waited_for_as_long_as_its_programs_may_take() -> None:
    program = ProgramConfig("main", Path("/usr/bin/redis-server"), "a test", life="kept", stop_seconds=300)
    config: Any = SimpleNamespace(components=[replace(KETTLE, programs=(program,)), replace(KETTLE, part="pan")])
    assert lifecycle.restart_s(config, KETTLE.process) > lifecycle.restart_s(config, "third.pan") + 300 == 420
