"""What a captured loop tries in order to get at other processes: one function a row of tests/attacks/reach.yaml.

Each gets the `World` that an insider would know (paths, pids, numbers of files), and returns the name of an errno,
"allowed", or a list of what it reached. Those that end the process never return.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import signal
import socket
import stat
from collections.abc import Callable
from typing import Any

from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

World = dict[str, Any]
CALLS = NUMBERS[os.uname().machine]
ROUTES = ("", "/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/state/..", "/channel/..", "/dev/..", "/../..")
FAMILIES = range(48)
KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET)
DESCRIPTORS_MAX = 512

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_page = ctypes.create_string_buffer(4096)
_AT = ctypes.addressof(_page)


def call(name: str, *arguments: int | bytes) -> str:
    """syscall(2) by name."""
    registers = [ctypes.c_char_p(one) if isinstance(one, bytes) else ctypes.c_ulong(one) for one in arguments]
    if _libc.syscall(ctypes.c_long(CALLS[name]), *registers) == -1:
        return errno.errorcode[ctypes.get_errno()]
    return "allowed"


def attempt(action: Callable[..., object], *arguments: object) -> str:
    try:
        action(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except ValueError as error:  # resource.setrlimit says EPERM so
        return str(error)
    return "allowed"


def _look(path: str, flags: int) -> None:
    os.close(os.open(path, flags))


def _touch(path: str, route: str) -> str:
    """Try everything that would tell something of a file, or change it; "allowed" if anything works."""
    where = route + path
    found = {
        attempt(_look, where, os.O_RDONLY),
        attempt(_look, where, os.O_PATH),
        attempt(_look, where, os.O_WRONLY | os.O_APPEND),
        attempt(os.listdir, where),
        attempt(os.stat, where),
        attempt(os.rename, where, "/state/taken"),
        attempt(os.link, where, "/state/linked"),
        attempt(os.unlink, where),
        attempt(_connect_path, where),
    }
    return "allowed" if "allowed" in found else "refused"


def files(world: World) -> list[str]:
    """Every file and folder of the others, by every way there may be into the host's tree."""
    return [
        f"{name} by {route or 'its path'}"
        for name, path in world["files"].items()
        for route in ROUTES
        if _touch(path, route) == "allowed"
    ]


def planted_links(world: World) -> list[str]:
    """Links in the own folder, which whoever follows them outside would take for its own files."""
    made = []
    for name, path in world["files"].items():
        for kind, action in (("symbolic", os.symlink), ("hard", os.link)):
            if attempt(action, path, f"/state/{kind}-{name.replace(' ', '-')}") == "allowed":
                made.append(f"{kind} {name}")
    return made


def special_files(world: World) -> str:
    """A FIFO, a device, or a socket in the own folder."""
    found = {
        attempt(os.mkfifo, "/state/fifo"),
        attempt(os.mknod, "/state/device", stat.S_IFCHR | 0o600, os.makedev(1, 1)),
        attempt(os.mknod, "/state/socket", stat.S_IFSOCK | 0o600),
    }
    return " ".join(sorted(found))


def root(world: World) -> list[str]:
    """What can be written below the root, which should be the own folder and nothing else."""
    names = [f"/{name}" for name in os.listdir("/")] if attempt(os.listdir, "/") == "allowed" else []
    folders = {"/", "/state", "/dev", "/proc", "/sys", "/tmp", "/etc", "/usr", "/lib", "/channel", *names}
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    written = []
    for folder in sorted(folders):
        if attempt(_look, f"{folder}/planted", flags) == "allowed":
            os.unlink(f"{folder}/planted")
            written.append(folder)
    return written


# -- what it holds -------------------------------------------------------------------------------------------------


def descriptors(world: World) -> list[str]:
    """Folders, devices but /dev/null, and files, among the open descriptors; what is known is called by its name."""
    known = {tuple(number): name for name, number in world["numbers"].items()}
    for folder, names, files in os.walk("/state"):
        for name in (".", *names, *files):
            status = os.stat(f"{folder}/{name}")
            known[status.st_dev, status.st_ino] = "own state"
    found = []
    for descriptor in range(DESCRIPTORS_MAX):
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        kind = stat.S_IFMT(status.st_mode)
        if kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFBLK) or (kind == stat.S_IFCHR and status.st_rdev != 0x103):
            mode = ("read", "write", "change")[fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE]
            found.append(f"{mode} {known.get((status.st_dev, status.st_ino), oct(kind))}")
    return sorted(set(found))


