"""A path that another user could exchange is refused, wherever on the way."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tlsrt.config.trusted_path import check_trusted, foreign_root, trusted_uids
from tlsrt.errors import ConfigError

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
STRANGER = 771_234


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "a/b/tlsrt.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/tlsrt.yaml").write_text("")
    return path


def link(place: Path) -> None:
    place.unlink()
    place.symlink_to("../../elsewhere/tlsrt.yaml")


def test_what_is_ours_is_good_also_by_links_and_below_tmp(place: Path) -> None:
    check_trusted(place, "the configuration", trusted_uids())
    link(place)
    check_trusted(place, "the configuration", trusted_uids())
    place.parent.parent.chmod(0o1777)
    check_trusted(place, "the configuration", trusted_uids())
    check_trusted(place.parent / "missing/too", "the run folder", trusted_uids())


def test_what_cannot_be_looked_at_is_named_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.lstat
    closed: list[str] = []

    def lstat(path: str) -> os.stat_result:
        if path in closed:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "lstat", lstat)
    for each, shown in ((str(place), ""), (str(place.parent), f"{place.parent}: ")):
        closed[:] = [each]
        with pytest.raises(ConfigError) as refused:
            check_trusted(place, "the configuration", trusted_uids())
        assert str(refused.value) == f"cannot check the configuration {place}: {shown}Permission denied"


WRITABLE: dict[str, Callable[[Path], Path]] = {
    "the file": lambda place: place,
    "its folder": lambda place: place.parent,
    "a folder above": lambda place: place.parent.parent,
    "where a link leads": lambda place: place.parent.parent.parent / "elsewhere",
}


@pytest.mark.parametrize("which", WRITABLE)
@pytest.mark.parametrize("mode", [0o002, 0o020])
def test_what_others_may_write_is_refused_by_name(place: Path, which: str, mode: int) -> None:
    if which.startswith("where"):
        link(place)
    open_one = WRITABLE[which](place)
    if mode == 0o020:
        try:
            os.chown(open_one, -1, STRANGER)
        except PermissionError:
            pytest.skip("no other group to give it to")
    open_one.chmod(open_one.stat().st_mode & 0o7777 | mode)
    with pytest.raises(
        ConfigError, match=rf"could be exchanged by another user: {open_one} has mode 0\d+: run `chmod go-w"
    ):
        check_trusted(place, "the configuration", trusted_uids())


@ROOT_ONLY
@pytest.mark.parametrize("which", WRITABLE)
def test_what_belongs_to_another_is_refused_by_name(place: Path, which: str) -> None:
    if which.startswith("where"):
        link(place)
    other = WRITABLE[which](place)
    os.chown(other, STRANGER, STRANGER)
    with pytest.raises(
        ConfigError, match=rf"{other} belongs to uid {STRANGER}, and not to root: run this as that user"
    ):
        check_trusted(place, "the configuration", trusted_uids())
    check_trusted(place, "the configuration", trusted_uids(STRANGER))


@ROOT_ONLY
def test_a_link_of_another_in_tmp_is_refused(place: Path) -> None:
    """Its target is good, and can be another one tomorrow."""
    place.parent.chmod(0o1777)
    link(place)
    os.chown(place, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(ConfigError, match="belongs to uid"):
        check_trusted(place, "the configuration", trusted_uids())


def test_a_loop_of_links_ends(place: Path) -> None:
    place.unlink()
    place.symlink_to(place)
    with pytest.raises(ConfigError, match="too many symbolic links"):
        check_trusted(place, "the configuration", trusted_uids())


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("0 0 4294967295\n", set()), ("0 1000 1\n", {65534}), ("0 1000 1\n1 100000 65536\n", set()),
        ("0 100000 1000\n", {65534}), ("what\n", set()),
    ],
)  # fmt: skip
def test_root_outside_of_a_user_namespace_is_seen_as_the_overflow_uid(
    tmp_path: Path, text: str, seen: set[int]
) -> None:
    for name, content in (("map", text), ("overflow", "65534\n")):
        (tmp_path / name).write_text(content)
    assert foreign_root(tmp_path / "map", tmp_path / "overflow") == seen
    assert foreign_root(tmp_path / "none", tmp_path / "overflow") == set()
