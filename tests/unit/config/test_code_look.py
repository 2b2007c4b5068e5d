"""How code looked before it was measured, and every way in which it is something else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tlsrt.config.code_look import SHARED, CodeLook, ProcessCode, look_at
from tlsrt.config.code_root import Root


@pytest.fixture
def package(tmp_path: Path) -> Path:
    package = tmp_path / "kettle"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "heat.py", "inner/deep.py", "word.txt"):
        (package / name).write_text("good = True\n")
    return package


def code_of(root: Root, *, owner: str = "third/kettle", is_strict: bool = True) -> ProcessCode:
    return ProcessCode((CodeLook(root, owner, *look_at(root)),), is_strict=is_strict)


def rewrite(package: Path) -> None:
    """Write the same number of bytes, and set the times back, as one does who wants not to be seen."""
    path = package / "heat.py"
    before = path.stat()
    path.write_text("evil = True\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def exchange(package: Path) -> None:
    other = package.parent / "other"
    other.write_text("good = True\n")
    other.rename(package / "heat.py")


def link_folder(package: Path) -> None:
    (package / "inner").rename(package.parent / "elsewhere")
    (package / "inner").symlink_to(package.parent / "elsewhere")


def link_root(package: Path) -> None:
    package.rename(package.parent / "elsewhere")
    package.symlink_to(package.parent / "elsewhere")


CHANGES: list[Callable[[Path], object]] = [
    rewrite,
    exchange,
    link_folder,
    link_root,
    lambda package: (package / "new.py").write_text(""),
    lambda package: (package / "heat.py").unlink(),
    lambda package: (package / "heat.py").chmod(0o777),
    lambda package: package.rename(package.parent / "gone"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_code_is_seen(package: Path, change: Callable[[Path], object]) -> None:
    code = code_of(Root(package, "component/kettle"))
    assert code.change() is None and code.change_inside() is None
    change(package)
    found = code.change()
    assert found is not None and (found.owner, found.root) == ("third/kettle", str(package))
    assert "type `tlsrt-supervisor seal` and `tlsrt-supervisor reload`" in str(found)


def test_what_changed_last_is_named(package: Path) -> None:
    code = code_of(Root(package, "component/kettle"))
    exchange(package)
    assert "(changed last: heat.py)" in str(code.change())


def test_what_lies_behind_a_link_out_of_the_package_is_seen_as_the_host_sees_it(package: Path) -> None:
    target = package.parent / "target.py"
    target.write_text("good = True\n")
    (package / "linked.py").symlink_to(target)
    code = code_of(Root(package, "component/kettle"))
    target.write_text("evil = True\n")
    assert code.change() is not None
    assert code.change_inside() is None, "a sandbox need not show it"


def test_a_cache_and_what_is_no_code_of_a_checkout_change_nothing(package: Path) -> None:
    code = code_of(Root(package, "component/kettle", only_code=True))
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "heat.pyc").write_text("")
    (package / "word.txt").write_text("other words")
    assert code.change() is None
    (package / "inner" / "deep.py").write_text("evil = True\n")
    assert code.change() is not None


def test_links_in_a_circle_end(package: Path) -> None:
    (package / "inner" / "up").symlink_to(package)
    (package / "inner" / "nowhere.py").symlink_to(package / "nothing")
    assert code_of(Root(package, "component/kettle")).change() is None


def test_what_every_process_shares_is_compared_before_the_import_only(package: Path) -> None:
    code = code_of(Root(package, "dep/kettle"), owner=SHARED)
    exchange(package)
    assert code.change() is not None and code.change_inside() is None


def test_what_a_sandbox_does_not_show_is_not_compared_there(package: Path) -> None:
    code = code_of(Root(package, "component/kettle"))
    package.rename(package.parent / "gone")
    assert code.change_inside() is None


def test_byte_code_is_as_it_was_or_not(tmp_path: Path) -> None:
    folder = tmp_path / "tlsrt.bytecode"
    root = Root(folder, "bytecode")
    code = ProcessCode(bytecode=CodeLook(root, SHARED, *look_at(root)))
    assert code.has_bytecode(), "there was none, and there is none"
    folder.mkdir()
    (folder / "heat.pyc").write_bytes(b"")
    assert not code.has_bytecode()


def test_files_that_no_birth_reads_are_left_out_and_all_others_are_not(package: Path) -> None:
    (package / "inner/profile.yaml").write_text("about: it\n")
    code = code_of(Root(package, "kettle", unread=(".yaml",)), owner=SHARED)
    (package / "inner/profile.yaml").write_text("about: [wrong]\n")
    (package / "another.yaml").write_text("")
    assert code.change() is None
    (package / "inner/deep.py").write_text("evil = True\n")
    change = code.change()
    assert change is not None and change.newest == "inner/deep.py"
