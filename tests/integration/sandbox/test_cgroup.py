"""Control groups for real: who is in one cannot hide in it; as root, and rootless in a group that was delegated."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from probes.sandbox_runner import MODES, NOBODY, SandboxRunner, become_nobody, make_stage

from tlsrt.errors import SandboxError
from tlsrt.sandbox.cgroup.cgroup import GroupPath, own_place, remove, write
from tlsrt.sandbox.cgroup.tree import _MARK, make_tree

Facts = dict[str, Any]


@pytest.fixture
def below(stage: GroupStage) -> GroupStage:
    """The same, in a group called `supervisor`, see sandbox/cgroup/delegated.py."""
    place = stage.place.child("supervisor")
    os.mkdir(place.folder)
    if os.geteuid() == 0 and stage.mode == "rootless":
        for name in ("", "cgroup.procs"):
            os.chown(place.folder / name, NOBODY, NOBODY)
    return GroupStage(stage, place)


class GroupStage(SandboxRunner):
    """A stage whose processes begin in a group of the test's own, which belongs to whoever they run as."""

    def __init__(self, stage: SandboxRunner, place: GroupPath) -> None:
        super().__init__(stage.mode, stage.base)
        self.place = place

    def start(self, scenario: str, launch: str | None = None, **options: Any) -> Any:
        drops = self.mode == "rootless" and os.geteuid() == 0

        def enter() -> None:
            write(self.place.folder / "cgroup.procs", "0")
            if drops:
                become_nobody()

        return super().start(scenario, **({"launch": launch} if launch else {}), preexec_fn=enter, **options)


@pytest.fixture(params=MODES)
def stage(request: pytest.FixtureRequest) -> Iterator[SandboxRunner]:
    place = own_place().child(f"tlsrt.test.{os.getpid()}")
    os.mkdir(place.folder)
    try:
        if os.geteuid() == 0 and request.param == "rootless":  # as systemd's Delegate= does it
            for name in ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
                os.chown(place.folder / name, NOBODY, NOBODY)
        with make_stage(request.param) as made:
            yield GroupStage(made, place)
    finally:
        assert remove(place, pause=os.sched_yield, patience=100_000)


def test_a_group_holds_its_processes_until_they_are_dead(stage: GroupStage) -> None:
    facts = stage.run("groups")
    assert facts["place"] == facts["born_in"] == f"{stage.place.name}/tlsrt-test/third", "born in it, not moved"
    assert not facts["was_empty"] and facts["frozen"]
    assert facts["end"] == "SIGKILL" and facts["orphan_outlives"], "the pidfd alone does not reach a setsid orphan"
    assert facts["emptied"] and facts["again"] and facts["sibling_lives"]
    assert facts["removed"] and facts["all_dead"] and facts["last_ends"] == ["SIGKILL", "SIGKILL"]
    left_out = {"memory", "pids", "cpu"} - set(facts["controllers"])
    assert all(name in facts["missing"] for name in left_out)


def test_beside_a_group_for_the_supervisor(below: GroupStage) -> None:
    facts = below.run("groups")
    assert facts["place"] == facts["born_in"] == f"{below.place.parent.name}/tlsrt-test/third"
    assert facts["emptied"] and facts["removed"] and facts["all_dead"]


def test_what_a_killed_life_left_is_gone_with_the_next_start(stage: GroupStage) -> None:
    facts = stage.run("leftovers")
    assert "File exists" in facts["held"], "a group of a life that lasts is left alone"
    assert facts["held_lives"]
    assert facts["gone"] and facts["end"] == "SIGKILL" and facts["fresh"] and facts["removed"]


def test_a_neighbours_group_with_a_name_like_ours_survives_a_start() -> None:
    """Only what has our name and our mark was left by a supervisor."""
    if os.geteuid() != 0:
        pytest.skip("makes groups beside its own")
    place = own_place().child(f"tlsrt.test.{os.getpid()}")
    names = {
        "tlsrt-backup": False,
        "tlsrt-0123456789ab": False,
        "tlsrt-0123456789abc": True,
        "tlsrt-aaaaaaaaaaaa": True,
    }
    os.mkdir(place.folder)
    sleepers: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, is_marked in names.items():
            os.mkdir(place.folder / name)
            if is_marked:
                os.setxattr(place.folder / name, _MARK, b"1")
            sleepers[name] = subprocess.Popen(
                ["sleep", "60"], preexec_fn=partial(write, place.folder / name / "cgroup.procs", "0")
            )
        tree = make_tree(place, "ffffffffffff", {})
        assert sleepers["tlsrt-aaaaaaaaaaaa"].wait(20) == -signal.SIGKILL, "the one that a supervisor has left"
        assert not (place.folder / "tlsrt-aaaaaaaaaaaa").exists()
        assert [name for name, sleeper in sleepers.items() if sleeper.poll() is None] == [*names][:3]
        assert os.getxattr(tree.base.folder, _MARK) == b"1" and tree.remove()
    finally:
        for sleeper in sleepers.values():
            sleeper.kill()
            sleeper.wait()
        assert remove(place, pause=os.sched_yield, patience=100_000)


