"""Control groups: the texts of /proc, and a made-up hierarchy of files that stands for the kernel's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsrt.errors import SandboxError
from tlsrt.sandbox.cgroup import tree as cgroup_tree
from tlsrt.sandbox.cgroup.cgroup import (
    BACKGROUND_WEIGHT,
    Group,
    GroupPath,
    Limits,
    locate,
    own_place,
    parse_mounts,
    parse_oom_kills,
    parse_own_group,
    write,
)  # fmt: skip
from tlsrt.sandbox.cgroup.tree import home, make_tree, tag_of

MOUNTINFO = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime shared:9 - cgroup2 cgroup2 rw
"""


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("0::/\n", "/"),
        ("9:name=systemd:/x\n0::/system.slice/tlsrt.service\n", "/system.slice/tlsrt.service"),
        ("0::/gone (deleted)\n", "/gone"),
        ("0::/a:b\n", "/a:b"),
    ],
)
def test_our_own_group(text: str, own: str) -> None:
    assert parse_own_group(text) == own


@pytest.mark.parametrize("text", ["", "1:memory:/x\n", "10::/x\n"])
def test_no_group_of_version_2(text: str) -> None:
    with pytest.raises(ValueError, match="no group"):
        parse_own_group(text)


def test_only_hierarchies_of_version_2_count() -> None:
    assert parse_mounts(MOUNTINFO) == [("/", "/sys/fs/cgroup/uni fied")]
    with pytest.raises(ValueError, match="-"):
        parse_mounts("no mount at all and so no dash in it\n")


@pytest.mark.parametrize(
    ("own", "mounts", "folder"),
    [
        ("/", [("/", "/cg")], "/cg"),
        ("/a/b", [("/", "/cg")], "/cg/a/b"),
        ("/a/b", [("/a", "/cg")], "/cg/b"),
        ("/a", [("/a", "/cg")], "/cg"),
        ("/a", [("/", "/old"), ("/", "/new")], "/new/a"),
        ("/ab", [("/a", "/cg")], None),
        ("/a", [("/b", "/cg")], None),
        ("/a", [], None),
    ],
)
def test_where_a_group_can_be_seen(own: str, mounts: list[tuple[str, str]], folder: str | None) -> None:
    assert locate(own, mounts) == (None if folder is None else GroupPath(Path(folder), own))


def fake_own(tmp_path: Path, *, mounts: str = "41 31 0:38 / {folder} rw - cgroup2 cgroup2 rw\n") -> Path:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("0::/a\n")
    (tmp_path / "self/mountinfo").write_text(mounts.format(folder=tmp_path / "cg"))
    return tmp_path


def test_the_place_of_this_process(tmp_path: Path) -> None:
    proc = fake_own(tmp_path)
    with pytest.raises(SandboxError, match="where this process could see its group /a"):
        own_place(proc)
    (tmp_path / "cg/a").mkdir(parents=True)
    assert own_place(proc) == GroupPath(tmp_path / "cg/a", "/a")
    (tmp_path / "self/cgroup").write_text("1:memory:/\n")
    with pytest.raises(SandboxError, match="no cgroups of version 2"):
        own_place(proc)


def test_a_subgroup_for_the_supervisor_makes_room_beside_it() -> None:
    place = GroupPath(Path("/cg/tlsrt.service/supervisor"), "/tlsrt.service/supervisor")
    assert home(place) == GroupPath(Path("/cg/tlsrt.service"), "/tlsrt.service")
    assert home(home(place)) == home(place)
    assert GroupPath(Path("/cg/a"), "/a").parent == GroupPath(Path("/cg"), "/")
    assert GroupPath(Path("/cg"), "/").child("x").name == "/x"


def test_each_state_folder_has_a_tag_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert tag_of(tmp_path) == tag_of(tmp_path / "link") != tag_of(tmp_path / "other")


class FakeKernel:
    """A folder whose groups have the files that a kernel would give them, made when a group is."""

    def __init__(
        self, root: Path, controllers: str, monkeypatch: pytest.MonkeyPatch, *, without: str = "", kind: str = "domain"
    ) -> None:
        self.root, self.without, self.kind = root, without, kind
        self.place = GroupPath(root, "/own")
        self._fill(root, controllers)
        make = os.mkdir

        def mkdir(path: Path, mode: int = 0o777) -> None:
            make(path, mode)
            self._fill(path, (path.parent / "cgroup.subtree_control").read_text().replace("+", ""))

        monkeypatch.setattr(os, "mkdir", mkdir)

    def _fill(self, folder: Path, controllers: str) -> None:
        files = {"cgroup.procs": "", "cgroup.kill": "", "cgroup.freeze": "0", "cgroup.subtree_control": "",
                 "cgroup.max.depth": "max"}  # fmt: skip
        files |= {"cgroup.type": self.kind}
        files |= {"cgroup.controllers": controllers, "cgroup.events": "populated 0\nfrozen 0\n"}
        kinds = {"memory": ("memory.max", "memory.oom.group", "memory.swap.max"), "pids": ("pids.max",)}
        kinds["cpu"] = ("cpu.weight",)
        for kind, names in kinds.items():
            files |= dict.fromkeys(names if kind in controllers else (), "max")
        for name, text in files.items():
            if name != self.without:
                (folder / name).write_text(text)


LIMITS = {"primary": Limits(64 << 20, 64), "third": Limits(32 << 20, 8)}


