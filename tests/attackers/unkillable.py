"""Processes that a SIGKILL does not end, made in two ways.

A frozen disk (FIFREEZE, ioctl_fifreeze(2)) is the real thing: who writes to it waits in state D, and nothing but the
thaw ends that. It takes root and a loop device. A zombie in its pid namespace works everywhere: the first process of a
pid namespace does not end before all others of it have been reaped, and this one is ours to reap (pid_namespaces(7)).
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.programs import need

from tlsrt.sandbox import syscalls

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
_IMAGE_BYTES = 16 << 20


def can_freeze() -> bool:
    """Tell whether this machine mounts a file as a disk."""
    return os.geteuid() == 0 and os.access("/dev/loop-control", os.W_OK)


@contextmanager
def frozen_disk(folder: Path) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Mount a small disk at `folder`; give its freeze and its thaw. Leaves the test out where mke2fs is missing."""
    image = folder.with_name(f"{folder.name}.img")
    with image.open("wb") as file:
        file.truncate(_IMAGE_BYTES)
    subprocess.run([need("mke2fs"), "-q", "-t", "ext4", "-E", "lazy_itable_init=0", str(image)], check=True, timeout=60)
    subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True, timeout=60)
    (folder / "lost+found").rmdir()  # a state folder that is not empty is never given to another uid
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    is_frozen = False

    def change(request: int) -> None:
        nonlocal is_frozen
        fcntl.ioctl(descriptor, request, 0)
        is_frozen = request == FIFREEZE

    try:
        yield lambda: change(FIFREEZE), lambda: change(FITHAW)
    finally:
        if is_frozen:
            change(FITHAW)
        os.close(descriptor)
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=60)


def zombie_in(pid: int) -> Callable[[], None]:
    """Leave a zombie in the pid namespace of the process `pid`; return what reaps it; calling that again is fine."""
    reading, writing = os.pipe()
    helper = os.fork()
    if helper == 0:
        try:
            own, other = (os.stat(f"/proc/{name}/ns/user").st_ino for name in ("self", str(pid)))
            if own != other:
                _enter(pid, "user", syscalls.CLONE_NEWUSER)
            _enter(pid, "pid", syscalls.CLONE_NEWPID)
            zombie = os.fork()
            if zombie == 0:
                os._exit(0)
            os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)  # it has ended, and stays
            os.close(reading)
            os.write(writing, b"!")
            os.close(writing)
            signal.pause()
        finally:
            os._exit(0)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    left = [helper]

    def release() -> None:
        """End the helper; its zombie then belongs to somebody who reaps."""
        while left:
            os.kill(left[0], signal.SIGKILL)
            os.waitpid(left.pop(), 0)

    return release


def _enter(pid: int, name: str, kind: int) -> None:
    descriptor = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    syscalls.setns(descriptor, kind)
    os.close(descriptor)
