"""A watch over folders: what appears is heard, and only there."""

from __future__ import annotations

from pathlib import Path

from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.folder_watch import FolderWatch, nearest_folder


def test_the_nearest_folder_is_one_that_there_is(tmp_path: Path) -> None:
    assert nearest_folder(f"{tmp_path}/by-id/usb/line") == str(tmp_path)
    assert nearest_folder("/nowhere/line") == "/"


def test_what_appears_is_heard_until_other_folders_are_watched(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    heard: list[str] = []
    loop = EventLoop()
    try:
        watch = FolderWatch(loop, lambda: heard.append("once"))
        assert watch.watch([str(one)]) and not watch.watch([str(one)])
        (one / "line").symlink_to("/dev/null")
        while not heard:
            loop.run_once()
        heard.clear()
        assert watch.watch([str(other), str(tmp_path / "gone")])
        (one / "more").touch()
        (other / "line").touch()
        while not heard:
            loop.run_once()
        watch.close()
        assert not watch.watch([])
    finally:
        loop.close()


def test_a_flood_is_heard_once_until_it_is_armed_again(tmp_path: Path) -> None:
    heard: list[str] = []
    loop = EventLoop()
    try:
        watch = FolderWatch(loop, lambda: heard.append("once"))
        watch.watch([str(tmp_path)])
        for turn in (1, 2):
            for number in range(100):
                (tmp_path / "line").touch()
                (tmp_path / f"{turn}-{number}").touch()
                loop.call_later(0, lambda: None)
                loop.run_once()
            assert len(heard) == turn
            watch.arm()
        loop.call_later(0, lambda: None)
        loop.run_once()
        assert len(heard) == 2, "what was before is not heard"
        watch.close()
    finally:
        loop.close()