def test_a_dead_loops_descendants_are_killed_before_the_next_one_is_born(stage: GroupStage) -> None:
    facts = stage.run("cleared")
    assert facts["emptied"] and facts["second_look"] and facts["thawed"] and facts["next_lives"]
    assert not facts["first_look"]
    assert facts["released"] and facts["after"] == [True, -1, None]
    assert facts["sentence"].startswith("kill, freeze")
    assert facts["enforced"]["kill"] == facts["enforced"]["freeze"] == "cgroup"


def test_a_group_is_entered_before_anything_else_and_attested(stage: GroupStage) -> None:
    facts = stage.run("attested_group")
    for name in ("born", "moved"):
        assert facts[name]["differences"] == [] and facts[name]["layers"][0] == "cgroup", name
        assert facts[name]["end"] == "exit 3"
    [difference] = facts["elsewhere"]["differences"]
    assert difference.startswith("its control group is ") and difference.endswith("tlsrt-test/third")
    assert facts["nowhere"]["end"] == "exit 69"
    assert "sandbox layer cgroup: No such file or directory" in stage.stderr
    assert facts["removed"]


def test_a_captured_loop_cannot_leave_its_group_or_touch_another(stage: GroupStage) -> None:
    found = stage.run("escape")
    for layers in ("mounts", "sealed"):
        assert len(found[layers]) == 8
        for name, outcome in found[layers].items():
            assert outcome in ("ENOENT", "EROFS", "EACCES", "EPERM"), (layers, name, outcome)
    assert found["sibling_lives"] and found["removed"]


def test_no_two_children_draw_the_same_random_numbers(stage: GroupStage) -> None:
    """OpenSSL knows a forked child by its pid, and all are 1 in their namespaces: nothing may draw before the fork."""
    found = stage.run("randomness")
    assert found["removed"] and {facts["pid"] for facts in found["drawn"]} == {1}
    for source in ("key", "ssl", "python"):
        assert len({facts[source] for facts in found["drawn"]}) == 4, source


def test_a_hierarchy_that_is_mounted_read_only_is_called_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((0,) * 8 + (os.ST_RDONLY, 255)))
    with pytest.raises(SandboxError, match="control groups are mounted read-only here, so none can be made below /x"):
        make_tree(GroupPath(tmp_path, "/x"), "1", {})


def test_a_group_that_belongs_to_somebody_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").touch(0o444)
    if os.geteuid() == 0:  # whom no mode stops
        (tmp_path / "cgroup.procs").unlink()
    with pytest.raises(SandboxError, match="belongs to another user"):
        make_tree(GroupPath(tmp_path, "/x"), "1", {})


@pytest.mark.parametrize(
    ("invocation", "below"), [("5eed", "/supervisor"), ("another", ""), (None, "")], ids=["its own", "another", "none"]
)
def test_a_service_moves_below_the_group_that_was_delegated_to_it_and_nothing_else_does(
    stage: GroupStage, invocation: str | None, below: str
) -> None:
    os.setxattr(stage.place.folder, "user.delegate", b"1")
    os.setxattr(stage.place.folder, "user.invocation_id", b"5eed")
    code = (
        "import os; from tlsrt.sandbox.cgroup.delegated import enter_subgroup; enter_subgroup(os.environ);"
        "enter_subgroup(os.environ); print(open('/proc/self/cgroup').read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True,
        env={**os.environ, **({"INVOCATION_ID": invocation} if invocation else {"INVOCATION_ID": ""})},
        preexec_fn=lambda: write(stage.place.folder / "cgroup.procs", "0"),  # its rights are the folder's: root's do
    )  # fmt: skip
    assert f"0::{stage.place.name}{below}\n" in done.stdout