class Subtree:
    """Joins what is written into cgroup.subtree_control, as the kernel does; a plain file would forget."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refuse: OSError | None = None) -> None:
        def joined(path: Path, text: str) -> None:
            if path.name == "cgroup.subtree_control":
                if refuse is not None:
                    raise refuse
                text = f"{path.read_text()} {text}"
            write(path, text)

        monkeypatch.setattr(cgroup_tree, "write", joined)


def test_delegated_controllers_are_handed_down_and_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(tmp_path, "cpuset cpu io memory pids", monkeypatch)
    Subtree(monkeypatch)
    tree = make_tree(kernel.place, "1", LIMITS)
    assert tree.controllers == {"memory", "pids", "cpu"} and tree.missing == ""
    third = tree.group("third").place
    assert third == GroupPath(tmp_path / "tlsrt-1/third", "/own/tlsrt-1/third")
    values = {name: (third.folder / name).read_text() for name in ("memory.max", "memory.oom.group", "pids.max")}
    assert values == {"memory.max": str(32 << 20), "memory.oom.group": "1ax", "pids.max": "8ax"}  # a real one truncates
    assert (third.folder / "memory.swap.max").read_text() == "0ax"
    tree.close()


def test_a_group_of_the_background_weighs_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(tmp_path, "cpu", monkeypatch)
    Subtree(monkeypatch)
    tree = make_tree(kernel.place, "1", {"third": Limits(), "worker": Limits(weight=BACKGROUND_WEIGHT)})
    weights = {name: (tree.group(name).place.folder / "cpu.weight").read_text() for name in ("third", "worker")}
    assert weights == {"third": "max", "worker": "33x"}  # a real one truncates
    tree.close()


@pytest.mark.parametrize(
    ("controllers", "held", "words"),
    [
        ("", set(), "memory, pids and cpu not delegated to /own"),
        ("hugetlb", set(), "memory, pids and cpu not delegated to /own"),
        ("pids", {"pids"}, "memory and cpu not delegated to /own"),
        ("cpu memory", {"memory", "cpu"}, "pids not delegated to /own"),
    ],
)
def test_what_is_not_delegated_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controllers: str, held: set[str], words: str
) -> None:
    kernel = FakeKernel(tmp_path, controllers, monkeypatch)
    Subtree(monkeypatch)
    tree = make_tree(kernel.place, "1", LIMITS)
    assert tree.controllers == held and tree.missing == words
    tree.close()


def test_a_group_that_hands_nothing_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(tmp_path, "memory pids", monkeypatch)
    Subtree(monkeypatch, OSError(13, "refused"))
    tree = make_tree(kernel.place, "1", LIMITS)
    assert tree.controllers == set()
    assert tree.missing == "cpu not delegated to /own; memory and pids: /own hands nothing down: refused"
    tree.close()


@pytest.mark.parametrize(("is_root", "held"), [(True, {"memory", "pids", "cpu"}), (False, set[str]())])
def test_only_the_root_of_the_hierarchy_may_hold_processes_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_root: bool, held: set[str]
) -> None:
    kernel = FakeKernel(tmp_path, "cpu memory pids", monkeypatch)
    (tmp_path / "cgroup.procs").write_text("17\n0\n")
    if is_root:
        (tmp_path / "cgroup.type").unlink()
    Subtree(monkeypatch)
    tree = make_tree(kernel.place, "1", LIMITS)
    assert tree.controllers == held
    words = "/own holds processes itself: start tlsrt in a group called `supervisor` below it"
    assert tree.missing == ("" if is_root else words)
    assert (tmp_path / "cgroup.subtree_control").read_text().split() == (
        ["+memory", "+pids", "+cpu"] if is_root else []
    )
    tree.close()


def test_a_group_for_threads_only_gives_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(tmp_path, "", monkeypatch, kind="domain invalid")
    with pytest.raises(SandboxError, match="groups below /own cannot hold processes: they are `domain invalid`"):
        make_tree(kernel.place, "1", LIMITS)


def test_a_kernel_that_cannot_kill_a_group_gives_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(tmp_path, "", monkeypatch, without="cgroup.kill")
    with pytest.raises(SandboxError, match=r"no cgroup\.kill \(Linux 5\.14\)"):
        make_tree(kernel.place, "1", LIMITS)


def test_a_group_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(tmp_path, "", monkeypatch)

    def refuse(path: Path, mode: int) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(SandboxError, match="cannot make a group below /own: Read-only file system"):
        make_tree(kernel.place, "1", LIMITS)


@pytest.mark.parametrize(
    ("events", "is_empty", "is_frozen"),
    [("populated 0\nfrozen 0\n", True, False), ("populated 1\nfrozen 1\n", False, True)],
)
def test_events(tmp_path: Path, events: str, is_empty: bool, is_frozen: bool) -> None:
    group = Group(GroupPath(tmp_path / "x", "/x"))
    (tmp_path / "x/cgroup.events").write_text(events)
    assert (group.is_empty, group.is_frozen) == (is_empty, is_frozen)
    group.close()
    group.close()


EVENTS_OF_MEMORY = "low 0\nhigh 0\nmax 7\noom 2\noom_kill {}\noom_group_kill 1\n"


def test_deaths_for_want_of_memory_are_counted_for_the_process_that_is_in_it(tmp_path: Path) -> None:
    group = Group(GroupPath(tmp_path / "x", "/x"))
    assert group.oom_kills == 0, "without the controller there is no file"
    counted = tmp_path / "x" / "memory.events"
    counted.write_text(EVENTS_OF_MEMORY.format(3))
    assert group.oom_kills == 3
    group.renew()
    assert group.oom_kills == 0, "the next one is not blamed for the one before"
    counted.write_text(EVENTS_OF_MEMORY.format(4))
    assert group.oom_kills == 1
    group.close()


def test_a_text_that_counts_no_kills() -> None:
    with pytest.raises(ValueError, match=r"memory\.events"):
        parse_oom_kills("low 0\n")
