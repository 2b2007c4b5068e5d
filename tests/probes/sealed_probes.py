"""What a sealed process tries: one function a probe, by name. The outcomes that must come are in probes.yaml.

A probe returns the name of an errno, or "allowed"; one that is killed never returns. What it needs (executable
memory, sockets of the host) it got before the seal, as a captured process would have kept it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

HIGH = 1 << 32
CLONE_NEWUSER = 0x10000000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
ABSTRACT = b"\0tlsrt-probe-" + secrets.token_bytes(8)  # the host has one list of names for all who test at once
FOREIGN_CODE = {
    "x32_getpid": bytes.fromhex("b827000040 0f05 c3"),  # mov eax, 0x40000027; syscall; ret
    "int80_getpid": bytes.fromhex("b814000000 cd80 c3"),  # mov eax, 20; int 0x80; ret
    "int80_unshare": bytes.fromhex("53 b836010000 bb00000010 cd80 5b c3"),  # eax 310, ebx CLONE_NEWUSER
}
ONLY_X86_64 = frozenset(FOREIGN_CODE)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_text = ctypes.create_string_buffer(4096)
_ADDRESS = ctypes.addressof(_text)


class Kept:
    """What the process holds since before the seal."""

    def __init__(self) -> None:
        self.code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self.code_at = ctypes.addressof(ctypes.c_char.from_buffer(self.code))
        self.page = mmap.mmap(-1, 4096)
        self.page_at = ctypes.addressof(ctypes.c_char.from_buffer(self.page))
        self.pair = socket.socketpair()
        self.parent = os.getppid()


def call(name: str | int, *arguments: int | bytes) -> str:
    """syscall(2)"""
    number = NUMBERS[os.uname().machine].get(name, 9998) if isinstance(name, str) else name
    registers = [ctypes.c_char_p(one) if isinstance(one, bytes) else ctypes.c_ulong(one) for one in arguments]
    if _libc.syscall(ctypes.c_long(number), *registers) == -1:
        return errno.errorcode[ctypes.get_errno()]
    return "allowed"


def attempt(action: Callable[..., object], *arguments: object) -> str:
    try:
        action(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except RuntimeError as error:
        return str(error)
    return "allowed"


def _run_code(kept: Kept, name: str) -> str:
    kept.code[: len(FOREIGN_CODE[name])] = FOREIGN_CODE[name]
    ctypes.CFUNCTYPE(ctypes.c_long)(kept.code_at)()
    return "allowed"


def _thread() -> None:
    thread = threading.Thread(target=time.monotonic)
    thread.start()
    thread.join()


def _connect(family: int, address: str | bytes) -> None:
    with socket.socket(family) as client:
        client.settimeout(2)
        client.connect(address)


def _listen_tcp() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()


def _connect_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", 53))


def _bind_inet() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))


def _sendto(flags: int) -> None:
    kind = socket.SOCK_STREAM if flags else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as client:
        client.sendto(b"x" * 20, flags, ("127.0.0.1", 9))


def _sendmsg() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendmsg([b"x"], [], 0, ("127.0.0.1", 9))


def _datagram_unix(send: Callable[[socket.socket, bytes, str], object]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        send(client, b"x", "/nowhere")


def _mode_of_new_file(mode: int, how: str) -> None:
    descriptor = os.open("/state/suid", os.O_CREAT | os.O_WRONLY, mode if how == "open" else 0o600)
    try:
        if how == "fchmod":
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
        os.unlink("/state/suid")


def _netlink_change() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as client:
        client.sendto(struct.pack("=IHHII", 24, 21, 5, 1, 0) + bytes(8), (0, 0))  # RTM_DELADDR


def _bind_unix() -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("/state/planted.sock")


def _write_state() -> None:
    Path("/state/probe").write_bytes(b"x")
    os.rename("/state/probe", "/state/probed")
    os.unlink("/state/probed")


def _read_code() -> None:
    Path(os.__file__).read_bytes()


def _late_import() -> None:
    try:
        __import__("colorsys")
    except ImportError as error:  # some finders turn a refusal into this
        raise OSError(errno.EACCES, "refused") from error


def _interface_names() -> None:
    import socket as module

    module.if_nameindex()


def _effect(act: Callable[[], object], look: Callable[[], object]) -> str:
    """Do something that is answered as if done; say whether anything has changed."""
    seen: list[object] = []

    def whole() -> None:
        seen.append(look())
        act()
        seen.append(look())

    outcome = attempt(whole)
    return outcome if outcome != "allowed" else "effect" if seen[0] != seen[1] else "no effect"


def _chmod_effect(path: str) -> str:
    made = attempt(Path("/state/mode").write_bytes, b"x")
    try:
        return _effect(lambda: os.chmod(path, 0o777), lambda: os.stat(path).st_mode)
    finally:
        if made == "allowed":
            os.unlink("/state/mode")


def _pipes() -> None:
    made: list[int] = []
    try:
        while True:
            made += os.pipe()
    finally:
        for descriptor in made:
            os.close(descriptor)


def _lock() -> None:
    with open("/state/lock", "wb") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.unlink("/state/lock")


def _pipe_size() -> None:
    read, write = os.pipe()
    try:
        fcntl.fcntl(write, 1031, 1 << 20)
    finally:
        os.close(read)
        os.close(write)


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


PROBES: dict[str, Callable[[Kept], str]] = {
    # other programs and other processes
    "execve": lambda kept: call("execve", b"/bin/true", 0, 0),
    "execveat": lambda kept: call("execveat", -100 % (1 << 64), b"/bin/true", 0, 0, 0),
    "fork": lambda kept: attempt(_fork),
    "vfork": lambda kept: call("vfork") if "vfork" in NUMBERS[os.uname().machine] else call("clone", 0x4111),
    "clone_fork": lambda kept: call("clone", signal.SIGCHLD, 0, 0, 0, 0),
    "clone_newuser": lambda kept: call("clone", CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0),
    "clone_high": lambda kept: call("clone", HIGH | signal.SIGCHLD, 0, 0, 0, 0),
    "clone3": lambda kept: call("clone3", _ADDRESS, 88),
    "subprocess": lambda kept: attempt(lambda: subprocess.run(["/bin/true"], check=False)),
    "thread": lambda kept: attempt(_thread),
    "ptrace": lambda kept: call("ptrace", 16, kept.parent, 0, 0),
    "process_vm_readv": lambda kept: call("process_vm_readv", kept.parent, _ADDRESS, 1, _ADDRESS, 1, 0),
    "pidfd_open": lambda kept: call("pidfd_open", 1, 0),
    "pidfd_getfd": lambda kept: call("pidfd_getfd", 3, 0, 0),
    "pidfd_send_signal": lambda kept: call("pidfd_send_signal", 3, 0, 0, 0),
    "kill_parent": lambda kept: attempt(os.kill, kept.parent, 0),
    "kill_all": lambda kept: attempt(os.kill, -1, 0),
    "tgkill_other": lambda kept: call("tgkill", 2, 2, 0),
    "tgkill_high": lambda kept: call("tgkill", HIGH | 2, 2, 0),
    # namespaces, mounts, identity
    "mount": lambda kept: call("mount", b"tmpfs", b"/state", b"tmpfs", 0, 0),
    "umount2": lambda kept: call("umount2", b"/state", 2),
    "open_tree": lambda kept: call("open_tree", -100 % (1 << 64), b"/", 1),
    "move_mount": lambda kept: call("move_mount", 3, b"", -100 % (1 << 64), b"/", 4),
    "fsopen": lambda kept: call("fsopen", b"tmpfs", 0),
    "pivot_root": lambda kept: call("pivot_root", b".", b"."),
    "chroot": lambda kept: call("chroot", b"/state"),
    "unshare_newuser": lambda kept: call("unshare", CLONE_NEWUSER),
    "setns": lambda kept: call("setns", 3, 0),
    "setuid_0": lambda kept: call("setuid", 0),
    "setgroups": lambda kept: call("setgroups", 0, 0),
    "capset": lambda kept: call("capset", 0, 0),
    "sethostname": lambda kept: call("sethostname", b"x", 1),
    # the kernel itself
    "bpf": lambda kept: call("bpf", 0, _ADDRESS, 64),
    "userfaultfd": lambda kept: call("userfaultfd", 1),
    "perf_event_open": lambda kept: call("perf_event_open", _ADDRESS, 0, 0, 0, 0),
    "keyctl": lambda kept: call("keyctl", 0, 0),
    "add_key": lambda kept: call("add_key", b"user", b"x", b"x", 1, 0),
    "init_module": lambda kept: call("init_module", _ADDRESS, 16, b""),
    "kexec_load": lambda kept: call("kexec_load", 0, 0, 0, 0),
    "open_by_handle_at": lambda kept: call("open_by_handle_at", -100 % (1 << 64), _ADDRESS, 0),
    "io_uring_setup": lambda kept: call("io_uring_setup", 8, _ADDRESS),
    "io_uring_enter": lambda kept: call("io_uring_enter", 3, 1, 0, 0, 0, 0),
    "unknown_9999": lambda kept: call(9999),
    "x32_getpid": lambda kept: _run_code(kept, "x32_getpid"),
    "int80_getpid": lambda kept: _run_code(kept, "int80_getpid"),
    "int80_unshare": lambda kept: _run_code(kept, "int80_unshare"),
    # what confines us
    "seccomp_again": lambda kept: call("seccomp", 1, 0, _ADDRESS),
    "seccomp_by_prctl": lambda kept: call("prctl", 22, 2, _ADDRESS),
    "landlock_again": lambda kept: call("landlock_create_ruleset", 0, 0, 1),
    "set_dumpable": lambda kept: call("prctl", 4, 1),
    "set_dumpable_high": lambda kept: call("prctl", HIGH | 4, 1),
    "set_mm": lambda kept: call("prctl", 35, 1, 0, 0, 0),
    "set_pdeathsig": lambda kept: call("prctl", 1, 0, 0, 0, 0),
    "raise_limit": lambda kept: call("prlimit64", 0, 7, _ADDRESS, 0),
    "sched_setaffinity": lambda kept: call("sched_setaffinity", 0, 8, _ADDRESS),
    "real_time": lambda kept: call("sched_setscheduler", 0, 1, _ADDRESS),
    # memory that can be run
    "mmap_exec": lambda kept: call("mmap", 0, 4096, 5, 0x22, -1 % (1 << 64), 0),
    "mmap_exec_high": lambda kept: call("mmap", 0, 4096, HIGH | 7, 0x22, -1 % (1 << 64), 0),
    "mprotect_exec": lambda kept: call("mprotect", kept.page_at, 4096, 5),
    "pkey_mprotect_exec": lambda kept: call("pkey_mprotect", kept.page_at, 4096, 5, -1 % (1 << 64)),
    "mmap_shared": lambda kept: call("mmap", 0, 4096, 3, 0x21, -1 % (1 << 64), 0),
    "mmap_shared_high": lambda kept: call("mmap", 0, 4096, 3, HIGH | 0x21, -1 % (1 << 64), 0),
    "mmap_validated": lambda kept: call("mmap", 0, 4096, 3, 0x23, -1 % (1 << 64), 0),
    "mmap_growing": lambda kept: call("mmap", 0, 4096, 3, 0x122, -1 % (1 << 64), 0),
    "memfd_create": lambda kept: call("memfd_create", b"x", 0),
    # sockets and terminals
    "socket_inet": lambda kept: call("socket", socket.AF_INET, socket.SOCK_STREAM, 0),
    "socket_inet_high": lambda kept: call("socket", HIGH | socket.AF_INET, socket.SOCK_STREAM, 0),
    "socket_inet6": lambda kept: call("socket", socket.AF_INET6, socket.SOCK_DGRAM, 0),
    "socket_raw": lambda kept: call("socket", socket.AF_INET, socket.SOCK_RAW, 1),
    "socket_netlink_route": lambda kept: call("socket", socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "socket_netlink_audit": lambda kept: call("socket", socket.AF_NETLINK, socket.SOCK_RAW, 9),
    "socket_packet": lambda kept: call("socket", socket.AF_PACKET, socket.SOCK_RAW, 0),
    "socket_vsock": lambda kept: call("socket", 40, socket.SOCK_STREAM, 0),
    "socket_alg": lambda kept: call("socket", 38, socket.SOCK_SEQPACKET, 0),
    "listen_tcp": lambda kept: attempt(_listen_tcp),
    "bind_unix": lambda kept: attempt(_bind_unix),
    "connect_inet": lambda kept: attempt(_connect, socket.AF_INET, ("127.0.0.1", 9)),
    "connect_udp": lambda kept: attempt(_connect_udp),
    "bind_inet": lambda kept: attempt(_bind_inet),
    "sendto_inet": lambda kept: attempt(_sendto, 0),
    "sendmsg_inet": lambda kept: attempt(_sendmsg),
    "sendto_unix": lambda kept: attempt(_datagram_unix, lambda s, data, to: s.sendto(data, to)),
    "sendmsg_unix": lambda kept: attempt(_datagram_unix, lambda s, data, to: s.sendmsg([data], [], 0, to)),
    "fchmod_suid": lambda kept: attempt(_mode_of_new_file, 0o6777, "fchmod"),
    "open_suid": lambda kept: attempt(_mode_of_new_file, 0o6777, "open"),
    "fchmod_plain": lambda kept: attempt(_mode_of_new_file, 0o755, "fchmod"),
    "fastopen": lambda kept: attempt(_sendto, 0x20000000),
    "netlink_change": lambda kept: attempt(_netlink_change),
    "connect_abstract": lambda kept: attempt(_connect, socket.AF_UNIX, ABSTRACT),
    "connect_decoy": lambda kept: attempt(_connect, socket.AF_UNIX, "/run/decoy.sock"),
    "larger_buffer": lambda kept: call("setsockopt", kept.pair[0].fileno(), 1, 7, _ADDRESS, 4),
    "socket_filter": lambda kept: call("setsockopt", kept.pair[0].fileno(), 1, 26, _ADDRESS, 16),
    "tiocsti": lambda kept: attempt(fcntl.ioctl, 0, TIOCSTI, b"x"),
    "tiocsti_high": lambda kept: call("ioctl", 0, HIGH | TIOCSTI, _ADDRESS),
    "tioclinux": lambda kept: attempt(fcntl.ioctl, 0, TIOCLINUX, b"x"),
    "async_owner": lambda kept: call("fcntl", kept.pair[0].fileno(), 8, 1),
    # files
    "shadow": lambda kept: attempt(os.open, "/etc/shadow", os.O_RDONLY),
    "own_memory": lambda kept: attempt(os.open, "/proc/self/mem", os.O_RDWR),
    "own_environment": lambda kept: attempt(os.open, "/proc/1/environ", os.O_RDONLY),
    "write_proc": lambda kept: attempt(os.open, "/proc/self/oom_score_adj", os.O_WRONLY),
    "read_code": lambda kept: attempt(_read_code),
    "write_code": lambda kept: attempt(os.open, os.__file__, os.O_WRONLY),
    "late_import": lambda kept: attempt(_late_import),
    "make_fifo": lambda kept: attempt(os.mkfifo, "/state/fifo"),
    "make_link": lambda kept: attempt(os.symlink, "/etc/shadow", "/state/link"),
    "write_state": lambda kept: attempt(_write_state),
    "write_channel": lambda kept: attempt(os.open, "/channel/x", os.O_WRONLY | os.O_CREAT),
    # what honest libraries do: it has no effect, or is bounded as everything else
    "chmod": lambda kept: _chmod_effect("/state/mode"),
    "chmod_root": lambda kept: _chmod_effect("/"),
    "chown": lambda kept: _effect(lambda: os.chown("/state", 1, 1), lambda: os.stat("/state").st_uid),
    "affinity": lambda kept: _effect(
        lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
        lambda: os.sched_getaffinity(0),
    ),
    "nice": lambda kept: _effect(
        lambda: os.setpriority(os.PRIO_PROCESS, 0, 5), lambda: os.getpriority(os.PRIO_PROCESS, 0)
    ),
    "buffer": lambda kept: _effect(
        lambda: kept.pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096),
        lambda: kept.pair[0].getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
    ),
    "forced_buffer": lambda kept: call("setsockopt", kept.pair[0].fileno(), 1, 32, _ADDRESS, 4),
    "memory_policy": lambda kept: call("set_mempolicy", 3, _ADDRESS, 64),
    "pipes_without_end": lambda kept: attempt(_pipes),
    "pipe_of_notifications": lambda kept: call("pipe2", _ADDRESS, 0x80),
    "larger_pipe": lambda kept: attempt(_pipe_size),
    "lock": lambda kept: attempt(_lock),
    "lock_memory": lambda kept: call("mlock", kept.page_at, 1 << 30),
    "lock_all_memory": lambda kept: call("mlockall", 3),
    "inotify": lambda kept: call("inotify_init1", 0),
    "fanotify": lambda kept: call("fanotify_init", 0, 0),
    "attributes": lambda kept: attempt(os.listxattr, "/state"),
    "limits_of_another": lambda kept: call("prlimit64", 2, 7, 0, _ADDRESS),
    "own_limits": lambda kept: call("prlimit64", os.getpid(), 7, 0, _ADDRESS),
    # what must still work
    "urandom": lambda kept: attempt(os.urandom, 8),
    "getpid": lambda kept: call("getpid"),
    "socketpair": lambda kept: attempt(socket.socketpair),
    "interface_names": lambda kept: attempt(_interface_names),
    "signal_self": lambda kept: attempt(signal.raise_signal, signal.SIGURG),
    "abort": lambda kept: attempt(os.abort),
}


def run_probe(name: str, kept: Kept) -> str:
    """Return the outcome of a probe that does not end the process."""
    return PROBES[name](kept)


def names() -> list[str]:
    """Return the probes that this machine can try."""
    return [name for name in PROBES if os.uname().machine == "x86_64" or name not in ONLY_X86_64]


assert sys.byteorder == "little"
