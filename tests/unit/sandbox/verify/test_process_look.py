"""A look that is repeated, at a real process and at a made-up /proc: what changes between two looks is found."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from unit.sandbox.verify.test_attest import MOUNTS, OWN, PROFILE, STATUS, fake_proc, hold

from tlsrt.sandbox.apply.root_plan import planned_root
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.verify.attest import attest, own_namespaces
from tlsrt.sandbox.verify.differences import facts_of, parse_status
from tlsrt.sandbox.verify.kept_files import KeptFiles
from tlsrt.sandbox.verify.process_look import ProcessLook
from tlsrt.sandbox.verify.run_count import FULL_LOOKS, TICKS_S, has_ticks

NOFILE = 64
_CHILD = """
import ctypes, os, resource, signal, struct, sys, threading
held, ends, late = [], [], []

def sleep(filtered):
    if not filtered:
        begun.set()
        ends[-1].wait()
        filtered = late and late.pop() == "filter"
    if filtered:  # a filter of this thread alone: it allows all
        library = ctypes.CDLL(None)
        code = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000))
        program = ctypes.create_string_buffer(struct.pack("HP", 1, ctypes.addressof(code)))
        assert library.prctl(38, 1, 0, 0, 0) == 0 and library.prctl(22, 2, program, 0, 0) == 0
        ends.append(threading.Event())
        begun.set()
        ends[-1].wait()

def begin(filtered=False):
    global begun, thread
    begun = threading.Event()
    ends.append(threading.Event())
    thread = threading.Thread(target=sleep, args=(filtered,))
    thread.start()
    begun.wait()

def wake(what):
    late.append(what)
    begun.clear()
    ends[-1].set()
    begun.wait()

def end():
    number = thread.native_id
    ends[-1].set()
    thread.join()
    while os.path.exists(f"/proc/self/task/{number}"):  # joined a moment before it is gone
        pass

