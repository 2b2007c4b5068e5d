"""An `init` that is ended at any step: the next one completes it, makes it anew, or says why not."""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from attackers.killed_runs import left_at_each

from tlsrt.config.init import FILES, FOLDERS, changes, initialise
from tlsrt.config.load import load_config
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def run(folder: Path, *, if_missing: bool = True) -> list[str]:
    return initialise(folder, host="127.0.0.1", port=7443, now=NOW, if_missing=if_missing)


def refused(folder: Path, *, if_missing: bool = True) -> str:
    with pytest.raises(ConfigError) as caught:
        run(folder, if_missing=if_missing)
    [sentence] = caught.value.problems
    return sentence


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def measured(config: Config) -> dict[str, bytes]:
    return {"config": bytes(32)}


def test_killed_at_every_step_the_next_one_gives_a_whole_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsrt.config.init.measure", measured)  # which is not the matter here, and takes long
    ends = list[str]()
    folder = tmp_path / "home" / "host"
    folder.parent.mkdir()
    for step in left_at_each(folder.parent, partial(run, folder), "rename", "mkdir", "rmdir", "write"):
        assert not (folder / "tlsrt.yaml").exists() or {*FILES, *FOLDERS} <= {*os.listdir(folder)}, step
        before = contents(folder / ".init") if (folder / ".init").exists() else {}
        said = run(folder)[0]
        assert {*os.listdir(folder)} - {"tlsrt.bytecode"} == {*FILES, *FOLDERS}, step
        assert changes(load_config(folder / "tlsrt.yaml")) == [], step
        assert before.items() <= contents(folder).items(), "what was whole is not made anew"
        ends.append("there" if "is there, so nothing" in said else "completed" if "interrupted" in said else "made")
    assert ends == sorted(ends, key=["made", "completed", "there"].index) and {*ends} == {"made", "completed", "there"}


def test_a_host_that_is_there_is_left_as_it_is(made: Path) -> None:
    before = contents(made)
    assert run(made) == [f"{made}/tlsrt.yaml is there, so nothing was written"]
    assert contents(made) == before
    assert refused(made, if_missing=False).endswith("exists, and init never overwrites: nothing was written")


@pytest.mark.parametrize("name", ["master.key", "boot.token", "server.crt", "ca.key"])
def test_half_a_host_is_refused_and_not_mended(made: Path, name: str) -> None:
    (made / name).unlink()
    assert refused(made).startswith(f"{made}/tlsrt.yaml is there, but ")
    (made / "tlsrt.yaml").unlink()
    assert refused(made).endswith("exists, and init never overwrites: nothing was written")


def test_what_lies_in_the_place_of_an_unfinished_one_is_not_replaced(tmp_path: Path) -> None:
    run(tmp_path / "a")
    (tmp_path / "host/.init").mkdir(parents=True)
    (tmp_path / "a/master.key").rename(tmp_path / "host/.init/master.key")
    (tmp_path / "host/master.key").write_bytes(b"mine")
    assert refused(tmp_path / "host").startswith(f"{tmp_path}/host/master.key is there, and so is what an `init`")
    assert (tmp_path / "host/master.key").read_bytes() == b"mine"
    (tmp_path / "a/admin.tlsrt").rename(tmp_path / "host/.init/admin.tlsrt")
    assert "master.key is there" in refused(tmp_path / "host")
    assert not (tmp_path / "host/admin.tlsrt").exists(), "one that is taken is found before anything is moved"


def test_byte_code_of_a_host_that_is_gone_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(config: Config) -> None:
        (config.path.parent / "tlsrt.bytecode").mkdir()
        (config.path.parent / "tlsrt.bytecode/new.pyc").write_bytes(b"")

    monkeypatch.setattr("tlsrt.config.init.write_bytecode", write)  # which a checkout does not
    monkeypatch.setattr("tlsrt.config.init.measure", measured)
    (tmp_path / "tlsrt.bytecode/folder").mkdir(parents=True)
    (tmp_path / "tlsrt.bytecode/folder/old.pyc").write_bytes(b"")
    run(tmp_path)
    assert os.listdir(tmp_path / "tlsrt.bytecode") == ["new.pyc"] and not (tmp_path / ".init").exists()
    (tmp_path / "b").mkdir()
    (tmp_path / "b/tlsrt.bytecode").symlink_to(tmp_path / "tlsrt.bytecode")
    assert (
        refused(tmp_path / "b") == f"{tmp_path}/b/tlsrt.bytecode exists, and init never overwrites: nothing was written"
    )
    assert os.listdir(tmp_path / "b") == ["tlsrt.bytecode"]


def test_what_another_user_could_have_left_is_not_used(tmp_path: Path) -> None:
    (tmp_path / ".init").mkdir()
    (tmp_path / ".init").chmod(0o777)
    assert "what an `init` has left" in refused(tmp_path)


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert refused(tmp_path) == f"another `init` writes in {tmp_path} now: wait for its end"
    os.close(descriptor)


def test_drop_ins_that_are_there_first_are_named_and_not_sealed(tmp_path: Path) -> None:
    (tmp_path / "tlsrt.yaml.d").mkdir()
    (tmp_path / "tlsrt.yaml.d/a.yaml").write_text("audit: {keep_mb: 20}\n")
    assert f"{tmp_path}/tlsrt.yaml.d has files that init did not seal" in "\n".join(run(tmp_path))
    assert changes(load_config(tmp_path / "tlsrt.yaml")) == ["new config.d/a.yaml"]
