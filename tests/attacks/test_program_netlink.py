"""Attacked sentence: a program with `netlink` changes what it was granted of the host's network, and nothing else.

The program is a Python with code that captured it. The host lives in a network namespace of the test's own.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, running
from tools.programs import need

PACKAGE = Path(__file__).parent.parent / "hosts" / "program_package" / "programs"
RUNNER = "third/runner"
SPACE = f"tlsrt-netlink-{os.getpid()}"
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
WHY = "a test has it run"
CAPTURED = {
    "run": PYTHON, "args": ["-c {script:/(?s:.*)/}"], "why": WHY, "read": [sysconfig.get_path("stdlib")],
    "environment": {"PYTHONHOME": sys.base_prefix}, "memory_mb": 512,
}  # fmt: skip
PROGRAMS: dict[str, Any] = {
    "nft": {"run": "/usr/sbin/nft", "args": ["-j -f -", "-j list ruleset"], "netlink": {"netfilter": WHY}, "why": WHY},
    "ip": {"run": "/usr/sbin/ip", "args": ["-j address", "-batch -"], "netlink": {"route": WHY}, "why": WHY},
    "filter": CAPTURED | {"netlink": {"netfilter": WHY}},
    "routes": CAPTURED | {"netlink": {"route": WHY}},
    "none": CAPTURED,
}
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's")


@contextmanager
def inside(space: str) -> Iterator[None]:
    """Be in a network namespace, with what is started meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    home, there = (os.open(path, os.O_RDONLY) for path in ("/proc/thread-self/ns/net", f"/run/netns/{space}"))
    try:
        assert libc.setns(there, 0x40000000) == 0
        yield
    finally:
        assert libc.setns(home, 0x40000000) == 0
        os.close(home)
        os.close(there)


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    need("ip")
    need("nft")
    subprocess.run(["ip", "netns", "add", SPACE], check=True)
    try:
        with inside(SPACE):
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            components = {RUNNER: {"class": "programs.runner:Runner", "programs": PROGRAMS}}
            policy = {f"client/admin -> {RUNNER}": "*"}
            yield from running(request, components=components, policy=policy, packages=[PACKAGE], execute=True)
    finally:
        subprocess.run(["ip", "netns", "delete", SPACE], check=True)


def once(host: RunningHost, name: str, *arguments: str, data: bytes = b"") -> dict[str, Any]:
    found: dict[str, Any] = host.client().call(RUNNER, "once", name, list(arguments), data)
    return found


def tried(host: RunningHost, name: str, *lines: str) -> list[str]:
    """Return what each line came to in a captured program: ok, or the name of the error."""
    script = "\n".join(
        ["import errno, fcntl, os, socket, struct", "def t(f):", "  try: f(); print('ok', flush=True)",
         "  except OSError as e: print(errno.errorcode.get(e.errno), flush=True)",
         *(f"t(lambda: {line})" for line in lines)]
    )  # fmt: skip
    found = once(host, name, "-c", script)
    assert found["outcome"] == "ended" and found["status"] == 0, found
    return str(found["stdout"], "ascii").split()


TABLE = b'{"nftables": [{"add": {"table": {"family": "inet", "name": "tlsrt_test"}}}]}'


def test_nft_and_ip_do_their_work_in_the_network_of_the_host(host: RunningHost) -> None:
    found = once(host, "nft", "-j", "-f", "-", data=TABLE)
    assert (found["status"], found["stderr"]) == (0, ""), found
    listed = subprocess.run(["nft", "list", "tables"], check=True, capture_output=True, text=True).stdout
    assert "table inet tlsrt_test" in listed
    batch = b"link add d0 type veth peer name d1\naddress add 10.1.2.3/24 dev d0\n"
    found = once(host, "ip", "-batch", "-", data=batch)
    assert (found["status"], found["stderr"]) == (0, ""), found
    assert b"10.1.2.3" in once(host, "ip", "-j", "address")["stdout"]


