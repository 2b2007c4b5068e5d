"""Bytecode is written before a host is sealed, and never in a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsrt.config import bytecode
from tlsrt.config.bytecode import write_bytecode
from tlsrt.config.packages import Root
from tlsrt.config.schema import Config


@pytest.fixture
def package(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of an installed host, and a module beside it; `config` first, as init compiles too."""
    folder = tmp_path / "package"
    (folder / "inner").mkdir(parents=True)
    for name in ("package/__init__.py", "package/inner/a.py", "single.py"):
        (tmp_path / name).write_text("ANSWER = 1\n")
    monkeypatch.setattr(bytecode, "is_checkout", lambda: False)
    monkeypatch.setattr(bytecode, "roots", lambda _: [Root(folder, "p"), Root(tmp_path / "single.py", "s")])
    return folder


def compiled(folder: Path) -> list[str]:
    return sorted(path.name.split(".")[0] for path in folder.rglob("*.pyc"))


def test_every_module_is_compiled_once(package: Path, config: Config) -> None:
    write_bytecode(config)
    assert compiled(package.parent) == ["__init__", "a", "single"]
    times = {path: path.stat().st_mtime_ns for path in package.rglob("*.pyc")}
    write_bytecode(config)
    assert {path: path.stat().st_mtime_ns for path in package.rglob("*.pyc")} == times


def test_what_does_not_compile_is_left_without_a_word(
    package: Path, config: Config, capfd: pytest.CaptureFixture[str]
) -> None:
    (package / "template.py").write_text("def {name}():\n")
    (package / "careless.py").write_text("PATTERN = '\\d'\n")
    (package / "binary.py").write_bytes(b"\xff\0")
    (package / "inner" / "__pycache__").write_text("in the way")  # stands for a folder that we may not write
    write_bytecode(config)
    assert compiled(package) == ["__init__", "careless"]
    assert capfd.readouterr() == ("", "")


def test_a_checkout_is_left_alone(package: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode, "is_checkout", lambda: True)
    write_bytecode(config)
    assert compiled(package.parent) == []
