"""Status texts, namespaces and a made-up /proc against a profile: each tampered fact is found."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tlsrt.sandbox.apply.root_plan import planned_root
from tlsrt.sandbox.cgroup.cgroup import GroupPath
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.verify.attest import attest, own_namespaces
from tlsrt.sandbox.verify.differences import NamespaceSet, namespace_differences, parse_status, task_differences

STATUS = """\
Name:\tpython: a: b
Uid:\t771001\t771001\t771001\t771001
Gid:\t771001\t771001\t771001\t771001
Groups:\t
Threads:\t1
CapInh:\t0000000000000000
CapPrm:\t0000000000000000
CapEff:\t0000000000000000
CapBnd:\t0000000000000000
CapAmb:\t0000000000000000
NoNewPrivs:\t1
Seccomp:\t2
Seccomp_filters:\t2
"""
NAMES = ("mnt", "ipc", "uts", "pid", "net", "user")
OWN = NamespaceSet({name: f"{name}:[1]" for name in NAMES})
CHILD = {name: f"{name}:[2]" for name in NAMES} | {"user": "user:[1]"}
PLACE = GroupPath(Path("/sys/fs/cgroup/tlsrt-1/third"), "/tlsrt-1/third")
PROFILE = Profile("third", 771001, 771001, limits={"nofile": 256, "core": 0}, group=PLACE)
LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units     
Max core file size        0                    0                    bytes     
Max open files            256                  256                  files     
"""  # noqa: W291


def test_a_confined_task_has_no_difference() -> None:
    assert task_differences(parse_status(STATUS), PROFILE, OWN) == []
    assert namespace_differences(CHILD, PROFILE, OWN) == []


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("Uid:\t771001", "Uid:\t0", "uids are"),
        ("Uid:\t771001\t771001\t771001\t771001", "Uid:\t771001\t771001\t0\t771001", "uids are"),
        ("Gid:\t771001\t771001\t771001\t771001", "Gid:\t771001\t771001\t771001\t0", "gids are"),
        ("Groups:\t", "Groups:\t0 ", "groups are"),
        ("CapInh:\t0000000000000000", "CapInh:\t0000000000000001", "CapInh"),
        ("CapPrm:\t0000000000000000", "CapPrm:\t0000000000200000", "CapPrm"),
        ("CapEff:\t0000000000000000", "CapEff:\t000001ffffffffff", "CapEff"),
        ("CapBnd:\t0000000000000000", "CapBnd:\t8000000000000000", "CapBnd"),
        ("CapAmb:\t0000000000000000", "CapAmb:\t0000000000000400", "CapAmb"),
        ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "no_new_privs"),
        ("Seccomp:\t2", "Seccomp:\t0", "seccomp mode"),
        ("Seccomp:\t2", "Seccomp:\t1", "seccomp mode"),
        ("Seccomp_filters:\t2", "Seccomp_filters:\t1", "seccomp mode"),
        ("Seccomp_filters:\t2", "Seccomp_filters:\t3", "seccomp mode"),
    ],
)
def test_every_tampered_status_line_is_found(old: str, new: str, word: str) -> None:
    assert old in STATUS
    found = task_differences(parse_status(STATUS.replace(old, new, 1)), PROFILE, OWN)
    assert len(found) == 1 and word in found[0]


@pytest.mark.parametrize("name", [line.split(":")[0] for line in STATUS.splitlines()[1:]])
def test_a_missing_line_cannot_pass(name: str) -> None:
    text = "".join(line for line in STATUS.splitlines(keepends=True) if not line.startswith(f"{name}:"))
    with pytest.raises(ValueError, match=name):
        parse_status(text)


def test_filters_that_a_service_manager_put_on_us_are_inherited() -> None:
    text = STATUS.replace("filters:\t2", "filters:\t5")
    assert task_differences(parse_status(text), PROFILE, replace(OWN, filters=3)) == []
    assert task_differences(parse_status(STATUS), PROFILE, replace(OWN, filters=3)) != []


@pytest.mark.parametrize("name", ["mnt", "ipc", "uts", "pid", "net"])
def test_a_namespace_shared_with_us_is_found(name: str) -> None:
    assert namespace_differences(CHILD | {name: OWN.identities[name]}, PROFILE, OWN) == [
        f"it shares our {name} namespace"
    ]


def test_a_user_namespace_of_its_own_is_found() -> None:
    assert namespace_differences(CHILD | {"user": "user:[9]"}, PROFILE, OWN) != []


def test_a_loop_with_a_network_must_have_ours() -> None:
    profile = replace(PROFILE, network=True, layers=tuple(set(PROFILE.layers) - {"net_namespace"}))
    assert namespace_differences(CHILD, profile, OWN) == ["its net namespace is not ours"]
    assert namespace_differences(CHILD | {"net": "net:[1]"}, profile, OWN) == []


