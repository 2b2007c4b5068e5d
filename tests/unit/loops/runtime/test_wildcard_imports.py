"""`imports: [PACKAGE.*]`: all parts of a package, but no tests of it, and none that cannot be imported."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlsrt.errors import ConfigError
from tlsrt.loops.runtime import wildcard_imports
from tlsrt.loops.runtime.wildcard_imports import import_all

LOG = logging.getLogger("test")
SOURCES = {
    "gallery/__init__.py": "",
    "gallery/plain.py": "",
    "gallery/deep/__init__.py": "",
    "gallery/deep/deeper/__init__.py": "",
    "gallery/deep/deeper/last.py": "",
    "gallery/window.py": "import no_such_toolkit",
    "gallery/windows/__init__.py": "raise OSError('only on Windows')",
    "gallery/windows/below.py": "",
    "gallery/ending.py": "raise SystemExit",
    "gallery/__main__.py": "raise AssertionError('it ran')",
    "gallery/test_plain.py": "raise AssertionError('it ran')",
    "gallery/tests/__init__.py": "raise AssertionError('it ran')",
    "alone.py": "",
}


@pytest.fixture(autouse=True)
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, source in SOURCES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("gallery", "alone")]:
        del sys.modules[name]


def imported() -> set[str]:
    return {name for name in sys.modules if name.startswith("gallery.")}


def test_all_parts_are_there_and_what_cannot_be_is_told(caplog: pytest.LogCaptureFixture) -> None:
    import_all("gallery.*", LOG)
    assert imported() == {"gallery.plain", "gallery.deep", "gallery.deep.deeper", "gallery.deep.deeper.last"}
    (record,) = caplog.records
    assert record.message == (
        "imports: gallery.*: left out, as they cannot be imported: gallery.ending (SystemExit); "
        "gallery.window (No module named 'no_such_toolkit'); gallery.windows (only on Windows)"
    )


def test_a_package_below_another_one_can_be_named(caplog: pytest.LogCaptureFixture) -> None:
    import_all("gallery.deep.*", LOG)
    assert imported() == {"gallery.deep", "gallery.deep.deeper", "gallery.deep.deeper.last"}
    assert not caplog.records


def test_too_many_and_none_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wildcard_imports, "MODULES_MOST", 2)
    with pytest.raises(ConfigError, match=r"gallery\.\*: gallery has more than 2 modules: name those that it uses"):
        import_all("gallery.*", LOG)
    with pytest.raises(ConfigError, match=r"alone is a module and no package: write `imports: \[alone\]`"):
        import_all("alone.*", LOG)
    with pytest.raises(ModuleNotFoundError, match="absent"):
        import_all("absent.*", LOG)