def unlock(world: World) -> str:
    """Give up the locks behind every descriptor: of a file that is shared, it would be everybody's lock."""
    for descriptor in range(DESCRIPTORS_MAX):
        attempt(fcntl.flock, descriptor, fcntl.LOCK_UN)
    return "done"


# -- other processes -----------------------------------------------------------------------------------------------


def seen_processes(world: World) -> list[str]:
    """Processes that /proc shows beside this one; no /proc is as good."""
    names = os.listdir("/proc") if attempt(os.listdir, "/proc") == "allowed" else []
    return sorted(name for name in names if name.isdigit() and name != str(os.getpid()))


def proc_of_others(world: World) -> list[str]:
    """What /proc would tell of the host's processes, by their numbers there."""
    parts = ("environ", "mem", "maps", "cmdline", "status", "fd/0", "root/etc", "cwd", "ns/net", "task")
    return [
        f"{part} of {name}"
        for name, pid in world["pids"].items()
        for part in parts
        if attempt(_look, f"/proc/{pid}/{part}", os.O_RDONLY) == "allowed"
    ]


def own_secrets_in_proc(world: World) -> list[str]:
    """Parts of /proc/self that would let it change itself past the filters, or be read by a sibling."""
    reading = ("environ", "auxv", "stack", "syscall", "personality")
    writing = ("mem", "oom_score_adj", "uid_map", "clear_refs", "coredump_filter", "attr/current", "loginuid",
               "timerslack_ns", "comm", "limits", "setgroups", "projid_map", "autogroup", "sched")  # fmt: skip
    found = [name for name in reading if attempt(_look, f"/proc/self/{name}", os.O_RDONLY) == "allowed"]
    return found + [name for name in writing if attempt(_look, f"/proc/self/{name}", os.O_WRONLY) == "allowed"]


def host_switches(world: World) -> list[str]:
    """Files of /proc and /sys that change the whole host or show its memory."""
    reading = ("/proc/kcore", "/proc/kmsg", "/proc/keys", "/proc/1/pagemap",
               "/dev/mem", "/dev/kmsg", "/dev/zero", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/shm")  # fmt: skip
    writing = ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger",
               "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/hostname", "/sys/kernel/uevent_helper",
               "/sys/power/state", "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs",
               "/sys/module/kernel/parameters/crash_kexec_post_notifiers")  # fmt: skip
    found = [path for path in reading if attempt(_look, path, os.O_RDONLY) == "allowed"]
    return found + [path for path in writing if attempt(_look, path, os.O_WRONLY) == "allowed"]


def signals(world: World) -> list[str]:
    """Signals to supervisor, authority and siblings, by all numbers under which they may be known."""
    numbers = {*world["pids"].values(), *range(2, 64), -1, 0, os.getppid()} - {os.getpid()}
    reached = []
    for pid in sorted(numbers):
        outcomes = {
            "kill": attempt(os.kill, pid, 0),
            "tgkill": call("tgkill", pid, pid, 0),
            "tkill": call("tkill", pid, 0),
            "rt_sigqueueinfo": call("rt_sigqueueinfo", pid, 10, _AT),
            "pidfd_open": call("pidfd_open", pid, 0),
        }
        reached += [f"{name} {pid}" for name, outcome in outcomes.items() if outcome == "allowed"]
    for descriptor in range(3, 64):
        if call("pidfd_send_signal", descriptor, 0, 0, 0) == "allowed":
            reached.append(f"pidfd {descriptor}")
        if attempt(fcntl.fcntl, descriptor, fcntl.F_SETOWN, world["pids"]["supervisor"]) == "allowed":
            reached.append(f"owner of {descriptor}")
    return reached


def influence(world: World) -> list[str]:
    """Calls that change how another process runs. Three are answered as if done: a test looks at what they did."""
    reached = []
    for name, pid in world["pids"].items():
        outcomes = {
            "limits": call("prlimit64", pid, 7, _AT, 0),
            "limits read": call("prlimit64", pid, 7, 0, _AT),
            "scheduler": call("sched_setscheduler", pid, 0, _AT),
            "group": call("setpgid", pid, 0),
            "pages": call("move_pages", pid, 0, 0, 0, 0, 0),
        }
        call("sched_setaffinity", pid, 8, _AT)
        call("setpriority", 0, pid, 10)
        call("ioprio_set", 1, pid, 0x4007)
        reached += [f"{what} of {name}" for what, outcome in outcomes.items() if outcome == "allowed"]
    return reached