begin()
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
os._exit(0)
"""
LOOSE = Profile("steady", os.getuid(), os.getgid(), layers=("limits",), limits={"nofile": NOFILE})


class Steady:
    """A process that does what it is told between two looks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-IWignore", "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._own = own_namespaces()
        self._said("ready")
        self.look = ProcessLook(self._process.pid, trusts_counts=has_ticks())
        self.profile = replace(LOOSE, limits={"nofile": resource.prlimit(self.pid, resource.RLIMIT_NOFILE)[1]})

    @property
    def pid(self) -> int:
        return self._process.pid

    def _said(self, word: str) -> None:
        assert self._process.stdout is not None and self._process.stdout.readline().strip() == word

    def do(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
        self._said("done")

    def let_ticks_pass(self) -> None:
        """Wait until a task that does not run can be told from one that does."""
        until = time.monotonic() + TICKS_S
        while time.monotonic() < until:
            time.sleep(TICKS_S / 10)

    def differences(self, max_tasks: int | None = None) -> list[str]:
        found = self.look.differences(self.profile, self._own, max_tasks=max_tasks)
        assert found == attest(self.pid, self.profile, self._own, max_tasks=max_tasks)  # as a first look finds it
        return found

    def end(self) -> None:
        self.look.close()
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def steady() -> Iterator[Steady]:
    process = Steady()
    yield process
    process.end()


def test_one_that_stays_as_it_is_has_no_difference_and_costs_no_more_descriptors(steady: Steady) -> None:
    assert steady.differences() == []
    kept = steady.look.files
    assert [steady.differences() for _ in range(3)] == [[], [], []]
    assert steady.look.files == kept
    steady.look.close()
    assert steady.look.files == 0 and steady.differences() == [] and steady.look.files == kept


def test_a_steady_look_opens_nothing_but_the_list_of_descriptors(
    steady: Steady, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert steady.differences() == []
    opened: list[object] = []
    true_open, true_list = os.open, os.listdir

    def counted_open(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        opened.append(path)
        return true_open(path, flags, mode, dir_fd=dir_fd)

    def counted_list(path: str) -> list[str]:
        opened.append(path)
        return true_list(path)

    monkeypatch.setattr(os, "open", counted_open)
    monkeypatch.setattr(os, "listdir", counted_list)
    assert steady.look.differences(steady.profile, steady._own) == []
    assert opened == [f"/proc/{steady.pid}/fd"]


def test_a_thread_more_is_found_and_one_less_is_none(steady: Steady) -> None:
    assert steady.differences(max_tasks=2) == []
    steady.do("first = ends[-1], thread; begin()")
    assert steady.differences(max_tasks=2) == ["it has 3 tasks, not 2 at most"]
    steady.do("end()")
    assert steady.differences(max_tasks=2) == []


def test_a_thread_that_takes_the_place_of_another_is_judged(steady: Steady) -> None:
    assert steady.differences() == []
    steady.do("end(); begin(filtered=True)")
    [difference] = steady.differences()
    assert "seccomp mode 2 with" in difference and f"task {steady.pid}:" not in difference
    steady.do("end(); begin()")
    assert steady.differences() == []


def read_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list that the names of all links which are read from now on go to."""
    names: list[str] = []
    true_readlink = os.readlink

    def counted(path: str, *, dir_fd: int | None = None) -> str:
        names.append(path)
        return true_readlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "readlink", counted)
    return names


def test_a_thread_that_sleeps_is_not_looked_at_and_what_it_does_when_it_wakes_is_found_at_once(
    steady: Steady, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_ticks():
        pytest.skip("its processors run without ticks")
    assert steady.look.differences(steady.profile, steady._own) == []
    names = read_names(monkeypatch)
    for _ in range(3):  # one of these may be in full, by its turn, or the thread has run a moment longer
        steady.let_ticks_pass()
        steady.do("pass")  # its first thread runs
        names.clear()
        assert steady.look.differences(steady.profile, steady._own) == []
        if names.count("ns/mnt") == 1:  # of the first thread alone
            break
    else:
        pytest.fail(f"no look left out the thread that sleeps: {names}")
    steady.let_ticks_pass()
    steady.do("wake('filter')")
    [difference] = steady.look.differences(steady.profile, steady._own)
    assert "seccomp mode 2 with" in difference
    steady.let_ticks_pass()
    [difference] = steady.look.differences(steady.profile, steady._own)  # it sleeps again, and is not taken for good
    assert "seccomp mode 2 with" in difference


def test_a_process_that_has_not_run_is_looked_at_shortly_and_in_full_as_soon_as_it_has(
    steady: Steady, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_ticks():
        pytest.skip("its processors run without ticks")
    assert steady.look.differences(steady.profile, steady._own) == [] and not steady.look.has_slept
    names, slept = read_names(monkeypatch), 0
    for _ in range(FULL_LOOKS):
        steady.let_ticks_pass()
        names.clear()
        assert steady.look.differences(steady.profile, steady._own) == []
        slept += steady.look.has_slept and not names  # neither namespaces nor descriptors
    assert FULL_LOOKS - 4 <= slept < FULL_LOOKS  # each task has a look in full in its turn
    assert steady.look.epoll_set() is None  # it reads a pipe
    steady.let_ticks_pass()
    steady.do("wake('filter')")
    for _ in range(2):  # what is wrong stays wrong, also of one that sleeps again
        [difference] = steady.look.differences(steady.profile, steady._own)
        assert "seccomp mode 2 with" in difference and not steady.look.has_slept
        steady.let_ticks_pass()


def test_what_others_change_of_a_process_that_has_not_run_is_found_at_once(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, (7, 8))
    seconds = [0.0]
    look = ProcessLook(7, proc, trusts_counts=True, clock=lambda: seconds[0])
    root = planned_root(PROFILE, proc)

    def found() -> list[str]:
        seconds[0] += 0.5
        return look.differences(PROFILE, OWN, root=root)

    for number in (7, 8):
        (proc / f"7/task/{number}/schedstat").write_text("300 20 1\n")
    assert found() == [] and not look.has_slept
    assert found() == [] and look.has_slept
    (proc / "7/task/7/children").write_text("11 ")
    assert found() == ["it has made a process: 11"] and not look.has_slept
    (proc / "7/task/7/children").write_text("")
    (proc / "7/task/7/mountinfo").write_text(MOUNTS.replace("ro,", "rw,"))
    assert "task 7: the root is writable" in found() and not look.has_slept
    (proc / "7/task/7/mountinfo").write_text(MOUNTS)
    assert found() == [] and look.has_slept
    (proc / "7/task/7/status").write_text(STATUS.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"))
    (proc / "7/task/8/schedstat").write_text("301 20 1\n")  # another thread gave it that
    assert found() == ["task 7: no_new_privs is not set"] and not look.has_slept
    look.close()


def test_of_a_task_that_has_not_run_what_others_can_change_is_read_and_all_of_it_in_its_turn(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, (7, 8))
    seconds = [0.0]
    look = ProcessLook(7, proc, trusts_counts=True, clock=lambda: seconds[0])
    root = planned_root(PROFILE, proc)  # the supervisor keeps that of each process; another one has all judged anew
    runs, status = proc / "7/task/8/schedstat", proc / "7/task/8/status"

    def found(pause_s: float = 0.5) -> list[str]:
        seconds[0] += pause_s
        return look.differences(PROFILE, OWN, root=root)

    runs.write_text("300 20 1\n")
    for _ in range(FULL_LOOKS + 1):  # the first and the last of these are in full
        assert found() == []
    status.write_text(STATUS.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"))
    assert [bool(found()) for _ in range(FULL_LOOKS)] == [False] * (FULL_LOOKS - 1) + [True]
    status.write_text(STATUS)
    assert found() == []
    (proc / "7/task/8/children").write_text("11 ")
    assert found() == ["it has made a process: 11"]
    (proc / "7/task/8/children").write_text("")
    (proc / "7/task/8/mountinfo").write_text(MOUNTS.replace("ro,", "rw,"))
    assert found() == ["task 8: the root is writable"]
    (proc / "7/task/8/mountinfo").write_text(MOUNTS)
    assert found() == []
    status.write_text(STATUS.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"))
    assert found() == []
    for line in ("301 20 1\n", "300 20 2\n"):
        runs.write_text(line)
        assert found() == found() == ["task 8: no_new_privs is not set"]
    status.write_text(STATUS)
    assert found() == []
    status.write_text(STATUS.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"))
    assert found(TICKS_S / 2) != []  # so soon after the last one, run or not
    status.write_text(STATUS)
    assert found() == []
    assert look.differences(PROFILE, replace(OWN, filters=3), root=root) != []  # another profile judges it anew
    look.close()


@pytest.mark.parametrize("line", [None, "0 0 0\n", "0 7 1\n", "300 7 0\n", "300 7\n"])
def test_a_task_of_which_nothing_is_counted_is_looked_at_each_time(tmp_path: Path, line: str | None) -> None:
    proc = fake_proc(tmp_path, (7, 8))
    if line is not None:
        (proc / "7/task/8/schedstat").write_text(line)
    seconds = iter(range(1000))
    look = ProcessLook(7, proc, trusts_counts=True, clock=lambda: float(next(seconds)))
    root = planned_root(PROFILE, proc)
    for _ in range(2 * FULL_LOOKS):
        assert look.differences(PROFILE, OWN, root=root) == []
        (proc / "7/task/8/status").write_text(STATUS.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"))
        assert look.differences(PROFILE, OWN, root=root) == ["task 8: no_new_privs is not set"]
        (proc / "7/task/8/status").write_text(STATUS)
    look.close()


def test_a_descriptor_that_comes_is_found_until_it_goes(steady: Steady) -> None:
    assert steady.differences() == []
    steady.do("held.append(os.pidfd_open(os.getpid()))")
    [difference] = steady.differences()
    assert difference.startswith("descriptor ") and "pidfd" in difference
    steady.do("os.close(held.pop()); held.append(os.open('/dev/null', os.O_RDONLY))")
    assert steady.differences() == []
    assert steady.look.descriptors == len(os.listdir(f"/proc/{steady.pid}/fd"))


def test_a_limit_that_rises_is_found(steady: Steady) -> None:
    steady.profile = LOOSE
    steady.do(f"resource.setrlimit(resource.RLIMIT_NOFILE, ({NOFILE}, {NOFILE}))")
    assert steady.differences() == []
    steady.profile = replace(LOOSE, limits={"nofile": NOFILE - 1})  # as if it had risen by one
    assert steady.differences() == [f"its limit nofile is {NOFILE} (at most {NOFILE}), not {NOFILE - 1}"]
    steady.profile = LOOSE
    assert steady.differences() == []
    steady.do(f"resource.setrlimit(resource.RLIMIT_NOFILE, ({NOFILE // 2}, {NOFILE}))")
    assert steady.differences() == []


def test_a_process_that_it_has_made_is_found(steady: Steady) -> None:
    assert steady.differences() == []
    steady.do("held.append(os.fork()); held[-1] or signal.pause()")
    [difference] = steady.differences()
    assert difference.startswith("it has made a process: ")
    steady.do("os.kill(held[-1], signal.SIGKILL); os.waitpid(held.pop(), 0)")
    assert steady.differences() == []


def test_one_that_has_ended_is_told_whatever_is_kept_open(steady: Steady) -> None:
    assert steady.differences() == []
    steady.end()
    assert steady.differences() == [f"process {steady.pid} has ended"]
    steady.look.close()
    assert steady.differences() == [f"process {steady.pid} has ended"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("task/7/status", "", "cannot read process 7: no line Uid"),
        ("task/7/status", STATUS.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"), "task 7: no_new_privs is not set"),
        ("task/7/status", STATUS.replace("CapEff:\t0", "CapEff:\t1"), "task 7: CapEff is 0x1000000000000000, not 0x0"),
        ("task/7/mountinfo", "", "task 7: the root is not the minimal one"),
        ("task/7/mountinfo", MOUNTS.replace("ro,", "rw,"), "task 7: the root is writable"),
        ("limits", "", "its limit nofile cannot be read"),
        ("cgroup", "0::/\n", "its control group is /, not /tlsrt-1/third"),
        ("task/7/children", "11 ", "it has made a process: 11"),
    ],
)
def test_each_text_that_changes_between_two_looks_is_judged(tmp_path: Path, name: str, text: str, words: str) -> None:
    proc = fake_proc(tmp_path)
    (proc / "7/task/7/children").write_text("")
    look = ProcessLook(7, proc)
    assert look.differences(PROFILE, OWN) == []
    before = (proc / "7" / name).read_text()
    (proc / "7" / name).write_text(text)
    assert words in look.differences(PROFILE, OWN)
    assert words in look.differences(PROFILE, OWN)  # what was found once is not taken for good the next time
    (proc / "7" / name).write_text(before)
    assert look.differences(PROFILE, OWN) == []
    look.close()


def test_namespaces_and_folders_that_change_are_judged(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path)
    look = ProcessLook(7, proc)
    assert look.differences(PROFILE, OWN) == []
    link = proc / "7/task/7/ns/net"
    link.unlink()
    link.symlink_to("net:[1]")
    assert look.differences(PROFILE, OWN) == ["task 7: it shares our net namespace"]
    link.unlink()
    link.symlink_to("net:[3]")
    assert look.differences(PROFILE, OWN) == []
    hold(proc / "7", 11, "/", 23)
    assert look.differences(PROFILE, OWN) == ["descriptor 11 is a folder outside its root"]
    look.close()


def test_tasks_with_one_root_share_a_mount_table_and_one_with_another_root_is_looked_at(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path / "proc", (7, 8))
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    for task in (7, 8):
        (proc / f"7/task/{task}/root").symlink_to(tmp_path / "one")
    (proc / "7/task/8/mountinfo").write_text(MOUNTS.replace("ro,", "rw,"))
    look = ProcessLook(7, proc)
    assert look.differences(PROFILE, OWN) == []
    (proc / "7/task/8/root").unlink()
    (proc / "7/task/8/root").symlink_to(tmp_path / "other")
    assert look.differences(PROFILE, OWN) == ["task 8: the root is writable"]
    look.close()


def test_another_profile_judges_all_anew(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path)
    look = ProcessLook(7, proc)
    assert look.differences(PROFILE, OWN) == []
    assert look.differences(replace(PROFILE, limits={"nofile": 16}), OWN) != []
    assert look.differences(replace(PROFILE, uid=771002, gid=771002), OWN) != []
    assert look.differences(PROFILE, replace(OWN, filters=3)) != []
    assert look.differences(PROFILE, OWN) == []
    look.close()


def test_the_facts_of_a_status_are_all_lines_that_are_read_of_it() -> None:
    with open("/proc/self/status", "rb") as file:
        status = file.read()
    facts = facts_of(status)
    assert len(facts) < len(status) and b"VmRSS" not in facts and b"ctxt" not in facts
    assert parse_status(facts.decode()) == parse_status(status.decode())
    assert facts_of(STATUS.encode()) == STATUS.encode()  # one of another layout is taken whole


def test_kept_files_read_what_is_there_now_and_all_of_a_long_one(tmp_path: Path) -> None:
    files = KeptFiles(str(tmp_path))
    (tmp_path / "text").write_text("one")
    assert files.read("text") == b"one"
    (tmp_path / "text").write_bytes(b"x" * 200_000)
    assert files.read("text") == files.read_anew("text") == b"x" * 200_000
    assert files.count == 2  # the file and its folder
    with pytest.raises(FileNotFoundError):
        files.read("none")
    files.close()
    assert files.count == 0
