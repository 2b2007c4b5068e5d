"""Trees of files: paths and links that attack, races, quotas, uploads that break, and watches without a gap."""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import CallError, ConfigError, Conflict, Denied, Failed, InvalidArgument, NotFound, Unavailable
from tlsrt.loops.third import files, folder_watch
from tlsrt.loops.third.files import Files
from tlsrt.loops.third.folder import Quota
from tlsrt.loops.third.folder_watch import parse_events, told_of
from tlsrt.loops.third.staging import STAGING
from tlsrt.loops.third.tree import Tree
from tlsrt.loops.third.tree_path import parse_path_untrusted
from tlsrt.loops.third.tree_rules import Rules
from tlsrt.testing import SynchronousComponent, running_sync

DATA = bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()
ATTACKS = [
    "", "/etc/passwd", "t/..", "t/../x", "t/./a", "t//a", "t/a/", "t/a\0b", "t/a\nb", "t/" + "a" * 256,
    "t/" + "a/" * 33 + "b",
    f"t/{STAGING}/x", "t/" + "ä" * 128, "nowhere/a", "../t/a",
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    (tmp_path / "secret").write_text("secret")
    return tmp_path / "tree"


@pytest.fixture
def tree(place: Path) -> Iterator[SynchronousComponent]:
    with running_sync(Files, options=options(place)) as running:
        yield counted(running)


def options(place: Path, **more: object) -> dict[str, Any]:
    return {"trees": {"t": {"path": str(place), "rights": "rw", "keep_free_bytes": 0, **more}}}


def counted(running: SynchronousComponent) -> SynchronousComponent:
    running.run(running.component.count_all())
    return running


def put(tree: SynchronousComponent, path: str, data: bytes, offset: int = 0, sha256: str = "") -> Any:
    about = (path, len(data), sha256 or hashlib.sha256(data).hexdigest())
    tree.call("begin_put", *about)
    return tree.upload("go_on_put", data[offset:], *about, offset)


@pytest.mark.parametrize("path", ATTACKS)
def test_no_path_leads_out(tree: SynchronousComponent, place: Path, path: str) -> None:
    for method, more in [
        ("read", ()),
        ("write", ("x",)),
        ("append", ("x",)),
        ("remove", ()),
        ("mkdir", ()),
        ("stat", ()),
    ]:
        with pytest.raises((InvalidArgument, NotFound)):
            tree.call(method, path, *more)
    with pytest.raises((InvalidArgument, NotFound)):
        tree.call("move", "t/a", path)
    assert os.listdir(place) == []


@given(st.text(max_size=40))
def test_any_text_is_a_path_or_the_one_error(text: str) -> None:
    with suppress(InvalidArgument):
        path = parse_path_untrusted(text)
        assert "/".join((path.tree, *path.names)) == text
        assert not {"", ".", ".."} & {*path.names}


def test_files_and_folders(tree: SynchronousComponent, place: Path) -> None:
    with pytest.raises(InvalidArgument, match="mkdir makes it"):
        tree.call("write", "t/2026/May/a", "x")
    assert tree.call("mkdir", "t/2026/May", parents=True) is True
    assert tree.call("mkdir", "t/2026/May") is False
    assert tree.call("write", "t/2026/May/ä b.txt", "one") == 3
    assert tree.call("append", "t/2026/May/ä b.txt", b" two") == 7
    assert tree.call("read", "t/2026/May/ä b.txt", 4) == b"two"
    told = tree.call("stat", "t/2026/May/ä b.txt")
    assert (told["kind"], told["size_bytes"], told["sha256"]) == ("file", 7, hashlib.sha256(b"one two").hexdigest())
    tree.call("write", "t/b", "b")
    with pytest.raises(Conflict, match="there already"):
        tree.call("move", "t/b", "t/2026/May/ä b.txt")
    tree.call("move", "t/b", "t/2026/May/ä b.txt", replace=True)
    assert tree.call("read", "t/2026/May/ä b.txt") == b"b"
    with pytest.raises(InvalidArgument, match="lies in"):
        tree.call("move", "t/2026", "t/2026/May/x")
    with pytest.raises(Conflict, match="not empty"):
        tree.call("remove", "t/2026")
    tree.call("move", "t/2026/May", "t/June")
    tree.call("remove", "t/2026")
    tree.call("remove", "t/June/ä b.txt")
    with pytest.raises(NotFound):
        tree.call("read", "t/June/ä b.txt")
    assert [one["name"] for one in tree.call("list", "t")["entries"]] == ["June"]
    [shown] = tree.call("list")["entries"]
    assert (shown["used_bytes"], shown["files"], shown["rights"]) == (0, 0, "rw")


def test_a_list_comes_in_pages_and_tells_of_what_has_no_name_here(tree: SynchronousComponent, place: Path) -> None:
    for number in range(7):
        (place / f"{number}").touch()
    (place / os.fsdecode(b"\xff")).touch()
    (place / "link").symlink_to("/etc/passwd")
    first = tree.call("list", "t", limit=5)
    rest = tree.call("list", "t", after=first["entries"][-1]["name"])
    assert [one["name"] for one in first["entries"] + rest["entries"]] == ["0", "1", "2", "3", "4", "5", "6", "link"]
    assert first["skipped"] == 1 and rest["entries"][-1]["kind"] == "link"


def test_what_is_no_file_of_this_tree_alone_is_not_opened(tree: SynchronousComponent, place: Path) -> None:
    secret = place.parent / "secret"
    (place / "link").symlink_to(secret)
    (place / "folder").symlink_to(place.parent)
    (place / "hard").hardlink_to(secret)
    os.mkfifo(place / "fifo")
    with suppress(PermissionError):  # a user, and the root of a container, make no devices
        os.mknod(place / "null", 0o600 | 0o020000, os.makedev(1, 3))
    for name in [name for name in os.listdir(place) if name != "folder"]:
        with pytest.raises(Denied):
            tree.call("read", f"t/{name}")
        with pytest.raises(Denied):
            tree.call("append", f"t/{name}", "x")
        with pytest.raises(Denied):
            tree.call("write", f"t/{name}", "x")
        with pytest.raises(Denied):
            put(tree, f"t/{name}", DATA)
    for method, more in [("read", ()), ("write", ("x",)), ("remove", ()), ("mkdir", ())]:
        with pytest.raises(Denied, match="is no folder"):
            tree.call(method, "t/folder/secret", *more)
    with pytest.raises(Denied):
        next(tree.stream("watch", "t/folder"))
    tree.call("remove", "t/link")
    tree.call("remove", "t/folder")
    assert secret.read_text() == "secret" and not (place / "folder").exists()


def test_a_race_of_links_never_reads_or_writes_outside(place: Path) -> None:
    """A folder of the tree is swapped for a link to the one outside, as fast as it goes."""
    tree = Tree("t", place, Rules(Quota(1 << 20, 1 << 20, 100)))
    assert tree.open() is None
    (place / "f").mkdir()
    (place / "f" / "secret").write_text("mine")
    (place / "link").symlink_to(place.parent)
    end = threading.Event()

    def swap() -> None:
        while not end.is_set():
            os.rename(place / "f", place / "g")
            os.rename(place / "link", place / "f")
            os.rename(place / "f", place / "link")
            os.rename(place / "g", place / "f")

    thread = threading.Thread(target=swap)
    thread.start()
    met = {"mine": 0, "refused": 0}
    try:
        while min(met.values()) < 25:
            try:
                assert tree.read("f/secret", 0, 100) == b"mine"
                tree.write("f/secret", b"mine")
                met["mine"] += 1
            except CallError:
                met["refused"] += 1
    finally:
        end.set()
        thread.join()
        tree.close()
    assert (place.parent / "secret").read_text() == "secret"


def test_quotas_hold_over_a_restart(place: Path) -> None:
    with running_sync(Files, options=options(place, total_bytes=100, file_bytes=60, files=3)) as tree:
        counted(tree)
        with pytest.raises(Failed, match="larger than 60"):
            tree.call("write", "t/a", b"x" * 61)
        tree.call("write", "t/a", b"x" * 60)
        with pytest.raises(Failed, match="tree t is full: 100 bytes"):
            tree.call("write", "t/b", b"x" * 41)
        (place / "other").write_bytes(b"x" * 30)  # by another program
    with running_sync(Files, options=options(place, total_bytes=100, file_bytes=60, files=3)) as tree:
        counted(tree)
        with pytest.raises(Failed, match="full"):
            put(tree, "t/b", b"x" * 11)
        tree.call("write", "t/b", b"x" * 10)
        tree.call("remove", "t/a")
        tree.call("write", "t/c", b"")
        with pytest.raises(Failed, match="3 files is the limit"):
            tree.call("write", "t/d", b"")
        tree.call("write", "t/c", b"y")


def test_a_disk_that_is_nearly_full_takes_no_more(place: Path) -> None:
    with running_sync(Files, options=options(place, keep_free_bytes=1 << 49)) as tree:
        counted(tree)
        with pytest.raises(Failed, match="nearly full"):
            tree.call("write", "t/a", b"x")
    assert os.listdir(place) == []


def test_an_upload_goes_on_in_another_life_and_no_wrong_byte_gets_a_name(place: Path) -> None:
    (place / "sub").mkdir()
    (place / "sub" / "a").write_bytes(b"old")
    (place / "sub" / "a").chmod(0o644)
    about = ("t/sub/a", len(DATA), SHA256)
    with running_sync(Files, options=options(place)) as tree:
        counted(tree)
        assert tree.upload("go_on_put", DATA[:5000], *about, 0) == {"offset": 5000, "done": False}
        assert (place / "sub" / "a").read_bytes() == b"old"
    with running_sync(Files, options=options(place)) as tree:
        counted(tree)
        assert tree.call("begin_put", *about) == {"offset": 5000, "done": False}
        with pytest.raises(Conflict):
            tree.upload("go_on_put", DATA[6000:], *about, 6000)
        assert tree.upload("go_on_put", DATA[5000:], *about, 5000) == {"offset": len(DATA), "done": True}
        assert (place / "sub" / "a").read_bytes() == DATA
        assert (place / "sub" / "a").stat().st_mode & 0o777 == 0o644, "the mode of what was there"
        assert tree.call("begin_put", *about)["done"] is True
        with pytest.raises(Conflict, match="other SHA-256"):
            put(tree, "t/sub/a", b"other", sha256="0" * 64)
        assert (place / "sub" / "a").read_bytes() == DATA and os.listdir(place / STAGING) == []
        assert b"".join(tree.stream("read_stream", "t/sub/a", 100)) == DATA[100:]


def test_the_staging_folder_may_go_and_come(tree: SynchronousComponent, place: Path) -> None:
    tree.call("write", "t/a", "x")
    (place / STAGING).rmdir()
    tree.call("write", "t/a", "y")
    (place / STAGING).rmdir()
    (place / STAGING).symlink_to(place.parent)
    with pytest.raises(CallError):
        tree.call("write", "t/a", "z")
    assert (place / "a").read_text() == "y"


def test_rights_by_caller(place: Path) -> None:
    rules = options(place, readers=["client/anna"], writers=["client/ben"])
    (place / "a").write_text("a")
    with running_sync(Files, options=rules) as tree:
        counted(tree)
        for caller, may in [("client/anna", "r"), ("client/ben", "rw"), ("client/eve", "")]:
            [shown] = tree.call("list", caller=caller)["entries"] or [{"rights": ""}]
            assert shown["rights"] == may
            if may:
                assert tree.call("read", "t/a", caller=caller) == b"a"
            else:
                with pytest.raises(NotFound, match="no tree t"):
                    tree.call("read", "t/a", caller=caller)
            if may == "rw":
                tree.call("write", "t/a", "a", caller=caller)
            else:
                with pytest.raises((Denied, NotFound)):
                    tree.call("write", "t/a", "b", caller=caller)
    with running_sync(Files, options=options(place, rights="r")) as tree, pytest.raises(Denied, match="to be read"):
        tree.call("write", "t/a", "b")


def test_modes_of_what_is_new(place: Path) -> None:
    with running_sync(Files, options=options(place, mode="0644")) as tree:
        counted(tree)
        tree.call("mkdir", "t/sub")
        tree.call("write", "t/sub/a", "a")
        put(tree, "t/sub/b", DATA)
    modes = [(place / name).stat().st_mode & 0o7777 for name in ("sub", "sub/a", "sub/b")]
    assert modes == [0o755, 0o644, 0o644]
    with pytest.raises(ConfigError, match="octal mode"), running_sync(Files, options=options(place, mode="4755")):
        pass


def test_a_tree_that_is_removed_is_said_to_be_away(tree: SynchronousComponent, place: Path) -> None:
    place.rmdir()
    for method, more in [("read", ()), ("write", ("x",)), ("mkdir", ())]:
        with pytest.raises(Unavailable, match="its folder is not there"):
            tree.call(method, "t/a", *more)
    with pytest.raises(Unavailable):
        tree.call("list", "t")
    assert tree.run(tree.component.healthy()) == "tree t: its folder was removed"
    assert tree.call("list")["entries"][0]["trouble"] == "its folder was removed"
    tree.run(tree.component.count_all())


def test_a_tree_that_is_not_there_is_said_at_the_start(place: Path) -> None:
    both = options(place)["trees"] | {"away": {"path": "/nowhere"}}
    with running_sync(Files, options={"trees": both}) as tree:
        assert tree.run(tree.component.healthy()) == "tree away: no such file or directory"
        with pytest.raises(Unavailable):
            tree.call("list", "away")
    with (
        pytest.raises(ConfigError, match="none of the trees can be opened"),
        running_sync(Files, options={"trees": {"away": {"path": "/nowhere"}}}),
    ):
        pass


def test_a_watch_has_no_gap(tree: SynchronousComponent, place: Path) -> None:
    """What happens between the watch and the list is in one of them, whatever a writer does meanwhile."""
    begun = threading.Event()
    made = [f"{number:04}" for number in range(3000)]

    def write() -> None:
        for name in made:
            (place / name).touch()
            if name == made[100]:
                begun.set()

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait(10)
    seen: set[str] = set()
    for item in tree.stream("watch", "t"):
        assert item.get("change") != "look_again"
        if "entries" in item:
            seen |= {one["name"] for one in item["entries"]}
        elif item["change"] == "created":
            seen.add(item["name"])
        if made[-1] in seen:
            break
    thread.join()
    assert seen == {*made}


def test_changes_and_the_end_of_a_watch(tree: SynchronousComponent, place: Path) -> None:
    tree.call("mkdir", "t/a/b", parents=True)
    changes = tree.stream("watch", "t/a/b")
    assert next(changes) == {"entries": [], "complete": True}
    tree.call("write", "t/x", "x")
    tree.call("move", "t/x", "t/a/b/x")
    assert (came := next(changes))["change"] == "moved_here" and came["name"] == "x" and came["kind"] == "file"
    (place / "a" / "b" / "x").write_text("more")
    words = [next(changes)["change"] for _ in range(2)]
    assert words == ["growing", "written"]
    tree.call("mkdir", "t/a/b/c")
    assert next(changes) == {"change": "created", "name": "c", "kind": "folder"}
    tree.call("move", "t/a", "t/z")  # a folder above
    assert list(changes) == [{"change": "gone"}]


def test_a_watch_that_runs_over_says_so() -> None:
    overflow = struct.pack("=iIII", -1, 0x4000, 0, 0)
    assert told_of(parse_events(overflow)) == [{"change": "look_again"}]


@given(st.binary(max_size=200))
def test_any_bytes_are_events_or_the_one_error(data: bytes) -> None:
    with suppress(ValueError):
        told_of(parse_events(data))


def test_watches_are_bounded_and_give_back_what_they_had(tree: SynchronousComponent) -> None:
    before = len(os.listdir("/proc/self/fd"))
    streams = [tree.stream("watch", "t") for _ in range(files.WATCHES_SHARE)]
    for one in streams:
        next(one)
    with pytest.raises(CallError, match="are being watched"):
        next(tree.stream("watch", "t"))
    for one in streams:
        one.close()
    next(again := tree.stream("watch", "t"))
    again.close()
    tree.call("list", "t")  # behind what closes them, in the same line
    assert len(os.listdir("/proc/self/fd")) == before
    assert folder_watch.LISTED_AT_ONCE > 0
