"""A change of drop-ins that ends at any step: the host is as before, or has the whole change."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from attackers.killed_runs import killed_at, left_at_each

from tlsrt.config import files
from tlsrt.config.drop_ins import drop_in_digests, drop_in_files, drop_in_folder
from tlsrt.config.files import write_new
from tlsrt.config.init import changed_names, initialise, seal
from tlsrt.config.load import load_config
from tlsrt.config.schema import Config
from tlsrt.errors import EX_CONFIG, ConfigError
from tlsrt.supervisor.cli.component import addition
from tlsrt.supervisor.cli.component.addition import begin
from tlsrt.supervisor.cli.component.journal import Content, Journal, parse_journal, recover
from tlsrt.supervisor.cli.exchange import RequestRefused

MANIFEST = b'manifest: 1\ncomponent: third/kettle\nclass: "kettle:Kettle"\ntitle: boils water\n'
OLD: Content = {"third.kettle.yaml": b"package: kettle\n", "third.kettle.manifest": MANIFEST}
NEW: Content = {**OLD, "third.kettle.yaml": b"package: kettle\noptions: {watts: 3}\n"}
GONE: Content = {"third.kettle.yaml": None, "third.kettle.manifest": None}
STEPS = 40  # more than any change takes
CHANGES = ("rename", "unlink", "rmdir")  # of a name


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sealed host with one added component, which does not run."""
    package = tmp_path / "site" / "kettle"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import tlsrt\nclass Kettle(tlsrt.Component):\n    pass\n")
    (package / "tlsrt.yaml").write_bytes(MANIFEST)
    monkeypatch.syspath_prepend(str(package.parent))
    folder = tmp_path / "host"
    initialise(folder, host="127.0.0.1", port=7443, now=datetime.now(UTC))
    (folder / "components.d").mkdir()
    for name, data in OLD.items():
        assert data is not None
        write_new(folder / "components.d" / name, data, 0o644)
    # What is measured of the installation is not the matter here, and takes long.
    monkeypatch.setattr("tlsrt.config.init.measure", measured)
    seal(load_config(folder / "tlsrt.yaml"))
    return folder / "tlsrt.yaml"


def measured(config: Config) -> dict[str, bytes]:
    return {"tlsrt/text.py": bytes(32), **drop_in_digests(drop_in_files(config.path))}


def content_of(config: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(drop_in_folder(config).glob("[!.]*"))}


def there(content: Content) -> dict[str, bytes]:
    return {name: data for name, data in sorted(content.items()) if data is not None}


def take(config: Path, content: Content, *, refused: bool = False) -> None:
    def ask(*words: object, **more: object) -> None:
        raise RequestRefused("no", EX_CONFIG)

    if refused:
        setattr(addition, "ask", ask)  # noqa: B010
    with begin(load_config(config)) as change:
        change.take(content)


@pytest.mark.parametrize(("content", "refused"), [(NEW, False), (GONE, False), (NEW, True)])
def test_killed_at_every_step(config: Path, content: Content, refused: bool) -> None:
    ends: list[bool] = []
    change = partial(take, config, content, refused=refused)
    for step in left_at_each(config.parent, change, *CHANGES, refusal=RequestRefused):
        recover(config)
        found = content_of(config)
        assert found in (there(OLD), there(content)), step
        assert changed_names(load_config(config)) == [], step
        assert not list(drop_in_folder(config).glob(".change"))
        ends.append(found == there(content))
    assert len(ends) > 5
    assert ends[0] is False and ends[-1] is not refused
    assert ends == sorted(ends) or refused  # before, up to one step; after it, the whole change


def test_a_recovery_that_is_killed_is_done_again(config: Path) -> None:
    for step in range(STEPS):
        assert killed_at(3, lambda: take(config, NEW), *CHANGES)  # the files are written, the boot token is not
        was_killed = killed_at(step, lambda: print(recover(config)), *CHANGES)
        recover(config)
        assert content_of(config) == there(OLD) and changed_names(load_config(config)) == []
        if not was_killed:
            break
    assert not was_killed and step > 2


