"""Which looks keep their files open: processes that are looked at again, within a bound, and none that has ended."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.verify.attest import own_namespaces
from tlsrt.supervisor.process.process_looks import ProcessLooks

PROFILE = Profile("steady", os.getuid(), os.getgid(), layers=())
OWN = own_namespaces()
EACH = 6  # the process, its list of descriptors, the task, and three of its files at most


@pytest.fixture(scope="module")
def pids() -> Iterator[list[int]]:
    words = [sys.executable, "-ISc", "print(flush=True); input()"]
    children = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(3)]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == b"\n"
    yield [child.pid for child in children]
    for child in children:
        child.communicate(b"\n")


def look(looks: ProcessLooks, name: str, pid: int) -> list[str]:
    return looks.differences(name, pid, PROFILE, OWN, None)


def open_now() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_process_that_is_looked_at_again_keeps_its_files_and_one_that_has_ended_does_not(pids: list[int]) -> None:
    before, looks = open_now(), ProcessLooks()
    assert look(looks, "third", pids[0]) == [] and looks.kept == 0 and looks.of("third", pids[0]) is None
    assert look(looks, "third", pids[0]) == [] and 0 < looks.kept <= EACH
    kept = looks.of("third", pids[0])
    assert kept is not None and open_now() == before + looks.kept
    with open(f"/proc/{pids[0]}/comm", "rb") as file:
        assert kept.comm() == file.read()
    assert kept.descriptors == len(os.listdir(f"/proc/{pids[0]}/fd"))
    looks.forget("third")
    looks.forget("third")
    assert looks.of("third", pids[0]) is None and open_now() == before


def test_the_same_name_with_another_pid_is_another_process(pids: list[int]) -> None:
    before, looks = open_now(), ProcessLooks()
    for pid in (pids[0], pids[0], pids[1]):
        assert look(looks, "third", pid) == []
    assert looks.kept == 0 and looks.of("third", pids[0]) is None and looks.of("third", pids[1]) is None
    assert open_now() == before


def test_what_is_kept_has_a_bound_and_what_is_beyond_is_looked_at_all_the_same(pids: list[int]) -> None:
    before, looks = open_now(), ProcessLooks(most=EACH)
    for _ in range(3):
        for number, pid in enumerate(pids):
            assert look(looks, f"loop{number}", pid) == []
            assert open_now() == before + looks.kept
    assert [looks.of(f"loop{number}", pid) is not None for number, pid in enumerate(pids)] == [True, False, False]
    assert 0 < looks.kept <= EACH
    looks.close()
    assert open_now() == before


def test_with_no_descriptor_left_what_is_kept_is_given_up_for_the_look(pids: list[int]) -> None:
    looks, limits = ProcessLooks(), resource.getrlimit(resource.RLIMIT_NOFILE)
    for _ in range(2):
        assert look(looks, "third", pids[0]) == []
    held: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 3, limits[1]))
    try:
        while True:
            try:
                held.append(os.dup(0))
            except OSError:
                break
        found = look(looks, "forth", pids[1])
        kept = looks.kept
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert found == [] and kept == 0
    looks.close()


def test_where_nothing_can_be_opened_at_all_a_process_counts_as_one_that_cannot_be_read(pids: list[int]) -> None:
    looks, limits = ProcessLooks(), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        found = look(looks, "third", pids[0])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert found == [f"cannot read process {pids[0]}: [Errno 24] Too many open files: '/proc/{pids[0]}/task'"]


def test_one_that_has_ended_is_told() -> None:
    looks = ProcessLooks()
    child = subprocess.Popen([sys.executable, "-ISc", "input()"], stdin=subprocess.PIPE)
    for _ in range(2):
        assert look(looks, "third", child.pid) == []
    child.communicate(b"\n")
    assert look(looks, "third", child.pid) == [f"process {child.pid} has ended"]
    looks.close()
