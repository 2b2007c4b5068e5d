"""Data files of a package: what patterns mean, and what they cannot mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsrt.config.components import ComponentConfig
from tlsrt.config.package_data import FILES_MOST, data_files
from tlsrt.errors import ConfigError


def found(folder: Path, *patterns: str) -> list[str]:
    component = ComponentConfig("third", "x", "mine:X", data=patterns)
    return [str(path.relative_to(folder)) for path in data_files(component, [folder])]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "models" / "deep").mkdir(parents=True)
    for name in ("models/a.onnx", "models/b.onnx", "models/deep/c.onnx", "words.txt", "code.py"):
        (folder / name).write_text("x")
    (tmp_path / "secret").write_text("x")
    (folder / "out.txt").symlink_to(tmp_path / "secret")
    (folder / "in.txt").symlink_to(folder / "words.txt")
    return folder


def test_a_pattern_means_files_of_the_package(package: Path) -> None:
    assert found(package, "models/*.onnx", "words.txt") == ["models/a.onnx", "models/b.onnx", "words.txt"]
    assert found(package, "models/**/*.onnx") == ["models/a.onnx", "models/b.onnx", "models/deep/c.onnx"]
    assert found(package, "in.txt", "in.txt") == ["in.txt"] and found(package) == []


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("models/*.bin", "no file of the package mine is models/"), ("models", "no file of the package mine is models"),
        ("*.py", "is code, which no sealed process reads"), ("out.txt", "is a link out of its package"),
    ],
)  # fmt: skip
def test_what_a_pattern_cannot_mean(package: Path, pattern: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        found(package, pattern)


def test_there_are_so_many_at_most(package: Path) -> None:
    for number in range(FILES_MOST + 1):
        (package / f"{number}.bin").write_text("")
    with pytest.raises(ConfigError, match=f"at most {FILES_MOST}"):
        found(package, "*.bin")