def own_limits(world: World) -> list[str]:
    """Raising, or lowering, its own limits; a better place in the queue."""
    found = []
    for name in ("NOFILE", "NPROC", "DATA", "FSIZE", "CORE", "MEMLOCK", "STACK", "MSGQUEUE", "RTPRIO", "NICE", "AS"):
        kind = getattr(resource, f"RLIMIT_{name}")
        if attempt(resource.setrlimit, kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)) == "allowed":
            found.append(name)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    for step in (-20, -1, 1):
        attempt(os.nice, step)
    found += ["nice"] if os.getpriority(os.PRIO_PROCESS, 0) != before else []
    if call("sched_setscheduler", 0, 1, _AT) == "allowed":
        found.append("real time")
    return found


# -- sockets and shared objects ------------------------------------------------------------------------------------


def _connect_path(path: str) -> None:
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.settimeout(0.1)
            client.connect(path)


def sockets(world: World) -> list[str]:
    """Listening sockets of the host and of the others: by path, by every route, and abstract ones."""
    reached = [
        f"{name} by {route or 'its path'}"
        for name, path in world["sockets"].items()
        for route in ROUTES
        if attempt(_connect_path, route + path) == "allowed"
    ]
    return reached + [
        "an abstract socket" for name in world["abstract"] if attempt(_connect_path, "\0" + name) == "allowed"
    ]


def own_socket_of_primary(world: World) -> str:
    """The one socket that a loop may connect to."""
    with socket.socket(socket.AF_UNIX) as client:
        return attempt(client.connect, "/channel/primary.sock")


def bind_names(world: World) -> list[str]:
    """Names that others would find: in the own folder, in the channel's, abstract."""
    found = []
    for name in ("/state/mine.sock", "/channel/primary.sock", "/channel/mine.sock", "\0tlsrt-mine"):
        with socket.socket(socket.AF_UNIX) as listener:
            if attempt(listener.bind, name) == "allowed":
                found.append(name.replace("\0", "@"))
    return found


def families(world: World) -> list[str]:
    """Every kind of socket that can be made."""
    found = set()
    for family in FAMILIES:
        for kind in KINDS:
            for protocol in (0, 1, 9, 255):
                try:
                    made = socket.socket(family, kind, protocol)
                except OSError:
                    continue
                found.add(f"{socket.AddressFamily(family).name} {kind.name}")
                made.close()
    return sorted(found)


def shared_objects(world: World) -> list[str]:
    """Memory, queues and semaphores that processes of one user share by number or name, and keys of the kernel."""
    outcomes = {
        "shmget": call("shmget", 0x7157, 4096, 0o1666),
        "shmat": call("shmat", 0, 0, 0),
        "semget": call("semget", 0x7157, 1, 0o1666),
        "msgget": call("msgget", 0x7157, 0o1666),
        "mq_open": call("mq_open", b"mine", os.O_CREAT | os.O_RDWR, 0o600, 0),
        "memfd_create": call("memfd_create", b"mine", 0),
        "inotify": call("inotify_init1", 0),
        "fanotify": call("fanotify_init", 0, 0),
        "timer": call("timer_create", 0, 0, _AT),
    }
    return [name for name, outcome in outcomes.items() if outcome == "allowed"]


TRIES: dict[str, Callable[[World], Any]] = {
    function.__name__: function
    for function in (
        files, planted_links, special_files, root, descriptors, unlock, seen_processes, proc_of_others,
        own_secrets_in_proc, host_switches, signals, influence, own_limits, sockets, own_socket_of_primary, bind_names,
        families, shared_objects,
    )
}  # fmt: skip

ENDS: dict[str, Callable[[World], Any]] = {
    "ptrace": lambda world: call("ptrace", 16, world["pids"]["supervisor"], 0, 0),
    "process_vm_readv": lambda world: call("process_vm_readv", world["pids"]["authority"], _AT, 1, _AT, 1, 0),
    "process_vm_writev": lambda world: call("process_vm_writev", world["pids"]["primary"], _AT, 1, _AT, 1, 0),
    "pidfd_getfd": lambda world: call("pidfd_getfd", 3, 0, 0),
    "kcmp": lambda world: call("kcmp", 1, world["pids"]["supervisor"], 0, 0, 0),
}

signal  # noqa: B018  (imported here, since a sealed process imports nothing)
