"""secondary/time in a booted systemd, beside a real systemd-timesyncd that may not set the clock and a local server."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from typing import Any

import pytest
from hosts.booted_services import CONFIG, booted_services, call
from hosts.booted_systemd import HOME, BootedSystemd

pytestmark = pytest.mark.once

TIME = "secondary/time"
# RFC 4330: a server of stratum 2 whose clock is 20 ms ahead of that of this machine.
SERVER = """
import socket, struct, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.1", 123))
    print("serves", flush=True)
    while True:
        asked, peer = server.recvfrom(512)
        now = int((time.time() + 2208988800 + 0.02) * 2**32)
        head = struct.pack("!BBbbII4s", 0x24, 2, 6, -20, 0, 0, b"\\x7f\\0\\0\\1")
        server.sendto(head + struct.pack("!Q", now) + asked[40:48] + struct.pack("!QQ", now, now), peer)
"""
TIMESYNCD = """
[Service]
ExecStart=/usr/lib/systemd/systemd-timesyncd
User=systemd-timesync
RuntimeDirectory=systemd/timesync
StateDirectory=systemd/timesync
Type=notify
"""


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[BootedSystemd]:
    for made in booted_services(request):
        words = ("component", "add", TIME, "--yes", "--option", "look_s=0.5", "--allow", 'client/admin: "*"')
        added = made.run("tlsrt-supervisor", "--config", CONFIG, *words)
        assert added.returncode == 0, added.stdout + added.stderr
        made.systemctl("start", "tlsrt")
        said: list[Any] = []

        def answered(made: BootedSystemd = made, said: list[Any] = said) -> bool:
            said.append(call(made, TIME, "status"))
            return isinstance(said[-1], dict)

        made.until(answered, "an answer", said=lambda said=said: str(said[-1]))  # type: ignore[misc]
        yield made


def test_without_a_source_it_says_what_is_known(machine: BootedSystemd) -> None:
    said = call(machine, TIME, "status")
    assert said["by"] is None and "timesync1" in said["by_unknown_because"]
    assert said["server"] is None and said["stratum"] is None and said["offset_ms"] is None
    assert isinstance(said["is_synchronised"], bool) and said["uncertainty_ms"] is None and said["drift_ppm"] is None
    assert said["time_zone"]
    now = call(machine, TIME, "now")
    assert now["boottime_ms"] >= now["monotonic_ms"] > 0


def test_timesyncd_is_named_with_its_server_and_offset(machine: BootedSystemd) -> None:
    machine.write("/etc/systemd/timesyncd.conf", "[Time]\nNTP=127.0.0.1\n")
    machine.write("/run/systemd/system/timesyncd-test.service", TIMESYNCD)
    machine.systemctl("daemon-reload")
    before = machine.do("date", "+%s")
    with machine.popen(f"{HOME}/env/bin/python", "-c", SERVER) as server:
        assert server.stdout is not None and server.stdout.readline() == "serves\n"
        machine.systemctl("start", "timesyncd-test")
        said: list[Any] = []

        def measured() -> bool:
            said.append(call(machine, TIME, "status"))
            return isinstance(said[-1], dict) and said[-1]["offset_ms"] is not None

        machine.until(measured, "an offset", said=lambda: str(said[-1]))
        server.kill()
    found = said[-1]
    assert found["by"] == "systemd-timesyncd" and found["by_unknown_because"] is None
    assert found["server"] == "127.0.0.1" and found["uncertainty_ms"] > 0 and found["stratum"] == 2
    assert 20 - found["round_trip_ms"] <= found["offset_ms"] <= 20 + found["round_trip_ms"]
    assert int(before) * 1000 <= found["last_sync_wall_ms"]
    machine.systemctl("stop", "timesyncd-test")
    assert call(machine, TIME, "status")["by"] is None


def test_the_clock_cannot_be_set_by_it(machine: BootedSystemd) -> None:
    for call_name in ("clock_settime", "clock_adjtime", "settimeofday", "adjtimex"):
        shown = machine.run("tlsrt-supervisor", "--config", CONFIG, "sandbox", "explain", "secondary.time", call_name)
        assert f"{call_name}: refused" in shown.stdout
    document = json.loads(machine.do("tlsrt-supervisor", "status", "--json", "--config", CONFIG))
    pid = next(one for one in document["loops"] if one["name"] == "secondary.time")["pid"]
    status = machine.do("cat", f"/proc/{pid}/status").splitlines()
    assert [line.split()[1] for line in status if line.startswith(("CapEff", "CapBnd", "CapPrm"))] == ["0" * 16] * 3
    rollup = machine.do("cat", f"/proc/{pid}/smaps_rollup").splitlines()
    print([line for line in rollup if line.startswith("Pss:")])


def test_figures(machine: BootedSystemd) -> None:
    script = (
        "import time, json\nfrom tlsrt import Client\nwith Client('/etc/tlsrt/admin.tlsrt') as client:\n"
        "    took = {}\n    for method in ('now', 'status'):\n        took[method] = []\n"
        "        for _ in range(200):\n            at = time.perf_counter()\n"
        f"            client.call('{TIME}', method)\n"
        "            took[method].append((time.perf_counter() - at) * 1e3)\n"
        "print(json.dumps(took))"
    )
    took = json.loads(machine.do(f"{HOME}/env/bin/python", "-c", script))
    for method, times in took.items():
        print(method, "ms p50", round(statistics.median(times), 2), "p99", round(sorted(times)[197], 2))
    assert len(took["now"]) == 200
