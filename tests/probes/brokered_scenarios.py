"""Scenarios of processes whose connections a broker makes. Run by probes.sandbox_scenarios."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from fakes.echo_server import echo_servers

from probes import sealed_probes as probes
from probes.confined_child import Facts, attempt, make_profile
from probes.watched_child import Watched
from tlsrt.config.egress import parse_egress
from tlsrt.sandbox.apply.enter import enter_world
from tlsrt.sandbox.profile.profile import Profile


def _brokered(profile: Profile, ports: dict[str, int], writer: int, reports: int) -> int:
    confinement = enter_world(profile, {writer}, reports=reports)
    confinement.drop()
    import psutil

    loop = asyncio.new_event_loop()
    confinement.assert_one_task()
    confinement.seal()

    def tcp(port: int, *, host: str = "127.0.0.1", blocking: bool = True) -> None:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as client:
            client.setblocking(blocking)
            code = client.connect_ex((host, port))
            if code == errno.EINPROGRESS:
                select.select([], [client], [], 5)
                code = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, "connect")
            client.setblocking(True)
            client.sendall(b"ping")
            if client.recv(4) != b"ping":
                raise OSError(errno.EPROTO, "echo")

    def udp(port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", port))
            client.send(b"ping")
            client.settimeout(5)
            if client.recv(4) != b"ping":
                raise OSError(errno.EPROTO, "echo")

    async def streams() -> None:
        reader, writing = await asyncio.open_connection("127.0.0.1", ports["tcp"])
        writing.write(b"ping")
        if await reader.readexactly(4) != b"ping":
            raise OSError(errno.EPROTO, "echo")
        writing.close()

    def pair() -> None:
        """As paho wakes itself: by two TCP sockets on loopback."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_IP) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            _, port = listener.getsockname()
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_IP)
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
            other, _ = listener.accept()
        with one, other:
            one.send(b"wake")
            if other.recv(8) != b"wake":
                raise OSError(errno.EPROTO, "pair")

    def pairs() -> None:
        for _ in range(20):
            pair()

    def source() -> None:
        with socket.socket() as client:
            client.bind(("0.0.0.0", 0))
            client.connect(("127.0.0.1", ports["tcp"]))

    def door(address: tuple[str, int], backlog: int) -> None:
        with socket.socket() as listener:
            listener.bind(address)
            listener.listen(backlog)

    def again() -> None:
        for _ in range(200):
            with suppress(PermissionError):
                tcp(ports["other"])

    facts = {
        "pair": attempt(pairs),
        "source": attempt(source),
        "door": attempt(door, ("127.0.0.1", 0), 100),
        "door to all": attempt(door, ("0.0.0.0", 0), 100),
        "door on a port": attempt(door, ("0.0.0.0", 8443), 1),
        "again": attempt(again),
        "blocking": attempt(tcp, ports["tcp"]),
        "not blocking": attempt(lambda: tcp(ports["tcp"], blocking=False)),
        "mapped": attempt(lambda: tcp(ports["tcp"], host="::ffff:127.0.0.1")),
        "closed": attempt(tcp, ports["closed"]),
        "other port": attempt(tcp, ports["other"]),
        "other host": attempt(lambda: tcp(ports["tcp"], host="127.0.0.2")),
        "other family": attempt(lambda: tcp(ports["tcp"], host="::1")),
        "udp": attempt(udp, ports["udp"]),
        "udp to a tcp port": attempt(udp, ports["tcp"]),
        "asyncio": attempt(loop.run_until_complete, streams()),
        "addresses": attempt(psutil.net_if_addrs),
        "names": attempt(socket.if_nameindex),
        "bad pointer": probes.call("connect", socket.socket().fileno(), 8, 16),
        "bad length": probes.call("connect", socket.socket().fileno(), 4096, 1 << 20),
        "no socket": probes.call("connect", 0, probes._ADDRESS, 16),
        "no descriptor": probes.call("connect", 4711, probes._ADDRESS, 16),
    }
    with socket.socket() as kept:
        kept.setblocking(True)
        attempt(kept.connect, ("127.0.0.1", ports["closed"]))
        facts["still blocking"] = "yes" if kept.getblocking() and os.get_blocking(kept.fileno()) else "no"
    os.write(writer, json.dumps(facts).encode())
    return 0


def brokered(base: Path) -> Facts:
    """A loop with egress rules in the host's network namespace: what it reaches."""
    return _all_brokered(base, "external")


def brokered_from_outside(base: Path) -> Facts:
    """The same of one whose own network namespace is empty."""
    return _all_brokered(base, "fetcher")


def _all_brokered(base: Path, name: str) -> Facts:
    """Try all of it, with the supervisor's own monitor carrying out the calls."""
    profile = make_profile(base, name, sealing=True, watched=True)
    profile = replace(profile, read=(*profile.read, Path(probes.__file__).parent))
    with echo_servers() as ports:
        rules = (f"127.0.0.1:{ports['tcp']}", f"127.0.0.1:{ports['udp']}/udp", f"127.0.0.1:{ports['closed']}")
        profile = replace(profile, egress=tuple(parse_egress(rule) for rule in rules))
        before = len(os.listdir("/proc/self/fd"))
        watched = Watched(profile, partial(_brokered, profile, ports))
        leaked = len(os.listdir("/proc/self/fd")) - before
    said = [(violation.sentence, violation.wanted) for violation in watched.violations]
    return {
        **(json.loads(watched.text) if watched.text else {}),
        "end": watched.end,
        "violations": said,
        "leaked": leaked,
    }


SCENARIOS: dict[str, Callable[[Path], Facts]] = {
    "brokered": brokered,
    "brokered_from_outside": brokered_from_outside,
}
