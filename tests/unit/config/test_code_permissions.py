"""Who may write the code, and who cannot read it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsrt.config.code_permissions import impassable_for_others, unreadable_for_others, writable_by
from tlsrt.errors import ConfigError

LOOPS = range(771000, 771100)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    for path in (folder, folder / "sub", folder / "__pycache__"):
        path.mkdir()
        path.chmod(0o755)
    for name in ("a.py", "sub/b.py", "__pycache__/c.pyc"):
        (folder / name).touch()
        (folder / name).chmod(0o644)
    return folder


def test_nothing_to_say(code: Path) -> None:
    assert writable_by([code], LOOPS) == []
    assert unreadable_for_others([code]) == []


@pytest.mark.parametrize("name", ["a.py", "sub/b.py", "sub", ".", "__pycache__/c.pyc", "__pycache__", ".."])
def test_writable_by_all(code: Path, name: str) -> None:
    path = Path(os.path.normpath(code / name))
    path.chmod(path.stat().st_mode | 0o002)
    assert writable_by([code], LOOPS) == [str(path)]


def test_a_sticky_folder_protects_what_is_in_it(code: Path) -> None:
    code.parent.chmod(0o1777)
    assert writable_by([code], LOOPS) == []


def test_owned_by_a_loop(code: Path) -> None:
    (code / "a.py").chmod(0o444)  # an owner can chmod it back
    me, stranger = os.geteuid(), os.geteuid() + 1
    assert str(code / "a.py") in writable_by([code / "a.py"], range(me, me + 1))
    assert str(code / "a.py") not in writable_by([code / "a.py"], range(stranger, stranger + 1))


def test_writable_by_the_group_of_a_loop(code: Path) -> None:
    group = os.stat(code / "a.py").st_gid
    (code / "a.py").chmod(0o664)
    mine = os.geteuid()
    groups = {group} - {mine} or {group}
    assert str(code / "a.py") in writable_by([code / "a.py"], groups)
    assert writable_by([code / "a.py"], LOOPS) == []


def test_a_link_to_a_writable_file(code: Path, tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "target").chmod(0o666)
    (code / "link.py").symlink_to(tmp_path / "target")
    (code / "nowhere.py").symlink_to(tmp_path / "missing")
    assert writable_by([code], LOOPS) == [str(code / "link.py")]


def test_unreadable(code: Path) -> None:
    (code / "a.py").chmod(0o640)
    (code / "sub").chmod(0o754)
    (code / "__pycache__/c.pyc").chmod(0o600)
    assert unreadable_for_others([code]) == [
        f"the file of code {code}/a.py has mode 0640, so a loop cannot read it: run `chmod go+r {code}/a.py`",
        f"the folder of code {code}/sub has mode 0754, so a loop cannot read it: run `chmod -R go+rX {code}/sub`",
    ]


def test_a_private_root_and_parents_that_do_not_matter(code: Path) -> None:
    code.parent.chmod(0o700)
    assert unreadable_for_others([code]) == []
    code.chmod(0o700)
    assert unreadable_for_others([code]) == [
        f"the folder of code {code} has mode 0700, so a loop cannot read it: run `chmod -R go+rX {code}`"
    ]


def test_at_most_ten_sentences(code: Path) -> None:
    for number in range(25):
        (code / f"{number}.py").touch(0o600)
        (code / f"{number}.py").chmod(0o600)
    found = unreadable_for_others([code])
    assert len(found) == 11
    assert found[-1] == "and 15 more files or folders like these"


def test_a_missing_root(tmp_path: Path) -> None:
    for look in (unreadable_for_others, lambda paths: writable_by(paths, LOOPS)):
        with pytest.raises(ConfigError, match=r"cannot check .*/no: No such file or directory"):
            look([tmp_path / "no"])


def test_a_closed_folder_above_is_named_once_and_from_the_top(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    (inner / "state").mkdir(parents=True)
    (inner / "run").mkdir()
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001 and folder.owner() == tmp_path.owner() and folder.is_relative_to("/tmp/"):
            folder.chmod(0o711)
    (tmp_path / "a").chmod(0o700)
    inner.chmod(0o750)
    found = [
        sentence for sentence in impassable_for_others([inner / "state", inner / "run"]) if str(tmp_path) in sentence
    ]
    assert [sentence.split()[4].rstrip(",") for sentence in found] == [str(tmp_path / "a"), str(inner)]
    assert f"run `chmod o+x {inner}`" in found[1]
