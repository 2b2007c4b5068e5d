"""`apply`: what a folder says, the host has afterwards; all of it, or nothing, whenever it is ended."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from attackers.killed_runs import killed_at, left_at_each
from hosts.plain_wheels import write_wheel

from tlsrt.config.document import read_files
from tlsrt.config.files import write_new
from tlsrt.config.init import changed_names, initialise, seal
from tlsrt.config.load import load_config
from tlsrt.config.schema import Config
from tlsrt.errors import EX_CHANGED, EX_CONFIG, EX_NOPERM, EX_USAGE, ConfigError
from tlsrt.supervisor.cli import brought_packages
from tlsrt.supervisor.cli.component import addition, wheel
from tlsrt.supervisor.cli.component.journal import parse_journal, recover, write_content
from tlsrt.supervisor.cli.exchange import RequestRefused
from tlsrt.supervisor.cli.main import main
from tlsrt.supervisor.control.client import ControlRefused

MANIFEST = b'manifest: 1\ncomponent: third/kettle\nclass: "kettle:Kettle"\ntitle: boils water\n'


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sealed host that does not run, and a package that it could run."""
    package = tmp_path / "site" / "kettle"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import tlsrt\nclass Kettle(tlsrt.Component):\n    pass\n")
    (package / "tlsrt.yaml").write_bytes(MANIFEST)
    monkeypatch.syspath_prepend(str(package.parent))
    initialise(tmp_path / "host", host="127.0.0.1", port=7443, now=datetime.now(UTC))
    # What is measured of the installation is not the matter here, and takes long.
    monkeypatch.setattr("tlsrt.config.init.measure", measured)
    path = tmp_path / "host/tlsrt.yaml"
    path.write_text(path.read_text().replace("measure: warn", "measure: strict"))
    seal(load_config(path))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, text in (
        ("tlsrt.yaml.d/10-audit.yaml", "audit: {keep_mb: 20}\n"),
        ("tlsrt.yaml.d/20-loops.yaml", "loops:\n  reports: {memory_mb: 99}\n"),
        ("components.d/third.kettle.yaml", "package: kettle\n"),
        ("components.d/third.kettle.manifest", MANIFEST.decode()),
        ("README.md", "what this is\n"),
    ):
        (tmp_path / "repository" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repository" / name).write_text(text)
    return tmp_path / "repository"


def measured(config: Config) -> dict[str, bytes]:
    return {"tlsrt/text.py": bytes(32), **read_files(config.path).digests(config.variables)}


def run(path: Path, source: Path, *words: str) -> int:
    return main(["apply", "--config", str(path), str(source), *words])


def contents(path: Path) -> dict[str, bytes]:
    found = [path, *path.parent.glob("tlsrt.yaml.d/[!.]*"), *path.parent.glob("components.d/[!.]*")]
    return {str(one.relative_to(path.parent)): one.read_bytes() for one in sorted(found)}


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_changed_then_unchanged_then_removed(path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(path)
    assert run(path, source, "--dry-run", "--detailed-exitcode", "--json") == EX_CHANGED
    assert answer(capsys)["changed"] and contents(path) == before
    assert run(path, source, "--yes", "--detailed-exitcode") == EX_CHANGED
    shown = capsys.readouterr().out
    assert "+  reports: {memory_mb: 99}" in shown and "passed over: README.md" in shown
    assert "sealed; the host does not run, and its next start takes it" in shown
    config = load_config(path)
    assert config.audit.keep_mb == 20 and config.loop("reports").memory_mb == 99
    assert "third/kettle" in {one.address for one in config.components} and changed_names(config) == []
    token = config.boot_token.read_bytes()
    for word in ("--yes", "--dry-run"):
        assert run(path, source, word, "--detailed-exitcode", "--json") == 0
        assert answer(capsys)["changed"] is False and config.boot_token.read_bytes() == token
    (source / "tlsrt.yaml.d/20-loops.yaml").unlink()
    assert run(path, source, "--yes", "--json") == 0
    assert answer(capsys)["files"] == [{"file": "tlsrt.yaml.d/20-loops.yaml", "change": "removed"}]
    assert run(path, source / "tlsrt.yaml.d/10-audit.yaml", "--yes", "--json", "--detailed-exitcode") == 0
    (source / "tlsrt.yaml.d/30.yaml").write_text("audit: {keep_mb: 30}\n")
    assert run(path, source / "tlsrt.yaml.d/30.yaml", "--yes", "--detailed-exitcode") == EX_CHANGED
    assert load_config(path).audit.keep_mb == 30 and changed_names(load_config(path)) == []


def test_a_place_that_is_not_there_is_named(path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(path, source / "absent") == EX_USAGE
    assert f"there is no {source}/absent: name a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("tlsrt.yaml.d/10-audit.yaml", "audit:\n  keep: 1\n", "{0}:2:3: unknown key 'keep' in audit"),
        ("tlsrt.yaml.d/10-audit.yaml", "audit: {keep_mb: 2", "{0}:1:19: the file ends within a line"),
        ("tlsrt.yaml.d/10.yml", "audit: {}\n", "{0} is no drop-in: its name ends with .yaml"),
        ("components.d/third.kettle.yaml", "package: kettel\n", "{0}: this Python has no package kettel"),
        ("components.d/third.kettle.manifest", "manifest: 1\n", "is not the manifest that was approved"),
        ("tlsrt.yaml", "version: 2\n", "{0}:1:1: install is missing"),
    ],
)
def test_what_the_host_cannot_have_is_refused_at_its_source(
    path: Path, source: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, sentence: str
) -> None:
    before = contents(path)
    (source / name).write_text(text)
    for word in ("--dry-run", "--yes"):
        assert run(path, source, word, "--detailed-exitcode") == EX_CONFIG
        assert sentence.format(source / name) in capsys.readouterr().err
        assert contents(path) == before and changed_names(load_config(path)) == []


def test_a_package_that_is_not_installed_is_tried_from_its_wheel(
    path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = MANIFEST.replace(b"kettle", b"teapot").replace(b"Kettle", b"Teapot")
    files = {"teapot/__init__.py": "raise RuntimeError\n", "teapot/tlsrt.yaml": manifest.decode()}
    write_wheel(source / "packages", "teapot", files, version="1.0", requires=["tlsrt"], component=True)
    assert run(path, source, "--dry-run", "--json") == 0
    unused = answer(capsys)
    assert unused["packages"] == [] and unused["passed_over"][1:] == ["packages/teapot-1.0-py3-none-any.whl"]
    (source / "components.d/third.teapot.yaml").write_text("package: teapot\n")
    (source / "components.d/third.teapot.manifest").write_bytes(manifest)
    assert run(path, source, "--dry-run", "--json") == 0
    assert answer(capsys)["packages"] == ["teapot 1.0"]
    (source / "components.d/third.teapot.manifest").write_bytes(manifest + b"health: {every_s: 5}\n")
    assert run(path, source, "--dry-run") == EX_CONFIG
    assert "is not the manifest that was approved" in capsys.readouterr().err


class Teapot(NamedTuple):
    """A package that is installed where `folder` is, and what happens meanwhile."""

    folder: Path
    meanwhile: list[Callable[[], object]]


@pytest.fixture
def teapot(path: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Teapot:
    """A host with a component whose package is lost, and a source that brings the package only."""
    manifest, package = MANIFEST.replace(b"kettle", b"teapot").replace(b"Kettle", b"Teapot"), tmp_path / "site/teapot"
    for file in (path.parent, source):
        (file / "components.d").mkdir(exist_ok=True)
        (file / "components.d/third.teapot.yaml").write_text("package: teapot\n")
        (file / "components.d/third.teapot.manifest").write_bytes(manifest)
    for name in ("tlsrt.yaml.d/10-audit.yaml", "tlsrt.yaml.d/20-loops.yaml"):
        (source / name).unlink()
    for name in ("third.kettle.yaml", "third.kettle.manifest"):
        (source / "components.d" / name).unlink()
    files = {"teapot/__init__.py": "class Teapot: pass\n", "teapot/tlsrt.yaml": manifest.decode()}
    write_wheel(source / "packages", "teapot", files, version="1.0", requires=["tlsrt"], component=True)

    def measured_too(config: Config) -> dict[str, bytes]:
        added = {f"component/{one.origin}/__init__.py": bytes(32) for one in config.components if one.origin}
        return {**measured(config), **added}

    def install(_: object) -> None:
        package.mkdir()
        for name, text in files.items():
            (package.parent / name).write_text(text)
        for each in made.meanwhile:
            each()

    made = Teapot(package, [])
    monkeypatch.setattr("tlsrt.config.init.measure", measured_too)
    # pip itself is the matter of tests/integration/install/test_component_command.py
    monkeypatch.setattr("tlsrt.supervisor.cli.apply.install", install)
    monkeypatch.setattr("tlsrt.supervisor.cli.apply.remove", lambda _: shutil.rmtree(package))
    seal(load_config(path))
    return made


def test_what_is_only_installed_is_tried_too(
    path: Path, source: Path, teapot: Teapot, capsys: pytest.CaptureFixture[str]
) -> None:
    teapot.meanwhile.append(lambda: (teapot.folder / "__init__.py").write_text(""))
    assert run(path, source, "--yes") == EX_CONFIG
    assert "Teapot" in capsys.readouterr().err
    assert not teapot.folder.exists() and changed_names(load_config(path)) == []
    teapot.meanwhile.clear()
    assert run(path, source, "--yes", "--detailed-exitcode") == EX_CHANGED
    assert teapot.folder.exists() and changed_names(load_config(path)) == []


def test_what_was_installed_for_a_refused_change_is_not_sealed(
    path: Path, source: Path, teapot: Teapot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*words: object, **more: object) -> None:
        assert teapot.folder.exists()
        raise RequestRefused(["no"], EX_CONFIG)

    monkeypatch.setattr(addition, "ask", ask)
    assert run(path, source, "--yes") == EX_CONFIG
    assert not teapot.folder.exists() and changed_names(load_config(path)) == []


def test_what_was_installed_by_an_apply_that_is_killed_is_removed_by_the_next_start(
    path: Path, source: Path, teapot: Teapot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def uninstall(name: str) -> None:
        asked.append(name)
        shutil.rmtree(teapot.folder)

    monkeypatch.setattr(wheel, "known_distributions", lambda: {"teapot": None} if teapot.folder.exists() else {})
    monkeypatch.setattr(wheel, "uninstall", uninstall)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        teapot.meanwhile.append(lambda: os.kill(os.getpid(), signal.SIGKILL))
        run(path, source, "--yes")
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]) and teapot.folder.exists()
    assert recover(path) == "an installation of teapot was interrupted before, and was taken back"
    assert asked == ["teapot"] and not teapot.folder.exists() and changed_names(load_config(path)) == []
    assert run(path, source, "--yes") == 0
    assert teapot.folder.exists() and recover(path) == "", "what is done is not taken back"


def test_a_host_that_does_not_answer_has_the_change_taken_back_too(
    path: Path, source: Path, teapot: Teapot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    held: list[bool] = []

    def ask(*words: object, **more: object) -> None:
        asked.append(teapot.folder.exists())
        held.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        raise ControlRefused("the supervisor did not answer in 3600 s")

    monkeypatch.setattr(addition, "ask", ask)
    assert run(path, source, "--yes") == EX_NOPERM
    assert asked == [True, False] and changed_names(load_config(path)) == []
    assert held == [False, False], "Ctrl-C ends it, however long the host does not answer"


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_cannot_be_uninstalled_is_said(
    path: Path, source: Path, teapot: Teapot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    is_whole: bool,
) -> None:  # fmt: skip
    def uninstall(name: str) -> None:
        raise ConfigError("cannot uninstall teapot: no RECORD file was found")

    def killed() -> None:
        raise ConfigError("cannot install teapot: killed")

    def ask(*words: object, **more: object) -> None:
        raise RequestRefused(["no"], EX_CONFIG)

    monkeypatch.setattr(addition, "ask", ask)
    monkeypatch.setattr("tlsrt.supervisor.cli.apply.remove", brought_packages.remove)
    monkeypatch.setattr(wheel, "known_distributions", lambda: {"teapot": None} if teapot.folder.exists() else {})
    monkeypatch.setattr(wheel, "uninstall", uninstall)
    if not is_whole:
        teapot.meanwhile.append(killed)
    assert run(path, source, "--yes") == EX_CONFIG
    said = capsys.readouterr().err
    assert "teapot could not be uninstalled" in said and ("no\n" if is_whole else "killed") in said


def test_what_cannot_be_undone_now_is_said_and_the_next_start_makes_it_whole(
    path: Path, source: Path, teapot: Teapot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "tlsrt.yaml.d/10.yaml").write_text("audit: {keep_mb: 20}\n")
    (path.parent / "tlsrt.yaml.d").mkdir()
    real = write_content

    def ask(*words: object, **more: object) -> None:
        monkeypatch.setattr(addition, "write_content", full)
        raise RequestRefused(["no"], EX_CONFIG)

    def full(*words: object) -> None:
        raise ConfigError("cannot write x: No space left on device")

    monkeypatch.setattr(addition, "ask", ask)
    assert run(path, source, "--yes") == EX_CONFIG
    assert "no\n" in (said := capsys.readouterr().err) and "it could not be undone now: cannot write x" in said
    monkeypatch.setattr(addition, "write_content", real)
    monkeypatch.setattr(wheel, "known_distributions", dict)
    assert recover(path).endswith("was put back"), "its boot token was the new one already, and it was refused"
    assert not [*(path.parent / "tlsrt.yaml.d").iterdir()]
    assert changed_names(load_config(path)) == []


@pytest.mark.parametrize(
    ("edited", "sentence"),
    [
        ("tlsrt.yaml", "the installation has changed config, which is not of this change"),
        ("tlsrt.yaml.d/50.yaml", "the installation has changed config.d/50.yaml, which is not of this change"),
        ("tlsrt.yaml.d/10.yaml", "a file of the configuration was changed meanwhile"),
    ],
)
def test_what_another_one_edits_during_an_installation_is_not_sealed(
    path: Path, source: Path, teapot: Teapot, capsys: pytest.CaptureFixture[str], edited: str, sentence: str
) -> None:
    def edit() -> None:
        (path.parent / edited).write_text(
            (path.read_text() if edited == path.name else "audit: {keep_mb: 30}\n") + "# not finished\n"
        )

    teapot.meanwhile.append(edit)
    (path.parent / "tlsrt.yaml.d").mkdir()
    (source / "tlsrt.yaml.d/10.yaml").write_text("audit: {keep_mb: 20}\n")
    token = load_config(path).boot_token.read_bytes()
    assert run(path, source, "--yes") == EX_CONFIG
    assert sentence in capsys.readouterr().err
    assert not teapot.folder.exists() and load_config(path).boot_token.read_bytes() == token
    assert (path.parent / edited).read_text().endswith("# not finished\n"), "it stays as it was edited"


def test_one_file_of_a_component_is_applied_as_that(
    path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(path, source / "components.d/third.kettle.manifest", "--yes") == 0
    assert run(path, source / "components.d/third.kettle.yaml", "--yes") == 0
    assert {"components.d/third.kettle.manifest", "components.d/third.kettle.yaml"} < {*contents(path)}
    assert changed_names(load_config(path)) == []
    (source / "components.d/third.kettle.yaml").write_text("package: kettle")
    assert run(path, source / "components.d/third.kettle.yaml", "--yes") == EX_CONFIG
    assert "third.kettle.yaml:1:16: the file ends within a line" in capsys.readouterr().err
    (source / "components.d/third.kettle.yaml").write_text("package: kettle\n" + "#" * (1 << 16))
    assert run(path, source / "components.d/third.kettle.yaml", "--dry-run") == EX_CONFIG


def test_an_approved_manifest_is_applied_to_the_byte(path: Path, source: Path, tmp_path: Path) -> None:
    for file in (tmp_path / "site/kettle/tlsrt.yaml", source / "components.d/third.kettle.manifest"):
        file.write_bytes(MANIFEST.rstrip(b"\n"))
    assert run(path, source, "--yes") == 0
    assert (path.parent / "components.d/third.kettle.manifest").read_bytes() == MANIFEST.rstrip(b"\n")


def test_the_main_file_of_another_host_is_refused(
    path: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    initialise(tmp_path / "other", host="127.0.0.1", port=7443, now=datetime.now(UTC))
    (source / "tlsrt.yaml").write_bytes((tmp_path / "other/tlsrt.yaml").read_bytes())
    assert run(path, source, "--yes") == EX_CONFIG
    assert f"{source}/tlsrt.yaml:1:1: `install` is of another host" in capsys.readouterr().err
    (source / "tlsrt.yaml").write_text(path.read_text() + "# a comment more\n")
    assert run(path, source, "--yes") == 0
    assert path.read_text().endswith("# a comment more\n") and changed_names(load_config(path)) == []


def test_a_host_that_differs_already_is_not_sealed(
    path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(path.read_text() + "# not sealed\n")
    for word in ("--dry-run", "--yes"):
        assert run(path, source, word) == EX_CONFIG
        assert "this host is not what was sealed, and this command would seal that too" in capsys.readouterr().err
    assert changed_names(load_config(path)) == ["config"]


def test_what_another_user_could_have_written_is_not_applied(
    path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "tlsrt.yaml.d/10-audit.yaml").chmod(0o666)
    assert run(path, source, "--yes") == EX_CONFIG
    assert "could be exchanged by another user" in capsys.readouterr().err
    (source / "tlsrt.yaml.d/10-audit.yaml").chmod(0o644)
    (path.parent / "tlsrt.yaml.d").mkdir()
    (path.parent / "tlsrt.yaml.d/30.yaml").write_text("audit: {keep_mb: 40}\n")
    (path.parent / "tlsrt.yaml.d/10-audit.yaml").symlink_to("30.yaml")
    assert run(path, source, "--yes") == EX_CONFIG
    assert "10-audit.yaml is a link, which this command would replace" in capsys.readouterr().err
    assert run(path, source / "README.md", "--yes") == EX_USAGE
    assert run(path, source.parent / "site", "--yes") == EX_CONFIG
    assert "holds nothing of a configuration" in capsys.readouterr().err


@pytest.mark.parametrize("is_refused", [False, True])
def test_killed_at_every_step_it_is_as_before_or_whole(path: Path, source: Path, is_refused: bool) -> None:
    (path.parent / "tlsrt.yaml.d").mkdir()
    write_new(path.parent / "tlsrt.yaml.d/05-old.yaml", b"audit: {keep_mb: 50}\nloops: {reports: {}}\n", 0o644)
    main_file = path.read_text() + "supervision: {groups: {all: {loops: [reports]}}}\n"
    path.write_text(main_file)  # with the old drop-in only, or the new ones: a mixture of both does not load
    seal(load_config(path))
    (source / "tlsrt.yaml").write_text(path.read_text().replace("[reports]", "[reports, third]"))
    old, ends = contents(path), list[bool]()

    def apply() -> None:
        def ask(*words: object, **more: object) -> None:
            raise RequestRefused(["no"], EX_CONFIG)

        if is_refused:
            setattr(addition, "ask", ask)  # noqa: B010
        run(path, source, "--yes")

    for step in left_at_each(path.parent, apply, "rename", "unlink", "rmdir", "mkdir"):
        done = recover(path)
        found = contents(path)
        config = load_config(path)
        assert changed_names(config) == [], step
        assert config.audit.keep_mb == (50 if found == old else 20), step
        assert found == old or {*found} == {
            "tlsrt.yaml", "tlsrt.yaml.d/10-audit.yaml", "tlsrt.yaml.d/20-loops.yaml",
            "components.d/third.kettle.yaml", "components.d/third.kettle.manifest",
        }, step  # fmt: skip
        assert not done or not [*path.parent.rglob("*.new"), *path.parent.glob("components.d/.change")], step
        ends.append(found == old)
    assert len(ends) > 10
    assert ends[0] and ends[-1] is is_refused
    assert ends == sorted(ends, reverse=True) or is_refused
    undone = ends.index(False) if is_refused else 0
    assert ends[undone:] == sorted(ends[undone:]) or not is_refused, "once it is taken back, it stays so"


def test_an_undo_that_is_killed_again_and_again_goes_on(path: Path, source: Path) -> None:
    """Killed at each step after the refusal, and the recovery from that at each of its own steps, twice."""
    before = contents(path)
    is_asked = path.parent / "asked"

    def apply() -> None:
        def ask(*words: object, **more: object) -> None:
            is_asked.touch()
            raise RequestRefused(["no"], EX_CONFIG)

        setattr(addition, "ask", ask)  # noqa: B010
        run(path, source, "--yes")

    kills = 0
    for step in left_at_each(path.parent, apply, "rename", "unlink", "rmdir", "mkdir"):
        journal = path.parent / "components.d/.change"
        if not is_asked.exists() or not journal.exists() or not parse_journal(journal.read_bytes()).is_undone:
            continue
        is_asked.unlink()
        for again in itertools.count():
            if not killed_at(again % 6, lambda: recover(path), "rename", "unlink", "rmdir", "mkdir"):
                break
            kills += 1
        recover(path)
        assert contents(path) == before, step
        assert changed_names(load_config(path)) == [], step
        assert not journal.exists(), step
    assert kills > 10
