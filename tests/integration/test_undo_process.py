"""What is kept outside of the host, with the real launcher, in a network namespace: what kills it and what not."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from tools.programs import need

from tlsrt.sandbox import syscalls

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's")
# In the place of the supervisor: has an undo kept, which sets the MTU of lo to 1400, and waits.
KEEPING = """
import os, signal, socket, struct, sys
from tlsrt.supervisor.launch.launcher import inner
from tlsrt.supervisor.launch.undo_process import HEADER
from tlsrt.supervisor.process.undo_processes import UndoProcesses
def entry(arguments):
    ours, theirs = socket.socketpair()
    UndoProcesses(int(arguments[arguments.index("--undos") + 1])).hand_over(theirs, 60, "a.b/ip")
    theirs.close()
    body = struct.pack("=BxHiIIHHI", 0, 0, 1, 0, 0, 8, 4, 1400)
    ours.sendall(HEADER.pack(16 + len(body), 60) + struct.pack("=IHHII", 16 + len(body), 19, 0, 0, 0) + body)
    assert ours.recv(64) == b"K"
    print("kept", flush=True)
    signal.pause()
inner(entry)
"""
LAUNCHING = f"""
import sys
from tlsrt.supervisor.launch.launcher import launch
sys.exit(launch([], program={KEEPING!r}))
"""
SPACE = f"tlsrt-undo-{os.getpid()}"
_SIOCGIFMTU, _NEW_NETWORK = 0x8921, 0x40000000


@pytest.fixture
def space() -> Iterator[int]:
    """Of a namespace: this thread is in it meanwhile."""
    need("ip")
    subprocess.run(["ip", "netns", "add", SPACE], check=True)
    home, there = (os.open(path, os.O_RDONLY) for path in ("/proc/thread-self/ns/net", f"/run/netns/{SPACE}"))
    syscalls.setns(there, _NEW_NETWORK)
    try:
        yield there
    finally:
        syscalls.setns(home, _NEW_NETWORK)
        os.close(home)
        os.close(there)
        subprocess.run(["ip", "netns", "delete", SPACE], check=True)


def mtu() -> int:
    with socket.socket() as asked:
        said = fcntl.ioctl(asked, _SIOCGIFMTU, struct.pack("16si12x", b"lo", 0))
        return int(struct.unpack_from("=16xi", said)[0])


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(one) for one in file.read().split()]


@pytest.fixture
def process(space: int) -> Iterator[subprocess.Popen[str]]:
    """Of the launcher, when an undo is kept."""
    with subprocess.Popen([sys.executable, "-I", "-c", LAUNCHING], stdout=subprocess.PIPE, text=True) as made:
        try:
            assert made.stdout is not None and made.stdout.readline() == "kept\n"
            yield made
        finally:
            made.kill()


@pytest.mark.parametrize("killed", ["supervisor", "launcher", "both at once", "in order"])
def test_it_is_undone_whatever_was_killed(killed: str, process: subprocess.Popen[str]) -> None:
    supervisor, waiting = children(process.pid)
    ended = os.pidfd_open(waiting)
    assert mtu() == 65536
    if killed == "in order":
        os.kill(process.pid, signal.SIGTERM)
    if killed in ("supervisor", "both at once"):
        os.kill(supervisor, signal.SIGKILL)
    if killed in ("launcher", "both at once"):
        os.kill(process.pid, signal.SIGKILL)
    process.wait(20)
    if killed in ("supervisor", "in order"):
        assert mtu() == 1400, "the launcher waits until it is undone"
    end = time.monotonic() + 20
    while mtu() != 1400:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert select.select([ended], [], [], 20)[0], "it ends when it is done"
    os.close(ended)


def test_it_has_one_capability_no_file_and_is_in_no_namespace_of_the_host(process: subprocess.Popen[str]) -> None:
    _, waiting = children(process.pid)
    with open(f"/proc/{waiting}/status", encoding="ascii") as file:
        status = dict(re.findall(r"^(\w+):[ \t]*(.*)$", file.read(), re.M))
    assert status["CapEff"] == status["CapPrm"] == f"{1 << 12:016x}" and int(status["CapInh"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"], status["Groups"].strip()) == ("1", "2", "")
    assert os.readlink(f"/proc/{waiting}/ns/pid") == os.readlink("/proc/self/ns/pid")
    opened = [os.readlink(f"/proc/{waiting}/fd/{one}") for one in os.listdir(f"/proc/{waiting}/fd")]
    assert len([one for one in opened if one.startswith("socket:")]) == 2 and len(opened) == 3, opened
