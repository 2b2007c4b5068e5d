"""When changed files are taken: what comes to rest once, and what was refused ever more seldom."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.door import DoorConfig
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.reload.file_watcher import AGAIN_CAP_S, FileChange, FileWatcher, SettlingFiles, sign_of


@given(st.lists(st.integers(0, 3), max_size=40))
def test_every_state_that_comes_to_rest_is_acted_on_once(states: list[int]) -> None:
    settling = SettlingFiles(((0,),))
    acted, last = 0, 0
    for state in states:
        due = settling.look(((state,),), 0.0)
        assert (due is FileChange.CHANGE) == (state == last != acted)
        acted = state if due is FileChange.CHANGE else acted
        last = state
        settling.taken()


def test_what_was_refused_is_tried_again_ever_more_seldom_until_it_is_taken() -> None:
    settling = SettlingFiles(((0,),))
    times: list[float] = []
    for now in range(20_000):
        due = settling.look(((1,),), now)
        if due is not FileChange.NOTHING:
            times.append(now)
            settling.refused(now)
    gaps = [later - before for before, later in pairwise(times)]
    assert gaps[:4] == [60, 120, 240, 480] and max(gaps) == AGAIN_CAP_S
    settling.taken()
    assert all(settling.look(((1,),), now) is FileChange.NOTHING for now in range(30_000, 60_000, 100))


@pytest.fixture
def door(tmp_path: Path) -> DoorConfig:
    real = tmp_path / "1"
    real.mkdir()
    for name in ("crt", "key", "ca"):
        (real / name).write_text(name)
    (tmp_path / "..data").symlink_to("1")
    for name in ("crt", "key", "ca"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    return DoorConfig("127.0.0.1", 0, tmp_path / "crt", tmp_path / "key", tmp_path / "ca", watch=True)


def swap_folder(folder: Path) -> None:
    """As Kubernetes does: another folder beside, then one rename of the link that all go through."""
    other = folder / "2"
    other.mkdir()
    for name in ("crt", "key", "ca"):
        (other / name).write_text(name)
    (folder / "..data_tmp").symlink_to("2")
    (folder / "..data_tmp").rename(folder / "..data")


def swap_link(folder: Path) -> None:
    """As certbot does: live/ holds links into archive/, each set anew."""
    (folder / "2crt").write_text("crt")
    (folder / "crt").unlink()
    (folder / "crt").symlink_to("2crt")


def write_over(folder: Path) -> None:
    (folder / "key").write_text("kez")


def rename_over(folder: Path) -> None:
    (folder / "new").write_text("crt")
    os.replace(folder / "new", folder / "1" / "crt")


def remove(folder: Path) -> None:
    (folder / "key").unlink()


def cut_link(folder: Path) -> None:
    (folder / "..data").unlink()


@pytest.mark.parametrize("change", [swap_folder, swap_link, write_over, rename_over, remove, cut_link])
def test_every_way_to_change_a_file_is_seen(door: DoorConfig, change: Callable[[Path], None]) -> None:
    before = sign_of(door)
    assert sign_of(door) == before
    change(door.certificate.parent)
    assert sign_of(door) != before


def test_the_watch_asks_once_and_tells_what_was_said(door: DoorConfig) -> None:
    asked: list[tuple[str, ...]] = []
    event_loop = EventLoop()

    def ask(reply: Callable[[Mapping[str, Any]], None], known: Sequence[str]) -> None:
        asked.append(tuple(known))
        reply({"refused": ["half a pair"]})

    watch = FileWatcher(event_loop, lambda: door, ask)
    watch.look_s = 0.01
    write_over(door.certificate.parent)  # between this and the first look
    watch.begin()
    while not asked:
        event_loop.run_once()
    rename_over(door.certificate.parent)
    while len(asked) < 2:
        event_loop.run_once()
    assert asked == [(), ()]  # another change is told anew
    event_loop.now += 100
    watch._look()
    assert asked[2:] == [("half a pair",)]
    watch.stopping()
    event_loop.close()