def test_a_full_disk_at_every_step(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = files.write_new
    for step in range(STEPS):
        count = 0

        def full(path: Path, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
            nonlocal count
            count += 1
            if count > step:  # noqa: B023
                raise ConfigError(f"cannot write {path}: {os.strerror(errno.ENOSPC)}")
            real(path, data, mode, owner)

        monkeypatch.setattr(files, "write_new", full)
        sentence = ""
        try:
            take(config, GONE if step % 2 else NEW)
        except ConfigError as error:
            sentence = str(error)
        monkeypatch.setattr(files, "write_new", real)
        recover(config)
        assert changed_names(load_config(config)) == [], step
        if not sentence:
            break
        assert "No space left" in sentence
        assert content_of(config) == there(OLD), step
    assert not sentence and step > 2


def test_a_second_command_says_who_is_at_work(config: Path) -> None:
    with begin(load_config(config)):
        child = os.fork()
        if child == 0:
            try:
                take(config, NEW)
            except ConfigError as error:
                os._exit(0 if "works in" in str(error) and "wait for its end" in str(error) else 2)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert recover(config) == ""


def test_a_folder_that_a_command_removes_at_its_end_is_not_begun_with(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = drop_in_folder(config)
    for path in folder.iterdir():
        path.unlink()
    with begin(load_config(config)):
        with pytest.raises(ConfigError, match="works in"), begin(load_config(config)):
            pass
        assert folder.is_dir()  # which the refused one has left
    assert not folder.exists()

    def lock(descriptor: int, how: int) -> None:
        folder.rename(folder.with_name("old"))  # the inode is not used again
        folder.mkdir()
        real(descriptor, how)

    real = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lock)
    with pytest.raises(ConfigError, match="has ended just now"), begin(load_config(config)):
        pass
    assert folder.is_dir()


def test_a_signal_in_the_middle_leaves_the_host_as_before(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for sent in (signal.SIGINT, signal.SIGTERM):

        def interrupted(*words: object, sent: signal.Signals = sent, **more: object) -> None:
            os.kill(os.getpid(), sent)

        monkeypatch.setattr(addition, "ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            take(config, NEW)
        assert content_of(config) == there(OLD)
        assert changed_names(load_config(config)) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_the_boot_token_says() -> None:
    journal = Journal(OLD, NEW, "a")
    assert parse_journal(journal.encode()) == journal
    assert journal.wanted("a") == OLD and journal.wanted("b") == NEW
    journal = Journal(OLD, NEW, "a", "b")
    assert [journal.wanted(token) for token in "abc"] == [OLD, NEW, OLD]
    journal = Journal({}, {}, "a", "b", installed=("kettle",))
    assert parse_journal(journal.encode()) == journal
    assert [journal.is_back(token) for token in "abc"] == [True, False, True]
    with pytest.raises(ConfigError, match="is damaged"):
        parse_journal(Journal({}, {}, "a", installed=("--target=/",)).encode())


@pytest.mark.parametrize("name", ["../tlsrt.yaml", "x/third.kettle.yaml", ".change", "third.kettle"])
def test_a_record_names_files_of_components_only(name: str) -> None:
    with pytest.raises(ConfigError, match="is damaged"):
        parse_journal(Journal({name: b""}, {}, "a").encode())
    with pytest.raises(ConfigError, match="is damaged"):
        parse_journal(b"\xff{")


def test_an_interrupted_installation_is_not_said_to_be_put_back(config: Path) -> None:
    (drop_in_folder(config) / ".change").write_bytes(Journal({}, {}, "a").encode())
    assert recover(config).startswith("an installation of packages was interrupted before, and stays")
    assert content_of(config) == there(OLD) and recover(config) == ""


def test_a_record_of_another_user_is_not_followed(config: Path) -> None:
    record = drop_in_folder(config) / ".change"
    record.write_bytes(Journal(NEW, NEW, "a").encode())
    record.chmod(0o666)
    with pytest.raises(ConfigError, match="could be exchanged by another user"):
        recover(config)
    assert content_of(config) == there(OLD) and record.exists()
