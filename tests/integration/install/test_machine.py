"""forth/machine and forth/policy on a real systemd and logind: sleep and power off wait until the host is ready."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hosts.booted_services import CONFIG, booted_services, call
from hosts.booted_systemd import HOME, BootedSystemd

pytestmark = pytest.mark.once

MACHINE, POLICY = "forth/machine", "forth/policy"
LOGIND, PATH = "org.freedesktop.login1", "/org/freedesktop/login1"
SLEEP_S = 0.5
# What an administrator writes to let it end the machine.
RULE = f"""polkit.addRule(function (action, subject) {{
    if (subject.user === "tlsrt-forth-policy" && ["{LOGIND}.power-off", "{LOGIND}.suspend"].indexOf(action.id) >= 0)
        return polkit.Result.YES;
}});
"""
SLEEPS = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'cut -d \" \" -f 1 /proc/uptime >> /run/slept'\n"
BUSES = [{"bus": "system", "call": {LOGIND: [f"{LOGIND}.Manager.PowerOff", f"{LOGIND}.Manager.Suspend"]},
          "why": "it ends the machine"}]  # fmt: skip
HEAR = f"""
import time
from tlsrt import Client
with Client("/etc/tlsrt/admin.tlsrt") as client:
    events = client.stream("{MACHINE}", "subscribe", "sleep")
    print("listening", flush=True)
    for event in events:
        print(event["phase"], event["within_s"], time.clock_gettime(time.CLOCK_BOOTTIME), flush=True)
        if event["phase"] == "after":
            break
