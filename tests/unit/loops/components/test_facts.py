"""Kernel, hardware, power and network: on fixture trees, on an empty host, on hostile files, and on this host."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Awaitable, Mapping
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from tlsrt.errors import CallError, Denied, InvalidArgument, NotFound
from tlsrt.loops.component.component import Component
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.component.surroundings import give
from tlsrt.loops.external.network import Network
from tlsrt.loops.external.routes import counters, ipv4_routes, ipv6_routes, tcp_states
from tlsrt.loops.facts.hardware import Hardware
from tlsrt.loops.facts.kernel import Kernel
from tlsrt.loops.forth.power import Power
from tlsrt.loops.sampling.samples import FRESH_S

KINDS: list[type[Any]] = [Kernel, Hardware, Power, Network]
MAY_BE_NULL = (
    "temperatures",
    "dmi",
    "fans",
    "thermal_zones",
    "memory_errors",
    "watchdogs",
    "tpms",
    "modules",
    "processes",
)


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def made(kind: type[Any], root: Path | None = None) -> Any:
    component = kind()
    options = kind.Options() if kind in (Kernel, Hardware, Network) else None
    give(component, address="a/b", options=options)
    if root is not None:
        component.proc, component.sys = root / "proc", root / "sys"
    return component


def ask(component: Component, method: str, *args: object) -> Any:
    async def once() -> object:
        return await cast("Awaitable[object]", invoke(component, method, args, {}, subject="client/a"))

    return asyncio.run(once())


def first(component: Component, *args: object, count: int = 1) -> list[Any]:
    async def some() -> list[Any]:
        stream = cast("AsyncIterator[Any]", invoke(component, "watch", args, {}, subject="client/a"))
        return [await anext(stream) for _ in range(count)]

    return asyncio.run(some())


def plain_methods(kind: type[Component]) -> list[str]:
    return [
        name
        for name, spec in kind.__tlsrt_methods__.items()
        if not spec.stream and not any(parameter.required for parameter in spec.parameters)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_that_tells_nothing_gives_nulls_not_crashes(kind: type[Any], tmp_path: Path) -> None:
    component = made(kind, tmp_path)
    for method in plain_methods(kind):
        if (kind, method) != (Kernel, "load"):
            ask(component, method)
    if kind is Kernel:
        with pytest.raises(NotFound, match="no load averages"):
            ask(component, "load")


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_in_every_file_is_no_crash(kind: type[Any], tmp_path: Path) -> None:
    names = [
        "stat",
        "meminfo",
        "vmstat",
        "cpuinfo",
        "pressure/cpu",
        "net/dev",
        "net/route",
        "net/ipv6_route",
        "net/tcp",
    ]
    garbage = ":\n: :\nx\n\0\xff 1 2 3\ncpu\nsome avg10\n|\nprocessor\n"
    root = tree(tmp_path, {f"proc/{name}": garbage for name in names})
    tree(root, {f"sys/class/power_supply/B/{name}": "?" for name in ("type", "online", "capacity", "status")})
    tree(
        root,
        {"sys/class/hwmon/h/temp1_input": "hot", "sys/class/thermal/thermal_zone0/temp": "", "sys/block/x/size": "-"},
    )
    for method in plain_methods(kind):
        if (kind, method) != (Kernel, "load"):
            ask(made(kind, root), method)


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_answers_on_this_host(kind: type[Any]) -> None:
    for method in plain_methods(kind):
        assert ask(made(kind), method) is not None or method in MAY_BE_NULL


def test_kernel_on_a_fixture(tmp_path: Path) -> None:
    files = {
        "proc/loadavg": "0.52 0.58 0.59 2/345 9\n",
        "proc/meminfo": "MemTotal:  2048 kB\nMemFree: 1024 kB\nHugePages_Total: 0\n",
        "proc/vmstat": "oom_kill 3\npgfault 10\npgmajfault 2\n",
        "proc/pressure/cpu": "some avg10=1.50 avg60=0.00 avg300=0.00 total=12345\n",
        "proc/stat": "cpu  100 0 50 200 0 0 0 0 0 0\nintr 7 1 1\nctxt 9\nbtime 1000\nprocesses 5\nprocs_running 1\n",
        "proc/uptime": "12.50 20.00\n",
        "proc/cmdline": "quiet\n",
        "proc/sys/kernel/tainted": "4097\n",
        "proc/sys/vm/swappiness": "60\n",
        "sys/devices/system/cpu/vulnerabilities/meltdown": "Not affected\n",
    }
    kernel = made(Kernel, tree(tmp_path, files))
    load = ask(kernel, "load")
    assert (load["load_1m"], load["runnable_tasks"], load["tasks"]) == (0.52, 2, 345)
    memory = ask(kernel, "memory")
    assert (memory["total_bytes"], memory["free_bytes"], memory["oom_kills"]) == (2048 * 1024, 1024 * 1024, 3)
    assert memory["swap_total_bytes"] is None
    pressure = ask(kernel, "pressure")
    assert pressure["cpu"]["some"]["avg10_percent"] == 1.5
    assert pressure["cpu"]["some"]["total_us"] == 12345
    assert pressure["memory"] is None
    hertz = os.sysconf("SC_CLK_TCK")
    found = ask(kernel, "counters")
    assert found["cpu_s"]["user"] == 100 / hertz
    assert (found["context_switches"], found["interrupts"], found["page_faults"]) == (9, 7, 10)
    assert ask(kernel, "uptime")["uptime_s"] == 12.5
    assert ask(kernel, "uptime")["booted_wall_s"] == 1000
    assert ask(kernel, "cmdline") == "quiet"
    assert ask(kernel, "posture")["tainted"] == ["proprietary_module", "out_of_tree_module"]
    assert ask(kernel, "cpu_vulnerabilities") == {"meltdown": "Not affected"}
    assert ask(kernel, "sysctl", "vm.swappiness") == "60"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("vm.missing", NotFound),
        ("vm", InvalidArgument),
        ("net.ipv4.ip_forward", Denied),
        ("dev.cdrom.info", Denied),
        ("vm...secret", InvalidArgument),
        ("vm./../../secret", InvalidArgument),
        ("/etc/passwd", InvalidArgument),
        ("vm.swappiness\n", InvalidArgument),
        ("vm.SECRET", InvalidArgument),
        ("kernel.", InvalidArgument),
        ("vm.\0x", InvalidArgument),
        ("v" * 200, InvalidArgument),
    ],
)
def test_sysctl_serves_nothing_else(name: str, error: type[CallError], tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/secret": "s", "proc/sys/net/ipv4/ip_forward": "1", "proc/sys/dev/cdrom/info": "x"})
    with pytest.raises(error):
        ask(made(Kernel, root), "sysctl", name)


def test_kernel_agrees_with_other_readers_of_this_host() -> None:
    assert ask(made(Kernel), "uname")["release"] == platform.release()
    assert ask(made(Kernel), "memory")["total_bytes"] == psutil.virtual_memory().total
    before, after = first(made(Kernel), 0.1, count=2)
    assert after["context_switches"] > before["context_switches"]
    assert after["monotonic_ms"] >= before["monotonic_ms"] + FRESH_S * 1000


@pytest.mark.parametrize("interval", [0, 0.05, -1, 1e9, float("nan"), "1", True])
def test_watch_cannot_be_made_to_spin(interval: object) -> None:
    with pytest.raises(InvalidArgument, match="interval_s"):
        invoke(made(Kernel), "watch", [interval], {}, subject="client/a")


def test_hardware_on_a_fixture(tmp_path: Path) -> None:
    block = "processor : {n}\nmodel name : Chip 9000\nphysical id : 0\ncore id : {n}\nflags : fpu hypervisor\n"
    files = {
        "proc/cpuinfo": "\n".join(block.format(n=n) for n in range(2)),
        "proc/meminfo": "MemTotal: 4 kB\n",
        "sys/devices/system/cpu/online": "0-1\n",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3500000\n",
        "sys/block/sda/size": "2048\n",
        "sys/block/sda/ro": "0\n",
        "sys/block/sda/queue/rotational": "1\n",
        "sys/block/sda/device/model": "DISK 1  \n",
        "sys/block/loop0/size": "8\n",
        "sys/class/net/eth0/address": "02:00:00:00:00:01\n",
        "sys/class/net/eth0/speed": "-1\n",
        "sys/class/net/bonding_masters": "\n",
        "sys/class/hwmon/hwmon0/name": "coretemp\n",
        "sys/class/hwmon/hwmon0/temp1_input": "47000\n",
        "sys/class/hwmon/hwmon0/temp1_crit": "100000\n",
        "sys/class/thermal/thermal_zone0/type": "acpi\n",
        "sys/class/thermal/thermal_zone0/temp": "-5000\n",
        "sys/class/dmi/id/sys_vendor": "ACME\n",
    }
    summary = ask(made(Hardware, tree(tmp_path, files)), "summary")
    assert summary["cpu"]["model"] == "Chip 9000"
    assert (summary["cpu"]["processors"], summary["cpu"]["cores"], summary["cpu"]["sockets"]) == (2, 2, 1)
    assert (summary["cpu"]["maximum_mhz"], summary["cpu"]["minimum_mhz"]) == (3500.0, None)
    assert summary["memory_total_bytes"] == 4096
    assert [disk["name"] for disk in summary["disks"]] == ["sda"], "a loop device is no disk"
    assert summary["disks"][0] == {
        "name": "sda",
        "size_bytes": 2048 * 512,
        "virtual": False,
        "model": "DISK 1",
        "removable": None,
        "read_only": False,
        "rotational": True,
        "read_bytes": None,
        "written_bytes": None,
        "busy_ms": None,
        "device_errors": None,
        "file_system_errors": None,
    }
    adapters = [{"name": "eth0", "address": "02:00:00:00:00:01", "virtual": True, "state": None, "speed_mbit": None}]
    assert summary["network_adapters"] == adapters
    assert [(sensor["sensor"], sensor["celsius"]) for sensor in summary["temperatures"]] == [
        ("coretemp", 47.0),
        ("acpi", -5.0),
    ]
    assert summary["temperatures"][0]["critical_celsius"] == 100.0
    assert summary["machine"]["sys_vendor"] == "ACME"
    assert summary["virtual"] is True


def test_no_sensor_is_null(tmp_path: Path) -> None:
    summary = ask(made(Hardware, tmp_path), "summary")
    assert summary["temperatures"] is None
    assert summary["machine"] is None


SUPPLY = "sys/class/power_supply"
BATTERY = {
    f"{SUPPLY}/AC/type": "Mains",
    f"{SUPPLY}/AC/online": "0",
    f"{SUPPLY}/BAT0/type": "Battery",
    f"{SUPPLY}/BAT0/status": "Discharging",
    f"{SUPPLY}/BAT0/capacity": "80",
    f"{SUPPLY}/BAT0/charge_now": "4000000",
    f"{SUPPLY}/BAT0/charge_full": "5000000",
    f"{SUPPLY}/BAT0/voltage_now": "12000000",
    f"{SUPPLY}/BAT0/current_now": "-1000000",
    f"{SUPPLY}/BAT0/cycle_count": "0",
    f"{SUPPLY}/mouse/type": "Battery",
    f"{SUPPLY}/mouse/scope": "Device",
    "sys/power/state": "freeze mem",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_available_governors": "performance powersave",
    "sys/devices/system/cpu/cpufreq/boost": "1",
    "proc/uptime": "5.00 1.00",
}


def test_power_on_a_fixture(tmp_path: Path) -> None:
    power = made(Power, tree(tmp_path, BATTERY))
    status = ask(power, "status")
    assert status["on_mains"] is False
    assert status["batteries"] == [
        {
            "name": "BAT0",
            "charge_percent": 80,
            "state": "discharging",
            "energy_wh": 48.0,
            "energy_full_wh": 60.0,
            "power_w": 12.0,
            "cycles": None,
            "technology": None,
        }
    ]
    assert (status["governor"], status["suspend_states"], status["uptime_s"]) == ("powersave", ["freeze", "mem"], 5.0)
    assert ask(power, "governors") == {"in_use": {"cpu0": "powersave"}, "available": ["performance", "powersave"]}


def test_power_without_a_battery_does_not_guess(tmp_path: Path) -> None:
    status = ask(made(Power, tmp_path), "status")
    assert (status["on_mains"], status["batteries"], status["governor"]) == (None, [], None)


def test_power_keeps_numbers_when_it_is_asked_for_its_health(tmp_path: Path) -> None:
    power = made(Power, tree(tmp_path, BATTERY))
    assert ask(power, "history")["ages_s"] == []
    assert power.healthy() is None and power.healthy() is None
    series = ask(power, "history")["series"]
    assert {name: one["mean"] for name, one in series.items()} == {"charge": [80], "watts": [12], "celsius": [None]}


def test_power_publishes_a_change_of_source(tmp_path: Path) -> None:
    power = made(Power, tree(tmp_path, BATTERY))

    async def scene() -> None:
        changes = power._pubsub.subscribe("changed")
        stream = cast("AsyncIterator[Any]", invoke(power, "watch", [0.1], {}, subject="client/a"))
        assert (await anext(stream))["on_mains"] is False
        await anext(stream)
        tree(tmp_path, {f"{SUPPLY}/AC/online": "1"})
        assert (await anext(stream))["on_mains"] is True
        changes.close()
        assert [status["on_mains"] async for status in changes] == [True]

    asyncio.run(scene())


def test_power_publishes_a_change_of_source_once_however_many_watch(tmp_path: Path) -> None:
    power = made(Power, tree(tmp_path, BATTERY))

    async def scene() -> None:
        changes = power._pubsub.subscribe("changed")
        streams = [
            cast("AsyncIterator[Any]", invoke(power, "watch", [0.1], {}, subject=f"client/c{number}"))
            for number in range(10)
        ]
        assert [(await anext(stream))["on_mains"] for stream in streams] == [False] * 10
        tree(tmp_path, {f"{SUPPLY}/AC/online": "1"})
        assert [status["on_mains"] for status in await asyncio.gather(*map(anext, streams))] == [True] * 10
        changes.close()
        assert [status["on_mains"] async for status in changes] == [True]

    asyncio.run(scene())


def test_route_tables_are_parsed() -> None:
    header = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
    four = "eth0 00000000 010200C0 0003 0 0 100 00000000 0 0 0\neth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
    down = "eth1 00000000 010200C0 0002 0 0 0 00000000 0 0 0\n"
    assert list(ipv4_routes(header + four + down + "broken\neth0 zz 0 1 0 0 0 0 0 0 0\n")) == [
        {"family": "ipv4", "destination": "0.0.0.0/0", "gateway": "192.0.2.1", "interface": "eth0", "metric": 100},
        {"family": "ipv4", "destination": "192.0.2.0/24", "gateway": None, "interface": "eth0", "metric": 0},
    ]
    zero = "0" * 32
    net = f"fd{'0' * 30} 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0\n"
    default = f"{zero} 00 {zero} 00 fd{'0' * 29}1 00000400 00000002 00000000 00000003     eth0\n"
    local = f"{'0' * 31}1 80 {zero} 00 {zero} 00000000 00000002 00000000 80200001       lo\n"
    multicast = f"ff{'0' * 30} 08 {zero} 00 {zero} 00000100 00000003 00000000 00000001     eth0\n"
    assert list(ipv6_routes(net + default + local + multicast + "broken\n")) == [
        {"family": "ipv6", "destination": "fd00::/64", "gateway": None, "interface": "eth0", "metric": 256},
        {"family": "ipv6", "destination": "::/0", "gateway": "fd00::1", "interface": "eth0", "metric": 1024},
    ]


def test_socket_and_counter_tables_are_parsed() -> None:
    lines = "  sl local rem st\n 0: 0:1 0:0 0A 0\n 1: 0:1 0:0 01 0\n 2: 0:1 0:0 01 0\n 3: x x FF\n 4: x x 00 0\n"
    assert tcp_states(lines)["listen"] == 1
    assert tcp_states(lines)["established"] == 2
    numbers = " ".join(str(number) for number in range(16))
    found = counters(f"a\nb\n eth0:{numbers}\n lo: 1 2\nnothing\n")
    assert list(found) == ["eth0"]
    assert (found["eth0"]["received_bytes"], found["eth0"]["sent_bytes"], found["eth0"]["sent_dropped"]) == (0, 8, 11)


def test_network_agrees_with_this_host() -> None:
    interfaces = {entry["name"]: entry for entry in ask(made(Network), "interfaces")}
    assert set(interfaces) == set(os.listdir("/sys/class/net")) - {"bonding_masters"}
    for name, entry in interfaces.items():
        assert entry["mtu_bytes"] == int(Path(f"/sys/class/net/{name}/mtu").read_text())
        assert entry["counters"]["received_bytes"] >= 0
    assert "127.0.0.1" in [address["address"] for address in interfaces["lo"]["addresses"]]
    sample = first(made(Network), 0.1)[0]
    assert set(sample["interfaces"]) == set(interfaces)


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_well_on_this_host_and_not_where_the_kernel_shows_nothing(kind: type[Any], tmp_path: Path) -> None:
    assert made(kind).healthy() is None
    assert "shows nothing" in made(kind, tmp_path).healthy()