def test_it_is_shown_with_its_reason(host: RunningHost) -> None:
    shown = host.cli("sandbox", "show", "third.runner/ip").stdout
    assert "the supervisor makes its netlink sockets outside" in shown
    assert "netlink route: changes all of the host's links, addresses and routes" in shown and WHY in shown


def test_a_captured_program_has_sockets_of_its_protocol_and_no_others(host: RunningHost) -> None:
    makes = "socket.socket({}, {}, {})"
    tries = [
        makes.format(16, 3, 12), makes.format(16, 3, 0), makes.format(16, 3, 16), makes.format(16, 3, 9),
        makes.format(17, 3, 3), makes.format(2, 3, 1), makes.format(2, 1, 0), makes.format(10, 2, 0),
        makes.format(1, 1, 0), makes.format(38, 5, 0),
    ]  # fmt: skip
    assert tried(host, "filter", *tries) == ["ok", *["EPERM"] * 9]
    assert tried(host, "routes", *tries) == ["EPERM", "ok", *["EPERM"] * 8]
    assert tried(host, "none", *tries) == ["EPERM"] * 10


def test_it_hears_no_groups_and_takes_no_buffers(host: RunningHost) -> None:
    with_socket = "(lambda s: {})(socket.socket(16, 3, 12))"
    tries = [
        with_socket.format(one)
        for one in ("s.bind((0, 1))", "s.bind((4711, 0))", "s.setsockopt(270, 1, 1)", "s.setsockopt(270, 8, 1)",
                    "s.bind((0, 0))")
    ]  # fmt: skip
    assert tried(host, "filter", *tries) == ["EACCES", "EACCES", "EPERM", "EPERM", "ok"]
    script = "import socket; s = socket.socket(16, 3, 12); a = s.getsockopt(1, 7); s.setsockopt(1, 32, 1 << 28)"
    found = once(host, "filter", "-c", f"{script}; print(s.getsockopt(1, 7) == a)")
    assert found["stdout"] == b"True\n", found


def test_what_it_says_to_the_other_subsystem_is_refused(host: RunningHost) -> None:
    """A link by a socket of nftables, and a table by one of routes."""
    link = "struct.pack('=IHHII', 32, 19, 5, 1, 0) + struct.pack('=BxHiII', 0, 0, 1, 1, 0)"
    says = "(lambda s: (s.bind((0, 0)), s.sendmsg([{}], [], 0, (0, 0)), (lambda d: (_ for _ in ()).throw(OSError("
    says += "-struct.unpack_from('=i', d, 16)[0], '')) if struct.unpack_from('=i', d, 16)[0] else 0)(s.recv(4096))))"
    says += "(socket.socket(16, 3, {}))"
    assert tried(host, "filter", says.format(link, 12)) != ["ok"]
    assert tried(host, "routes", says.format(link, 0)) == ["ok"], "the same message does what it may do"
    assert tried(host, "none", says.format(link, 0)) == ["EPERM"]


def test_its_capability_is_one_and_its_own_network_is_empty(host: RunningHost) -> None:
    script = (
        "import ctypes, socket, struct\nd = ctypes.create_string_buffer(24)\n"
        "ctypes.CDLL(None).capget(struct.pack('=Ii', 0x20080522, 0), d)\n"
        "print(struct.unpack('=6I', d.raw)[0], [name for _, name in []])"
    )
    found = once(host, "filter", "-c", script)
    assert found["stdout"].split()[0] == str(1 << 12).encode(), found
    ns = once(host, "none", "-c", script)
    assert ns["stdout"].split()[0] == b"0"


@pytest.mark.parametrize("number", ["308, 3, 0", "272, 0x40000000", "321, 5, b'', 0"])
def test_what_ends_it(host: RunningHost, number: str) -> None:
    """setns, unshare, bpf."""
    found = once(host, "filter", "-c", f"import ctypes; ctypes.CDLL(None).syscall({number}); print('survived')")
    assert found["outcome"] == "forbidden" and "survived" not in str(found), found
