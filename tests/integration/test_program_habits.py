"""Programs with habits of systemd, on a real host: sockets that are passed, and time to end by themselves."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, free_port, running
from tools.programs import need

# It writes what it holds when it is asked to end, which takes longer than the time that a program has by default.
BROKER = """#!/bin/sh
trap 'sleep 2; echo "$$ has written all" >>/state/written; exit 0' USR1
echo "it serves"
while :; do sleep 0.1; done
"""
DEAF = """#!/bin/sh
trap '' TERM
echo "it hears nothing"
while :; do sleep 0.1; done
"""
HOARDER = """#!/bin/sh
if [ -e /state/0 ]; then
    rm -f /state/*; echo "it has cleaned up"
    while :; do sleep 1; done
fi
number=0
while :; do : >"/state/$number"; number=$((number + 1)); [ $((number % 100)) = 0 ] && sleep 0.02; done
"""
# As a program that needs to be passed its sockets: it reads them as sd_listen_fds(3) says, and binds nothing.
ACTIVATED = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
    if (!pid || !count || !names || atoi(pid) != getpid()) return puts("not activated"), 1;
    int type, listens, opened = 0, after = 3 + atoi(count);
    socklen_t size = sizeof type;
    if (getsockopt(3, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_STREAM) return 2;
    if (getsockopt(3, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) || !listens) return 3;
    if (getsockopt(4, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_DGRAM) return 4;
    for (int number = after; number < 64; number++) opened += fcntl(number, F_GETFD) != -1;
    printf("fds %s, names %s, others %d, flags %d\n", count, names, opened, fcntl(3, F_GETFL) & O_NONBLOCK);
    fflush(stdout);
    for (;;) {
        int one = accept4(3, 0, 0, SOCK_CLOEXEC);
        if (one < 0) return 5;
        char word[64] = {0};
        recv(4, word, sizeof word - 1, MSG_DONTWAIT);
        dprintf(one, "%s %s\n", names, word);
        close(one);
    }
}
"""
WAKER = r"""
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
int main(void) {
    struct itimerspec soon = {{0, 0}, {0, 10000000}};
    uint64_t count = 0;
    int one = timerfd_create(CLOCK_BOOTTIME_ALARM, 0);
    if (one < 0) printf("no alarm: %d\n", errno);
    else if (timerfd_settime(one, 0, &soon, 0) || read(one, &count, 8) != 8) printf("not woken: %d\n", errno);
    else printf("woken %d\n", (int)count);
    fflush(stdout);
    for (;;) pause();
}
"""
WAKE_ALARM = 1 << 35  # capabilities(7)


def has_wake_alarm() -> bool:
    """Tell whether this host lets root have it."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("CapEff:"))
    return os.geteuid() == 0 and bool(int(line.split()[1], 16) & WAKE_ALARM)


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {name: free_port() for name in ("web", "lines")}


@pytest.fixture(scope="module")
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]
) -> Iterator[RunningHost]:
    need("cc")
    folder = tmp_path_factory.mktemp("habits")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)

    def script(name: str, text: str, **more: Any) -> dict[str, Any]:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
        return {"kind": "program", "run": str(folder / name), "also_runs": ["/usr/bin/sleep", "/usr/bin/rm"], **more}

    activated = folder / "activated"
    subprocess.run(["cc", "-x", "c", "-", "-o", activated], input=ACTIVATED.encode(), check=True, timeout=60)
    waker = folder / "waker"
    subprocess.run(["cc", "-x", "c", "-", "-o", waker], input=WAKER.encode(), check=True, timeout=60)
    alarms = {"capabilities": {"CAP_WAKE_ALARM": "a test"}} if has_wake_alarm() else {}
    listen = [
        {"name": "web", "port": ports["web"], "pass": True, "why": "a test"},
        {"name": "lines", "port": ports["lines"], "protocol": "udp", "pass": True, "why": "a test"},
    ]
    components = {
        "forth/activated": {
            "kind": "program",
            "run": str(activated),
            "needs": {"listen": listen},
            "health": {"tcp": ports["web"]},
        },
        "external/broker": script("broker", BROKER, stop_signal="USR1", stop_seconds=20, needs={"state_mb": 1}),
        "forth/hoarder": script("hoarder", HOARDER, needs={"state_mb": 1}),
        "third/waker": {"kind": "program", "run": str(waker), **alarms},
        "third/sleeper": {"kind": "program", "run": str(waker)},
        "third/deaf": script("deaf", DEAF, stop_seconds=0.5),
    }
    yield from running(request, components=components)


def written(host: RunningHost) -> int:
    file = Path(host.config.state_dir) / "external.broker+main+1" / "written"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_a_program_is_passed_its_sockets_and_nothing_else(host: RunningHost, ports: dict[str, int]) -> None:
    def pid() -> int:
        (program,) = host.loop("forth.activated")["programs"]
        return int(program["running"][0]["pid"]) if program["running"] else 0

    host.until(lambda status: "fds 2, names web:lines" in host.log("forth.activated"), "that it has read them")
    assert "fds 2, names web:lines, others 0, flags 0" in host.log("forth.activated")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"a line", ("127.0.0.1", ports["lines"]))
    with socket.create_connection(("127.0.0.1", ports["web"]), timeout=10) as client:
        assert client.makefile().readline() == "web:lines a line\n"
    before = pid()
    ended = os.pidfd_open(before)
    os.kill(before, signal.SIGKILL)
    assert select.select([ended], [], [], 10)[0]
    os.close(ended)
    # a client that comes while it is begun again waits
    with socket.create_connection(("127.0.0.1", ports["web"]), timeout=10) as client:
        assert client.makefile().readline() == "web:lines \n"


@pytest.mark.skipif(not has_wake_alarm(), reason="timers that wake a host are root's")
def test_a_capability_is_had_by_the_program_that_asks_for_it_and_is_the_only_one(host: RunningHost) -> None:
    for name, said, holds in (("waker", "woken 1", WAKE_ALARM), ("sleeper", "no alarm: 1", 0)):  # EPERM
        host.until(lambda status, name=name, said=said: said in host.log(f"third.{name}"), said)  # type: ignore[misc]
        pid = host.loop(f"third.{name}")["programs"][0]["running"][0]["pid"]
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        held = {line.split()[0]: int(line.split()[1], 16) for line in lines if line.startswith("Cap")}
        assert held["CapEff:"] == held["CapPrm:"] == holds and held["CapBnd:"] & ~holds == 0, held


def test_a_state_that_grows_too_large_ends_the_run_and_the_next_may_clean_up(host: RunningHost) -> None:
    host.until(lambda status: "it has cleaned up" in host.log("forth.hoarder"), "the run after")
    host.told("its /state holds more than its `state_mb` of 1 MiB", by=("events", "--kind", "program"))
    assert "its /state holds more than its `state_mb`" in host.log("forth.hoarder")
    assert host.loop("forth.hoarder")["programs"][0]["ends"] == {"state": 1}


def test_the_state_of_a_program_is_in_a_backup_and_comes_back(host: RunningHost, tmp_path: Path) -> None:
    state, file = Path(host.config.state_dir) / "external.broker+main+1", str(tmp_path / "broker.state")
    host.until(lambda status: host.log("external.broker").count("it serves") == 1, "that it runs")
    owner = state.stat().st_uid
    (state / "kept").write_text("as it was")
    os.chown(state / "kept", owner, owner)
    (state / "trap").symlink_to(tmp_path)
    made = host.cli("component", "backup", "external/broker", file)
    assert made.returncode == 0, made.stderr
    assert "with /state of main" in made.stdout and "left out: trap (a link of the program main)" in made.stdout
    (state / "kept").write_text("as it is now")
    (state / "new").touch()
    back = host.cli("component", "restore", "external/broker", file)
    assert back.returncode == 0, back.stderr
    assert (state / "kept").read_text() == "as it was"
    assert {one.name for one in state.iterdir()} == {"kept"} and os.listdir(tmp_path) == ["broker.state"]
    assert {one.stat().st_uid for one in (state, state / "kept")} == {owner}
    left = [one.name for one in Path(host.config.state_dir).iterdir() if one.name.startswith(".before")]
    assert left == [], "the state from before is removed"
    host.until(lambda status: host.log("external.broker").count("it serves") == 2, "that it hears a signal again")


def test_what_writes_when_it_is_asked_to_end_has_its_time_at_a_restart_and_a_stop(host: RunningHost) -> None:
    """The last one here: the host stops."""
    host.until(lambda status: "it serves" in host.log("external.broker"), "that the broker runs")
    host.until(lambda status: "it hears nothing" in host.log("third.deaf"), "that the deaf one runs")
    [activated] = host.loop("forth.activated")["programs"]
    assert activated["ends"] == {"signalled": 1}, "looks at its health have not changed the socket that it waits at"
    before = host.log("external.broker").count("it serves")
    answer = host.cli("restart", "external.broker")
    assert answer.returncode == 0, answer.stderr
    assert written(host) == 1
    host.until(lambda status: host.log("external.broker").count("it serves") > before, "its next run")
    began = time.monotonic()
    assert host.stop() == 0
    assert written(host) == 2, "a stop of the host waits, too"
    assert time.monotonic() - began < 20, "and not for what does not hear"
