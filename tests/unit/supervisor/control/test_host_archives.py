"""Archives for components: whole and tried, or a sentence; one at a time, and nothing stays."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tlsrt.config.init import initialise
from tlsrt.config.load import load_config
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.supervisor.archive.host_archive import verify_untrusted
from tlsrt.supervisor.archive.host_content import head_of
from tlsrt.supervisor.archive.sealed_archive import open_sealed_untrusted
from tlsrt.supervisor.control import host_archives
from tlsrt.supervisor.control.host_archives import HostArchives, plain_copy
from tlsrt.supervisor.process.event_loop import EventLoop

KEY = os.urandom(32)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    initialise(tmp_path / "host", host="127.0.0.1", port=7443, now=datetime.now(UTC))
    for name in ("authority", "secondary"):
        (tmp_path / "host" / "state" / name).mkdir(mode=0o700)
        (tmp_path / "host" / "state" / name / "file").write_bytes(b"state of " + name.encode())
    return load_config(tmp_path / "host" / "tlsrt.yaml")


class Asked:
    """One archive that was asked for, and what came."""

    def __init__(self, config: Config, read: Callable[[int], bytes | None]) -> None:
        self.loop = EventLoop()
        self.archives = HostArchives(self.loop)
        self.found: bytes | None = None
        self.why = ""
        key = os.memfd_create("key")
        os.write(key, b"s" * 16 + KEY)
        try:
            self.archives.begin(config, key, lambda pipe: self._take(read(os.dup(pipe))), self._failed)
        finally:
            os.close(key)
        assert self.archives.is_busy
        while self.archives.is_busy:
            self.loop.run_once()
        self.loop.close()

    def _take(self, found: bytes | None) -> None:
        self.found = found

    def _failed(self, why: str) -> None:
        self.why = why


def read_all(pipe: int) -> bytes:
    with open(pipe, "rb") as file:
        return file.read()


def read_nothing(pipe: int) -> None:
    os.close(pipe)


def test_it_is_the_whole_host_sealed_under_the_key_that_was_given(config: Config) -> None:
    before = sorted(path.name for path in config.state_dir.iterdir())
    found = Asked(config, read_all).found
    assert found is not None and b"state of" not in found
    out = io.BytesIO()
    open_sealed_untrusted(io.BytesIO(found), "x", [KEY], out)
    plain = out.getvalue()
    assert verify_untrusted(io.BytesIO(plain), "x", None).head.sections == ["authority", "secondary"]
    assert b"state of authority" in plain and b"state of secondary" in plain
    for name in ("master.key", "server.key", "ca.key"):
        assert (config.path.parent / name).read_bytes() not in plain
    assert sorted(path.name for path in config.state_dir.iterdir()) == before, "nothing of it stays"


def test_who_does_not_read_it_holds_nothing_up(config: Config) -> None:
    asked = Asked(config, read_nothing)
    assert asked.found is None and asked.why == ""


def test_a_full_disk_is_told_and_nothing_is_given(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_archives, "KEEP_FREE_BYTES", 1 << 60)
    asked = Asked(config, read_all)
    assert asked.found is None
    assert f"the disk of {config.state_dir} has less than" in asked.why and "make room" in asked.why


def test_what_could_not_be_restored_is_none(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_archives, "put_host", lambda archive, config, head: None)
    asked = Asked(config, read_all)
    assert asked.found is None and "does not hold the state of" in asked.why


def test_while_a_command_changes_components_there_is_none(config: Config) -> None:
    folder = config.path.parent / "components.d"
    folder.mkdir()
    (folder / ".change").write_text("")
    assert "was interrupted" in Asked(config, read_all).why
    (folder / ".change").unlink()
    assert Asked(config, read_all).found


def test_a_process_that_writes_all_the_time_is_named(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*args: object) -> None:
        raise ConfigError("secondary writes all the time, so no copy is of one moment")

    monkeypatch.setattr(host_archives, "put_host", busy)
    assert Asked(config, read_all).why.startswith("secondary writes all the time")


def test_the_plain_copy_has_no_name_and_leaves_room(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(path.name for path in config.state_dir.iterdir())
    with plain_copy(config.state_dir) as file:
        file.write(b"x" * 100)
        assert sorted(path.name for path in config.state_dir.iterdir()) == before
        monkeypatch.setattr(host_archives, "KEEP_FREE_BYTES", 1 << 60)
        with pytest.raises(ConfigError, match="make room"):
            file.write(b"x" * (9 << 20))
    assert head_of(config, datetime.now(UTC)).install == config.install_id.hex()
