"""The look at one process through /proc, again and again: which files it reads, and what of them is judged anew.

Each look reads every fact as the kernel has it then. Files stay open between two looks, so that most readings are one
system call, and a text that is byte for byte the last one that was found good is not judged again: its judgement
depends on nothing else but the profile. A mount table is made for one mount namespace and one root, and is read once
for all tasks that share both.

Of a task that has not run since its last look only what others can change is read: its children, its root, and the
table of its mounts. The first task, by which others of the process show (one memory, one set of filters that are given
to all), is looked at in full whenever any has run, and each task every few seconds. If none has run, descriptors are
not read either: none comes to a process that does not run.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlsrt.sandbox.apply.mounts import mount_differences, mount_identities
from tlsrt.sandbox.apply.rlimits import limit_differences, parse_limits
from tlsrt.sandbox.apply.root_plan import PlannedRoot, planned_root
from tlsrt.sandbox.cgroup.cgroup import PROCS, parse_own_group
from tlsrt.sandbox.profile.profile import ATTESTATION, Profile
from tlsrt.sandbox.verify.descriptors import descriptor_differences
from tlsrt.sandbox.verify.differences import (
    NAMESPACE_NAMES,
    NamespaceSet,
    Task,
    company_differences,
    ended_sentence,
    facts_of,
    namespace_differences,
    parse_status,
    task_differences,
    unreadable_sentence,
)
from tlsrt.sandbox.verify.epoll_wait import epoll_set_of
from tlsrt.sandbox.verify.kept_files import KeptFiles
from tlsrt.sandbox.verify.run_count import RunCount

_NAMESPACE_PATHS = tuple(f"ns/{name}" for name in NAMESPACE_NAMES)
_MOUNT = NAMESPACE_NAMES.index("mnt")
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)

View = tuple[str, int, int]  # mount namespace, and root as device and inode: two tasks that share them share a table


@dataclass(slots=True)
class _Tasks:
    """What one look has seen of all tasks."""

    tables: dict[View | None, tuple[str, ...]] = field(default_factory=dict[View | None, tuple[str, ...]])
    table: bytes = b""  # of the last one that was read
    children: list[str] = field(default_factory=list[str])
    seen: int = 0
    first_threads: int = 0  # as the first task said, which was before all others were looked at
    threads: int = 0
    have_slept: bool = False  # all of them, since the last look
    is_short: bool = False  # so none of them is looked at in full, nor are descriptors


def read_namespaces(files: KeptFiles) -> tuple[str, ...]:
    """Return the namespaces of the task behind a folder, in the order of `NAMESPACE_NAMES`. Raises OSError."""
    directory = files.directory
    return tuple([os.readlink(path, dir_fd=directory) for path in _NAMESPACE_PATHS])


class _TaskLook:
    """The files of one task, and the last texts of it that were found to be good: the same need no second judgement."""

    def __init__(self, folder: str) -> None:
        self.files = KeptFiles(folder)
        self.threads = 0
        self._good_facts: bytes | None = None
        self._good_namespaces: tuple[str, ...] | None = None
        self._runs = RunCount(int(folder.rpartition("/")[2]))
        self._line = b""  # of its runs, read at the beginning of this look
        self._has_count = True
        self.has_slept = False  # it has not run since a look in full found nothing; only others can have changed it
        self.is_short = False  # so this look at it is not one in full

    def read_runs(self, now: float) -> None:
        """Begin a look: note whether it has slept."""
        self._line = b""
        if self._has_count:
            try:
                self._line = self.files.read("schedstat")
            except FileNotFoundError:  # a kernel without CONFIG_SCHED_INFO, or the task has ended
                self._has_count = False
        is_known = self._good_facts is not None and self._good_namespaces is not None
        self.has_slept = is_known and self._runs.has_slept(self._line, now)
        self.is_short = is_known and not self._runs.is_full_turn() and self.has_slept

    def looked(self, found: Sequence[str], now: float) -> None:
        """Note what a look in full has found, which ended at `now`."""
        if found:
            self._runs.forget()
        else:
            self._runs.looked(self._line, now)

    def forget(self) -> None:
        """Judge all anew: by another profile."""
        self._good_facts = self._good_namespaces = None

    def status_differences(self, profile: Profile, own: NamespaceSet, *, tells_dumpable: bool) -> list[str]:
        """Look at its status, also for how many threads the process has, and at whom its files belong to."""
        status = self.files.read("status")
        facts = facts_of(status)
        found: list[str] = []
        if facts != self._good_facts:
            task = _parsed(facts, status)
            found = task_differences(task, profile, own)
            self.threads, self._good_facts = task.threads, None if found else facts
        if (
            tells_dumpable and os.stat("status", dir_fd=self.files.directory).st_uid == profile.uid
        ):  # root owns that of one that is not dumpable, proc(5)
            found.append("it is dumpable")
        return found

    def namespace_differences(self, profile: Profile, own: NamespaceSet) -> tuple[list[str], View | None]:
        """Look at its namespaces; return also what tells its mount table from others, None where nothing does."""
        try:
            namespaces = read_namespaces(self.files)
        except PermissionError:
            if profile.expects(ATTESTATION):
                raise
            return [], None
        found: list[str] = []
        if namespaces != self._good_namespaces:
            found = namespace_differences(dict(zip(NAMESPACE_NAMES, namespaces, strict=True)), profile, own)
            self._good_namespaces = None if found else namespaces
        return found, self._view(namespaces) if profile.expects("mount_namespace") else None

    def view(self, profile: Profile) -> View | None:
        """Return the same for a task that has slept: its namespaces are as they were, its root may be another."""
        known = self._good_namespaces
        return self._view(known) if known is not None and profile.expects("mount_namespace") else None

    def _view(self, namespaces: Sequence[str]) -> View | None:
        try:
            root = os.stat("root", dir_fd=self.files.directory)
        except OSError:
            return None
        return (namespaces[_MOUNT], root.st_dev, root.st_ino)

    def children(self) -> list[str]:
        """Return the pids of processes that it has made, proc_pid_children(5). None where no kernel tells."""
        try:
            return os.fsdecode(self.files.read("children")).split()
        except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
            return []


def _parsed(facts: bytes, status: bytes) -> Task:
    try:
        return parse_status(os.fsdecode(facts))
    except ValueError:  # a kernel that has its lines in another order
        return parse_status(os.fsdecode(status))


class ProcessLook:
    """One process that is looked at again and again: each look reads the same facts anew, and judges what is new.

    What a look costs is system calls, so files stay open between two looks, until `close`. A text that is byte for byte
    the last one that was good is good: its judgement depends on nothing else but the profile.
    """

    def __init__(
        self, pid: int, proc: Path = Path("/proc"), *, trusts_counts: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`pid` is as numbered in `proc`. `trusts_counts`: tasks that have not run are not looked at in full."""
        self.pid = pid
        self._main = str(pid)
        self._trusts_counts = trusts_counts
        self._clock = clock
        self._proc = proc
        self._folder = f"{proc}/{pid}"
        self._files = KeptFiles(self._folder)
        self._links = KeptFiles(f"{self._folder}/fd")
        self._group: KeptFiles | None = None
        self._tasks: dict[str, _TaskLook] = {}
        self._judged_by: tuple[Profile, NamespaceSet, PlannedRoot | None] | None = None
        self._tells_dumpable = False  # whether the owner of its files would say so
        self._good_table: bytes | None = None
        self._good_mounts: frozenset[int] = frozenset()  # of that table
        self._good_limits: bytes | None = None
        self.descriptors: int | None = None  # open at the last look that counted them; None: not known
        self.has_slept = False  # at the last look, which found nothing: no task had run since the one before

    @property
    def files(self) -> int:
        """Return how many descriptors this look keeps open."""
        group = self._group.count if self._group is not None else 0
        return self._files.count + self._links.count + group + sum(task.files.count for task in self._tasks.values())

    def comm(self) -> bytes:
        """Return the name of its main thread, proc_pid_comm(5). Raises OSError."""
        return self._files.read("comm")

    def epoll_set(self) -> int | None:
        """Return the descriptor of the epoll set that its main task waits in now; None where that is not seen."""
        return epoll_set_of(self._files)

    def close(self) -> None:
        """Close its files; the next look opens them again."""
        for files in (self._files, self._links, *([self._group] if self._group is not None else [])):
            files.close()
        for task in self._tasks.values():
            task.files.close()

    def differences(
        self, profile: Profile, own: NamespaceSet, *, max_tasks: int | None = None, root: PlannedRoot | None = None
    ) -> list[str]:
        """Look now; see `attest`. Raises OSError only where this process has no descriptor left to look with."""
        found: list[str] = []
        self.has_slept = False
        try:
            if not profile.expects("mount_namespace"):
                root = None
            elif root is None:
                root = planned_root(profile, self._proc)
            self._judge_by(profile, own, root)
            tasks = self._look_at_tasks(profile, own, root, found)
            table = tasks.table if root is not None else None
            found += self._process_differences(profile, table, tasks.children, is_short=tasks.is_short)
        except (FileNotFoundError, ProcessLookupError):
            return [ended_sentence(self.pid)]
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _NO_DESCRIPTORS:
                raise
            return [*found, unreadable_sentence(self.pid, error)]
        count = max(tasks.seen, tasks.threads)
        if max_tasks is not None and count > max_tasks:
            found.append(f"it has {count} tasks, not {max_tasks} at most")
        self.has_slept = tasks.have_slept and not found
        return found

    def _judge_by(self, profile: Profile, own: NamespaceSet, root: PlannedRoot | None) -> None:
        before = self._judged_by
        if before is None or before[0] is not profile or before[1] is not own or before[2] is not root:
            self._judged_by = (profile, own, root)
            self._tells_dumpable = profile.expects("not_dumpable") and profile.uid not in (0, os.geteuid())
            self._good_table = self._good_limits = None
            for task in self._tasks.values():
                task.forget()

    # Tasks

    def _look_at_tasks(self, profile: Profile, own: NamespaceSet, root: PlannedRoot | None, found: list[str]) -> _Tasks:
        """Look at every task: those of the last look, and if these are not all, what is listed besides.

        As many tasks as the kernel counts, all of them alive after the count was read, are all that there were then.
        """
        tasks = _Tasks()
        is_listed = self._main not in self._tasks
        names = self._list() if is_listed else list(self._tasks)
        tasks.have_slept = self._trusts_counts and not is_listed and self._read_runs(names)
        tasks.is_short = tasks.have_slept and self._tasks[self._main].is_short
        self._look_at_each(names, profile, own, root, tasks, found)
        if tasks.is_short:  # no task ran that could begin another one
            tasks.threads = len(names)
        elif not is_listed and not tasks.seen == len(names) == tasks.first_threads:
            more = [name for name in self._list() if name not in names]
            self._look_at_each(more, profile, own, root, tasks, found)
        return tasks

    def _read_runs(self, names: Sequence[str]) -> bool:
        """Read how often each task has run; tell whether all have slept. One that has ended had run for that."""
        now, have_slept = self._clock(), True
        for name in names:
            task = self._tasks[name]
            try:
                task.read_runs(now)
            except ProcessLookupError:
                task.has_slept = task.is_short = False
            have_slept = have_slept and task.has_slept
        return have_slept

    def _look_at_each(
        self, names: Sequence[str], profile: Profile, own: NamespaceSet, root: PlannedRoot | None, tasks: _Tasks,
        found: list[str],
    ) -> None:  # fmt: skip
        for name in names:
            try:
                found += self._look_at_task(name, profile, own, root, tasks)
            except (FileNotFoundError, ProcessLookupError):
                self._tasks.pop(name).files.close()
                if name == self._main:
                    raise

    def _list(self) -> list[str]:
        """Return its tasks, its first one first: how many there are is read before the others are looked at."""
        names = os.listdir(f"{self._folder}/task")
        return sorted(names, key=lambda name: (name != self._main, int(name)))

    def _look_at_task(
        self, name: str, profile: Profile, own: NamespaceSet, root: PlannedRoot | None, tasks: _Tasks
    ) -> list[str]:
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = _TaskLook(f"{self._folder}/task/{name}")
            if self._trusts_counts:
                task.read_runs(self._clock())
        if task.is_short if name != self._main else tasks.is_short:
            found, view = list[str](), task.view(profile)
        else:
            found = task.status_differences(profile, own, tells_dumpable=self._tells_dumpable)
            differences, view = task.namespace_differences(profile, own)
            found += differences
            task.looked(found, self._clock())
            tasks.first_threads = tasks.first_threads or task.threads
            tasks.threads = task.threads
        children = task.children()
        if root is not None:
            if view is None or view not in tasks.tables:
                tasks.table = task.files.read_anew("mountinfo")
                tasks.tables[view] = self._table_differences(tasks.table, root)
            found += tasks.tables[view]
        tasks.children += children
        tasks.seen += 1
        return [f"task {name}: {difference}" for difference in found]

    def _table_differences(self, table: bytes, root: PlannedRoot) -> tuple[str, ...]:
        if table == self._good_table:
            return ()
        text = os.fsdecode(table)
        found = mount_differences(root.expected, text, root.outside)
        if not found:
            self._good_table, self._good_mounts = table, mount_identities(text)
        return found

    # What belongs to the process as a whole

    def _process_differences(
        self, profile: Profile, table: bytes | None, children: Sequence[str], *, is_short: bool
    ) -> list[str]:
        """Look at the rest. `table` is the mountinfo of one of its tasks, None where it shares ours."""
        found: list[str] = []
        in_group = 0
        if profile.expects("limits") and (limits := self._files.read("limits")) != self._good_limits:
            found += limit_differences(parse_limits(os.fsdecode(limits)), profile.limits)
            self._good_limits = None if found else limits
        if profile.expects("cgroup") and profile.group is not None:
            group = parse_own_group(os.fsdecode(self._files.read("cgroup")))
            if group != profile.group.name:
                found.append(f"its control group is {group}, not {profile.group.name}")
            in_group = self._count_in(profile.group.folder)
        found += company_differences(children, in_group)
        if is_short:
            return found
        self.descriptors = None
        try:
            names = os.listdir(f"{self._folder}/fd")
            found += descriptor_differences(names, self._folder, self._links.directory, self._mounts_in(table))
            self.descriptors = len(names)
        except PermissionError:
            if profile.expects(ATTESTATION):
                raise
        return found

    def _mounts_in(self, table: bytes | None) -> frozenset[int] | None:
        if table is None or table == self._good_table:
            return self._good_mounts if table is not None else None
        return mount_identities(os.fsdecode(table))

    def _count_in(self, group: Path) -> int:
        """Return how many processes are in its control group; a group that is no more has none."""
        if self._group is None:
            self._group = KeptFiles(os.fspath(group))
        try:
            return self._group.read(PROCS).count(b"\n")
        except FileNotFoundError:
            return 0
        except OSError as error:
            if error.errno != errno.ENODEV:  # of a group that was removed, a file that is still open
                raise
            self._group.close()
            return 0