"""


def add(machine: BootedSystemd, component: str, *words: str) -> None:
    rights = ("--allow", 'client/admin: "*"')
    added = machine.run("tlsrt-supervisor", "--config", CONFIG, "component", "add", component, "--yes", *words, *rights)
    assert added.returncode == 0, added.stdout + added.stderr


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[BootedSystemd]:
    for made in booted_services(request):
        made.write("/etc/polkit-1/rules.d/50-power.rules", RULE)
        made.do("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/sys/power")  # a kernel that says that it can sleep
        made.write("/sys/power/state", "freeze mem\n")
        made.write("/sys/power/mem_sleep", "[s2idle]\n")
        made.write("/etc/systemd/system/systemd-suspend.service", SLEEPS)  # and does not
        made.systemctl("daemon-reload")
        made.systemctl("start", "systemd-logind")
        add(made, MACHINE, "--option", f"sleep_s={SLEEP_S}")
        rules = {"never": {"ups_low": True, "then": ["notify"]}}
        add(made, POLICY, "--option", f"rules={json.dumps(rules)}", "--option", "dbus=true", "--needs",
            f"buses={json.dumps(BUSES)}")  # fmt: skip
        made.systemctl("start", "tlsrt")
        until(made, lambda said: said["is_delayed"], "a lock")
        yield made


def until(machine: BootedSystemd, true: Any, what: str) -> Any:
    said: list[Any] = []

    def is_so() -> bool:
        said.append(call(machine, MACHINE, "status"))
        return isinstance(said[-1], dict) and true(said[-1])

    machine.until(is_so, what, said=lambda: str(said[-1]))
    return said[-1]


def inhibitors(machine: BootedSystemd) -> list[Any]:
    said = machine.do("busctl", "--json=short", "call", LOGIND, PATH, f"{LOGIND}.Manager", "ListInhibitors")
    return [one for one in json.loads(said)["data"][0] if one[1] == "tlsrt"]


def test_a_lock_of_logind_delays_sleep_and_end(machine: BootedSystemd) -> None:
    said = call(machine, MACHINE, "status")
    assert said["delay_s"] == 5.0 and said["within_s"] == 4.0 and said["prepares"] is said["problem"] is None, said
    [lock] = inhibitors(machine)
    assert lock[0] == "shutdown:sleep" and lock[3] == "delay"
    assert "no clock that wakes it" in call(machine, MACHINE, "wake")


def test_the_lock_is_there_again_after_a_kill(machine: BootedSystemd) -> None:
    status = json.loads(machine.do("tlsrt-supervisor", "status", "--json", "--config", CONFIG))
    machine.do("kill", "-9", str(next(one["pid"] for one in status["loops"] if one["name"] == "forth.machine")))
    machine.until(lambda: len(inhibitors(machine)) == 0, "its end")
    machine.until(lambda: len(inhibitors(machine)) == 1, "another lock")
    until(machine, lambda said: said["is_delayed"], "the same")


def test_who_pretends_to_be_logind_ends_nothing(machine: BootedSystemd) -> None:
    """Any user of the bus may send a signal to one connection, whatever stands in it."""
    lines = machine.do("busctl", "list", "--no-legend", "--no-pager").splitlines()
    [name] = [line.split()[0] for line in lines if "tlsrt-forth-machine" in line and line.startswith(":")]
    script = (
        "import asyncio\nfrom dbus_fast import BusType, Message, MessageType\nfrom dbus_fast.aio import MessageBus\n"
        "async def main():\n    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()\n"
        "    for member in ['PrepareForShutdown', 'PrepareForSleep'] * 20:\n"
        f"        await bus.send(Message(message_type=MessageType.SIGNAL, destination='{name}', path='{PATH}',\n"
        f"            interface='{LOGIND}.Manager', member=member, signature='b', body=[True]))\n"
        "    asked = Message(destination='org.freedesktop.DBus', path='/', interface='org.freedesktop.DBus',\n"
        "                    member='GetId')\n    await bus.call(asked)\nasyncio.run(main())\n"
    )
    machine.do("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"{HOME}/env/bin/python", "-c", script)
    said = call(machine, MACHINE, "status")
    assert said["is_delayed"] and said["prepares"] is None and len(inhibitors(machine)) == 1
    assert machine.systemctl("is-active", "tlsrt").strip() == "active"


def confirmed(machine: BootedSystemd, action: str) -> Any:
    asked = call(machine, POLICY, "request", action)
    assert isinstance(asked, dict), asked
    return call(machine, POLICY, "confirm", asked["code"])


def test_before_it_sleeps_others_have_their_time_and_afterwards_they_hear_of_it(machine: BootedSystemd) -> None:
    with machine.popen(f"{HOME}/env/bin/python", "-c", HEAR) as hearing:
        assert hearing.stdout is not None and hearing.stdout.readline() == "listening\n"
        assert confirmed(machine, "suspend") == {"action": "suspend"}
        before, after = [line.split() for line in hearing.communicate(timeout=60)[0].splitlines()]
    assert before[0] == "before" and float(before[1]) == SLEEP_S and after[0] == "after"
    slept = float(machine.path("/run/slept").read_text())
    print("told before sleep:", slept - float(before[2]), "s")
    assert slept - float(before[2]) > SLEEP_S - 0.2  # what it takes to tell a client is not counted
    assert until(machine, lambda said: said["is_delayed"], "a lock")["prepares"] is None


def test_figures(machine: BootedSystemd) -> None:
    script = (
        "import time, json\nfrom tlsrt import Client\nwith Client('/etc/tlsrt/admin.tlsrt') as client:\n"
        "    took = []\n    for _ in range(200):\n        at = time.perf_counter()\n"
        f"        client.call('{MACHINE}', 'status')\n        took.append((time.perf_counter() - at) * 1e3)\n"
        "print(json.dumps(took))"
    )
    took = sorted(json.loads(machine.do(f"{HOME}/env/bin/python", "-c", script)))
    print("status ms p50", round(took[100], 2), "p99", round(took[197], 2))
    document = json.loads(machine.do("tlsrt-supervisor", "status", "--json", "--config", CONFIG))
    pid = next(one for one in document["loops"] if one["name"] == "forth.machine")["pid"]
    print([line for line in machine.do("cat", f"/proc/{pid}/smaps_rollup").splitlines() if line.startswith("Pss:")])
    assert took[100] < 1000


def test_a_power_off_waits_for_the_order_and_then_the_machine_is_off(machine: BootedSystemd) -> None:
    """The last one, for it ends the machine."""
    units = ("_SYSTEMD_UNIT=tlsrt.service", "+", "_SYSTEMD_UNIT=systemd-logind.service", "+", "_PID=1")
    with machine.kept_journal() as journal:
        confirmed(machine, "power_off")
        machine.wait_off()
        entries = journal(*units)
    entries.sort(key=lambda one: int(one["__MONOTONIC_TIMESTAMP"]))
    told = [str(one["MESSAGE"]) for one in entries]
    moments = {str(one["MESSAGE"]): int(one["__MONOTONIC_TIMESTAMP"]) / 1e6 for one in entries}
    end = " stopped on request"
    ended = [words.removesuffix(end).rstrip(":") for words in told if words.endswith(end)]
    ended = [name for name in ended if name != "learner"]  # is there if there were calls for long enough
    loops = [name for number, name in enumerate(one.split(".")[0] for one in ended) if name not in
             [one.split(".")[0] for one in ended[:number]]]  # fmt: skip
    assert loops == ["external", "third", "secondary", "primary", "forth", "authority"], told
    assert [name for name in ended if name.startswith("forth")] == ["forth.policy", "forth", "forth.machine"]
    before = (
        told.index(f"forth:{end}") < told.index("System is powering down.") < told.index("Stopping tlsrt.service...")
    )
    assert before, "logind waits for all that ends before the lock does"
    took = moments["System is powering down."] - moments["The system will power off now!"]
    print("from the request to the release of the lock:", round(took, 3), "s")
    assert took < 4.5