def test_a_waived_layer_is_not_asked_for() -> None:
    profile = replace(PROFILE, waived=frozenset({"net_namespace", "no_new_privs"}))
    assert namespace_differences(CHILD | {"net": "net:[1]"}, profile, OWN) == []
    assert task_differences(parse_status(STATUS.replace("Privs:\t1", "Privs:\t0")), profile, OWN) == []


@pytest.mark.parametrize(("filters", "good"), [(0, False), (1, True), (2, True), (3, False)])
def test_a_waived_filter_may_be_there_or_not(filters: int, good: bool) -> None:
    profile = replace(PROFILE, waived=frozenset({"seccomp_sealed"}))
    text = STATUS.replace("Seccomp:\t2", f"Seccomp:\t{2 if filters else 0}").replace(
        "filters:\t2", f"filters:\t{filters}"
    )
    assert (task_differences(parse_status(text), profile, OWN) == []) is good


def test_rootless_keeps_uid_and_groups_of_the_user() -> None:
    profile = replace(PROFILE, uid=0, gid=0, rootless=True, layers=tuple(set(PROFILE.layers) - {"uid"}))
    text = STATUS.replace("771001", "0").replace("Groups:\t", "Groups:\t4 65534 ")
    assert task_differences(parse_status(text), profile, replace(OWN, groups=(4, 65534))) == []
    assert len(task_differences(parse_status(text), profile, OWN)) == 1
    assert len(task_differences(parse_status(STATUS), profile, OWN)) == 2


MOUNTS = "90 50 0:40 / / ro,nosuid,nodev,noexec - tmpfs tmpfs rw\n"


def fake_proc(folder: Path, tasks: tuple[int, ...] = (7,)) -> Path:
    """A /proc with ourselves and process 7."""
    for name, namespaces in {"self": OWN.identities, **{f"7/task/{task}": CHILD for task in tasks}}.items():
        (folder / name / "ns").mkdir(parents=True)
        (folder / name / "status").write_text(STATUS.replace("Threads:\t1", f"Threads:\t{len(tasks)}"))
        (folder / name / "mountinfo").write_text(MOUNTS)
        for kind, identity in namespaces.items():
            os.symlink(identity, folder / name / "ns" / kind)
    process = folder / "7"
    (process / "limits").write_text(LIMITS)
    (process / "cgroup").write_text("1:cpu:/\n0::/tlsrt-1/third\n")
    for number, (target, mount) in enumerate([("/dev/null", 90), ("socket:[7]", 9), (str(folder), 90)]):
        hold(process, number, target, mount)
    return folder


def hold(process: Path, number: int, target: str, mount: int) -> None:
    """Put a descriptor into a made-up process."""
    for name in ("fd", "fdinfo"):
        (process / name).mkdir(exist_ok=True)
    os.symlink(target, process / "fd" / str(number))
    (process / "fdinfo" / str(number)).write_text(f"pos:\t0\nflags:\t02\nmnt_id:\t{mount}\n")


