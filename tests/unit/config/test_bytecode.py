"""Byte code of a host is written by `seal`, made anew unless the boot token vouches for it, and never in a checkout."""

from __future__ import annotations

import errno
import importlib.util
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tlsrt.config import bytecode, measure
from tlsrt.config.bytecode import write_bytecode
from tlsrt.config.code_root import Root
from tlsrt.config.import_path import bytecode_folder, inner_command
from tlsrt.config.measure import measure_bytecode
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError


@pytest.fixture
def package(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of an installed host, and a module beside it; `config` first, as init compiles too."""
    folder = tmp_path / "package"
    (folder / "inner").mkdir(parents=True)
    for name in ("package/__init__.py", "package/inner/a.py", "single.py"):
        (tmp_path / name).write_text("ANSWER = 1\n")
    monkeypatch.setattr(bytecode, "is_checkout", lambda: False)
    monkeypatch.setattr(measure, "is_checkout", lambda: False)
    monkeypatch.setattr(bytecode, "roots", lambda _: [Root(folder, "p"), Root(tmp_path / "single.py", "s")])
    return folder


def compiled(config: Config) -> list[str]:
    return sorted(path.name.split(".")[0] for path in bytecode_folder(config.path).rglob("*.pyc"))


def times(config: Config) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in bytecode_folder(config.path).rglob("*.pyc")}


def test_it_lies_where_the_interpreter_looks_and_holds_the_hash_of_its_source(
    package: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytecode(config)
    assert compiled(config) == ["__init__", "a", "single"]
    assert not list(package.rglob("*.pyc"))
    source = package / "inner/a.py"
    monkeypatch.setattr("sys.pycache_prefix", str(bytecode_folder(config.path)))
    data = Path(importlib.util.cache_from_source(str(source))).read_bytes()
    assert data[4:8] == b"\3\0\0\0" and data[8:16] == importlib.util.source_hash(source.read_bytes())


def test_what_is_vouched_for_is_kept_and_only_a_changed_source_is_compiled(package: Path, config: Config) -> None:
    write_bytecode(config)
    before = times(config)
    write_bytecode(config, measure_bytecode(config))
    assert times(config) == before
    (package / "inner/a.py").write_text("ANSWER = 2\n")
    (package / "__init__.py").unlink()
    write_bytecode(config, measure_bytecode(config))
    after = times(config)
    assert [path.name.split(".")[0] for path in sorted(after) if before.get(path) != after[path]] == ["a"]
    assert compiled(config) == ["a", "single"]


@pytest.mark.usefixtures("package")
def test_what_nothing_vouches_for_is_made_anew(config: Config) -> None:
    write_bytecode(config)
    good = measure_bytecode(config)
    [evil] = [path for path in times(config) if path.name.startswith("single")]
    evil.write_bytes(evil.read_bytes()[:16] + b"evil")  # the header is that of its source
    for known in (None, good):
        assert measure_bytecode(config) != good
        write_bytecode(config, known)
        assert b"evil" not in evil.read_bytes()
        evil.write_bytes(evil.read_bytes()[:16] + b"evil")


@pytest.mark.usefixtures("package")
def test_what_nothing_vouches_for_and_cannot_be_removed_is_not_sealed(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytecode(config)

    def refuse(folder: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("shutil.rmtree", refuse)
    folder = bytecode_folder(config.path)
    with pytest.raises(ConfigError, match=f"^cannot remove {re.escape(str(folder))}: Operation not permitted$"):
        write_bytecode(config)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("kind", ["link", "link to nowhere", "file"])
def test_what_is_no_folder_in_its_place_is_refused(config: Config, tmp_path: Path, kind: str) -> None:
    folder = bytecode_folder(config.path)
    if kind == "file":
        folder.write_bytes(b"evil")
    else:
        folder.symlink_to(tmp_path / "elsewhere")
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere/evil.pyc").write_bytes(b"evil")
    with pytest.raises(ConfigError, match=r"^cannot write byte code to .*\.bytecode: it is no folder; remove it$"):
        write_bytecode(config)


def test_all_that_a_start_imports_of_the_standard_library_is_compiled() -> None:
    say = (
        "import sys; from tlsrt.supervisor.launch import child_entries as c, child_programs, start, supervise\n"
        "import tlsrt.supervisor.supervisor\n"
        "c.preload_loops('libzmq'); c.preload_loops('native'); c.import_for_sealed(c.AUTHORITY_RUNTIME);"
        "print(*sorted(m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)))"
    )
    done = subprocess.run(inner_command(say), capture_output=True, text=True, timeout=60, check=True)
    library = sysconfig.get_path("stdlib") + "/"
    files = [name.removeprefix(library) for name in done.stdout.split() if name.startswith(library)]
    tops = {
        name.split("/")[0].removesuffix(".py") for name in files if name.endswith(".py") and "-packages" not in name
    }
    assert len(tops) > 50 and "argparse" in tops
    assert [top for top in tops - {"_sitebuiltins", "sitecustomize"} if not bytecode._may_be_imported(top, False)] == []


def test_what_does_not_compile_is_left_without_a_word(
    package: Path, config: Config, capfd: pytest.CaptureFixture[str]
) -> None:
    (package / "template.py").write_text("def {name}():\n")
    (package / "careless.py").write_text("PATTERN = '\\d'\n")
    (package / "binary.py").write_bytes(b"\xff\0")
    write_bytecode(config)
    assert compiled(config) == ["__init__", "a", "careless", "single"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("package")
def test_a_checkout_is_left_alone(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode, "is_checkout", lambda: True)
    write_bytecode(config)
    assert compiled(config) == []
