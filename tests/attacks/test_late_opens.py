"""Attacked sentence: a sealed process opens no file outside its profile, mistakes included, and needs no call refused.

An honest component in every loop makes every mistake there is, and uses what the library would import only now, while
strace(1) looks from outside. What a library does otherwise after an upgrade shows here, and not at a user's.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from attackers.arena import PACKAGE
from hosts.primary_core import component_in, hosted_in_primary
from hosts.running_host import RunningHost
from probes.strace import Seen, Strace
from tools.programs import need

from tlsrt import Client, Failed
from tlsrt.config.defaults import PROCESSES as LOOP_PROCESSES
from tlsrt.sandbox.profile.compose import profile_for_authority, profile_for_loop
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.profile.profile_files import ProfileFiles

FILES = ProfileFiles()

TABLE: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("late_opens.yaml").read_text())
EVERYDAY = {process: component_in(process, "everyday") for process in LOOP_PROCESSES}
PROCESSES = ("authority", *LOOP_PROCESSES)
HABITS = ("forget", "warn", "dates", "words", "numbers", "files", "missing")
SECONDS = {"root": 10.0, "rootless": 3.0}
LINES_IN_LOGS = (
    "return self._fall(depth - 1) if depth else 1 / depth",  # of the component
    'raise RuntimeError("a finaliser failed")',  # which nobody could take
    "work.send(None)",  # of the runtime
)


@dataclass
class Life:
    """What one host did, and what was seen of it."""

    host: RunningHost
    logs: dict[str, str]
    profiles: dict[str, Profile]
    seen: list[Seen]
    reported: dict[str, str]  # the last call of each loop that its supervisor had to refuse, from start to ready


def habits(client: Client, loop: str) -> None:
    """Let a component live a while."""
    for mistake in (("fail", 3), ("misspell",)):
        with pytest.raises(Failed):
            client.call(EVERYDAY[loop], *mistake)
    found = {habit: client.call(EVERYDAY[loop], habit) for habit in HABITS}
    assert found["missing"] == "ModuleNotFoundError"
    if loop == "external":
        assert client.call(EVERYDAY[loop], "resolve") == ["127.0.0.1", "no such name"]
    assert found["dates"]["Europe/Berlin"] == "2026-03-01T12:00:00+01:00"


def try_a_thread(client: Client, loop: str) -> None:
    """Once a life: each try is reported, and whoever keeps trying is ended."""
    said = client.call(EVERYDAY[loop], "thread")
    assert said == "done" if loop == "external" else said.startswith("cannot start a thread: put `threads: N`")


def bad_guests(host: RunningHost) -> None:
    """Mistakes at the door: no TLS at all, an end at once, no certificate."""
    address = ("127.0.0.1", host.port)
    with socket.create_connection(address) as guest:
        guest.sendall(b"GET / HTTP/1.0\r\n\r\n")
        guest.settimeout(10)
        while guest.recv(4096):
            continue
    socket.create_connection(address).close()
    context = ssl.create_default_context(cadata=(host.folder / "ca.crt").read_text())
    context.check_hostname = False
    with socket.create_connection(address) as plain, pytest.raises(OSError):  # noqa: PT011  (of many kinds)
        context.wrap_socket(plain).recv(1)


def live(host: RunningHost, seconds: float) -> dict[int, str]:
    """Do all of it for so long, with a reload; return the processes that there were."""
    names: dict[int, str] = {}
    assert host.cli("reload").returncode == 0
    with Client(host.admin) as client:
        for loop in LOOP_PROCESSES:
            try_a_thread(client, loop)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with Client(host.admin) as client:
            for loop in LOOP_PROCESSES:
                habits(client, loop)
        bad_guests(host)
        names |= {pid: name for name, pid in host.pids().items() if name in PROCESSES}
    return names


def profiles_of(host: RunningHost) -> dict[str, Profile]:
    loops = {
        loop: profile_for_loop(host.config, host.config.loop(loop), 1, FILES, rootless=False, code=())
        for loop in EVERYDAY
    }
    return {**loops, "authority": profile_for_authority(host.config, 1, FILES, rootless=False, code=())}


if os.geteuid() == 0:  # nobody else may look into processes that are not dumpable

    @pytest.fixture(scope="module", params=["root", pytest.param("rootless", marks=pytest.mark.stress)])
    def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Life:
        """A host seen from its first call to its last; without root, from the seal until shortly before the end."""
        need("strace")
        whole = request.param == "root"
        components = {
            address: {"class": "captured.everyday:Everyday", "process": "shared"} for address in EVERYDAY.values()
        }
        policy = {f"client/admin -> {address}": "*" for address in components}
        witness = Strace(tmp_path_factory.mktemp("witness") / "calls")
        with RunningHost(
            components=components, policy=policy, packages=[PACKAGE], mode=request.param,
            witness=witness.command if whole else (), prelude=hosted_in_primary(EVERYDAY["primary"]),
        ) as host:  # fmt: skip
            reported = {loop["name"]: loop["last_violation"] for loop in host.status()["loops"] if loop["violations"]}
            pids = {name: pid for name, pid in host.pids().items() if name in PROCESSES}
            with nullcontext() if whole else witness.attached(pids):
                names = live(host, SECONDS[request.param])
            logs = {loop: host.log(loop) for loop in LOOP_PROCESSES}
            profiles = profiles_of(host)
        return Life(host, logs, profiles, list(witness.seen(names, filters=0 if whole else 2)), reported)

    def test_every_process_was_seen_at_work(life: Life) -> None:
        calls = Counter(one.process for one in life.seen if one.filters == 2)
        assert set(calls) == set(PROCESSES) and min(calls.values()) > 100

    @pytest.mark.parametrize("process", PROCESSES)
    def test_no_open_outside_the_profile_is_even_tried(life: Life, process: str) -> None:
        profile = life.profiles[process]
        allowed = [*map(str, profile.kept), *(inside for _, inside in profile.write), "/dev/null"]
        allowed += [name for name, wanted in (("/proc", profile.proc), ("/sys", profile.sys)) if wanted]
        strange = {
            f"{one.call} {path} {one.errno or 'done'}"
            for one in life.seen
            for path in one.paths()
            if one.process == process and one.filters == 2
            and path.startswith(("/", "@")) and not any(path == root or path.startswith(f"{root}/") for root in allowed)
            and not (path in TABLE["tried"] and one.errno in ("ENOENT", "EACCES"))
        }  # fmt: skip
        assert strange == set()

    @pytest.mark.parametrize("process", PROCESSES)
    def test_no_call_of_honest_work_is_refused(life: Life, process: str) -> None:
        found = {f"{one.call} {one.errno}" for one in life.seen if one.process == process and one.filters > 0}
        refused = {entry for entry in found if entry.endswith((" EPERM", " ENOSYS"))}
        expected = {call for call, reasons in TABLE["refused"].items() if reasons.get(process, reasons["all"])}
        assert refused <= expected, "write down why, or find out what has changed"

    def test_a_start_needs_no_call_that_the_supervisor_refuses(life: Life) -> None:
        """As the supervisor tells it, and so without root as well."""
        assert life.reported == {}

    @pytest.mark.parametrize("loop", LOOP_PROCESSES)
    def test_logs_show_the_lines_of_sources_that_nobody_can_read_any_more(life: Life, loop: str) -> None:
        assert [line for line in LINES_IN_LOGS if line not in life.logs[loop]] == []