def test_a_process_is_read_task_by_task(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, (7, 8, 9))
    assert own_namespaces(proc) == replace(OWN, filters=2)
    assert attest(7, PROFILE, OWN, proc=proc, max_tasks=3) == []
    assert attest(7, PROFILE, OWN, proc=proc, max_tasks=2) == ["it has 3 tasks, not 2 at most"]
    (proc / "7/task/9/status").write_text(STATUS.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"))
    (proc / "7/task/8/mountinfo").write_text(MOUNTS.replace("ro,", "rw,"))
    assert attest(7, PROFILE, OWN, proc=proc) == ["task 8: the root is writable", "task 9: no_new_privs is not set"]


def test_a_task_that_ends_meanwhile_is_no_difference_but_the_process_is(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, (7, 8))
    (proc / "7/task/8/status").unlink()
    assert attest(7, PROFILE, OWN, proc=proc) == []
    (proc / "7/task/7/status").unlink()
    assert attest(7, PROFILE, OWN, proc=proc) == ["process 7 has ended"]
    assert attest(6, PROFILE, OWN, proc=proc) == ["process 6 has ended"]


def test_what_cannot_be_read_is_a_difference(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path)
    (proc / "7/task/7/status").write_text("no such thing\n")
    assert attest(7, PROFILE, OWN, proc=proc) == ["cannot read process 7: no line Uid"]


@pytest.mark.parametrize(
    ("target", "mount", "words"),
    [
        ("anon_inode:[io_uring]", 9, "[io_uring]"),
        ("anon_inode:seccomp notify", 9, "seccomp notify"),
        ("anon_inode:[userfaultfd]", 9, "[userfaultfd]"),
        ("anon_inode:bpf-prog", 9, "bpf-prog"),
        ("anon_inode:[perf_event]", 9, "[perf_event]"),
        ("anon_inode:[pidfd]", 9, "[pidfd]"),
        ("net:[4026531840]", 4, "net:[4026531840]"),
        ("/", 23, "a folder outside its root"),
    ],
)
def test_a_descriptor_that_no_loop_may_have_is_found(tmp_path: Path, target: str, mount: int, words: str) -> None:
    proc = fake_proc(tmp_path)
    hold(proc / "7", 11, target, mount)
    assert attest(7, PROFILE, OWN, proc=proc) == [f"descriptor 11 is {words}"]


@pytest.mark.parametrize(
    ("target", "mount"),
    [("anon_inode:[eventpoll]", 9), ("pipe:[3]", 9), ("/memfd:key (deleted)", 1), ("/", 90), ("/gone", 5)],
)
def test_ordinary_descriptors_are_no_difference(tmp_path: Path, target: str, mount: int) -> None:
    proc = fake_proc(tmp_path)
    hold(proc / "7", 11, target, mount)
    assert attest(7, PROFILE, OWN, proc=proc) == []


def test_another_control_group_is_found(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path)
    (proc / "7/cgroup").write_text("0::/\n")
    assert attest(7, PROFILE, OWN, proc=proc) == ["its control group is /, not /tlsrt-1/third"]
    assert attest(7, replace(PROFILE, waived=frozenset({"cgroup"})), OWN, proc=proc) == []
    (proc / "7/cgroup").write_text("1:cpu:/\n")
    assert attest(7, PROFILE, OWN, proc=proc) == ["cannot read process 7: no group of version 2"]


def test_a_process_that_was_made_is_found_as_a_child_of_any_task_or_in_the_group(tmp_path: Path) -> None:
    proc, group = fake_proc(tmp_path / "proc", (7, 8)), GroupPath(tmp_path / "third", PLACE.name)
    profile = replace(PROFILE, group=group)
    for task in (7, 8):
        (proc / f"7/task/{task}/children").write_text("")
    group.folder.mkdir()
    (group.folder / "cgroup.procs").write_text("7\n")
    assert attest(7, profile, OWN, proc=proc) == []
    (group.folder / "cgroup.procs").write_text("7\n12\n")
    assert attest(7, profile, OWN, proc=proc) == ["there are 2 processes in its control group, not 1"]
    (proc / "7/task/8/children").write_text("11 12 ")
    assert attest(7, profile, OWN, proc=proc) == ["it has made a process: 11, 12"]
    assert attest(7, replace(profile, waived=frozenset({"cgroup"})), OWN, proc=proc) != []


def test_a_limit_above_the_profile_is_found_and_one_below_is_none(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path)
    (proc / "7/limits").write_text(LIMITS.replace("256  ", "1024 ", 1))
    assert attest(7, PROFILE, OWN, proc=proc) == ["its limit nofile is 1024 (at most 256), not 256"]
    (proc / "7/limits").write_text(LIMITS.replace("256  ", "16   "))
    assert attest(7, PROFILE, OWN, proc=proc) == []


def test_what_may_not_be_looked_at_is_a_difference_unless_the_operator_waived_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = fake_proc(tmp_path)

    def refuse(path: object, *, dir_fd: int | None = None) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "readlink", refuse)
    [difference] = attest(7, PROFILE, OWN, proc=proc)
    assert difference.startswith("cannot read process 7: ") and "Permission denied" in difference
    assert attest(7, replace(PROFILE, waived=frozenset({"attestation"})), OWN, proc=proc) == []


@pytest.mark.parametrize("change", ["link", "mounts"])
def test_what_changes_on_the_host_makes_no_difference_to_a_process_that_was_planned_before(
    tmp_path: Path, change: str
) -> None:
    proc = fake_proc(tmp_path / "proc")
    old, new, link = tmp_path / "old", tmp_path / "new", tmp_path / "localtime"
    old.touch()
    new.touch()
    link.symlink_to(old)
    (proc / "self/mountinfo").write_text("20 1 8:1 / / rw - ext4 disk rw\n")
    bind = f"91 90 8:1 {old} {old} ro,nosuid,nodev - ext4 disk rw\n"
    (proc / "7/task/7/mountinfo").write_text(MOUNTS + bind)
    profile = replace(PROFILE, read=(link,))
    root = planned_root(profile, proc)
    assert attest(7, profile, OWN, proc=proc, root=root) == []
    if change == "link":
        link.unlink()
        link.symlink_to(new)
    else:
        (proc / "self/mountinfo").write_text(
            f"20 1 8:1 / / rw - ext4 disk rw\n21 20 8:2 / {tmp_path} rw - ext4 other rw\n"
        )
    assert attest(7, profile, OWN, proc=proc, root=root) == []
    assert attest(7, profile, OWN, proc=proc) != []
    (proc / "7/task/7/mountinfo").write_text(MOUNTS + bind.replace(f"{old} {old}", f"{new} {old}"))
    assert attest(7, profile, OWN, proc=proc, root=root) == [f"task 7: {old} is not the host's"]
