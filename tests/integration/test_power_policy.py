"""forth/policy in the full sandbox, on real upowerd and power-profiles-daemon, and a real upsd."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import PACKAGE
from fakes.bus_daemon import bus_daemon
from fakes.polkit import Polkit
from hosts.installation import CHECKOUT
from hosts.running_host import RunningHost, free_port, running, uid_base
from tools.programs import need

from tlsrt import Client
from tlsrt.errors import Denied, NotFound, Unavailable

POLICY, AI = "forth/policy", "secondary/ai"
UID_BASE = uid_base()
UPOWER, PPD, LOGIND = "org.freedesktop.UPower", "org.freedesktop.UPower.PowerProfiles", "org.freedesktop.login1"
PROPERTIES = "org.freedesktop.DBus.Properties"
RULES = {
    "saver": {"on_battery": True, "below": 30, "dwell_s": 1, "then": ["profile power-saver", f"pause {AI}", "notify"]},
    "cold": {"on_battery": True, "below": 5, "for_s": 3600, "then": ["power_off"]},
    "ups": {"ups_low": True, "dwell_s": 1, "then": ["notify"]},
}


@dataclass(slots=True)
class World:
    """A host with the policy, a machine with a battery, and a UPS."""

    host: RunningHost
    machine: subprocess.Popen[str]
    ups: Path
    admin: Client

    def say(self, words: str) -> str:
        assert self.machine.stdin is not None and self.machine.stdout is not None
        self.machine.stdin.write(f"{words}\n")
        self.machine.stdin.flush()
        return self.machine.stdout.readline().strip()

    def ask(self, method: str, *arguments: object) -> Any:
        return self.admin.call(POLICY, method, *arguments)

    def until(self, true: Any, what: str) -> Any:
        """Look until it is as wanted; upowerd is told of its devices again, as it misses a change under load."""
        end = time.monotonic() + 20
        while not true(now := self.ask("look")):
            assert time.monotonic() < end, f"never {what}: {now}"
            select.select([], [], [], 0.3)
            if time.monotonic() > end - 15:
                self.say("again")
        return now


def machine(bus: Path, errors: Path) -> subprocess.Popen[str]:
    script = CHECKOUT / "tests/tools/power_machine.py"
    need("upower"), need("powerprofilesctl")
    command = [need("umockdev-wrapper"), "/usr/bin/python3", str(script)]
    environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
    with errors.open("w") as log:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )


def upsd(folder: Path, port: int, ending: ExitStack) -> Path:
    """Run a real upsd with dummy-ups; return the file that says how the UPS is."""
    need("upsd")
    state = folder / "rack.dev"
    state.write_text("ups.status: OL\nbattery.charge: 90\n")
    (folder / "ups.conf").write_text(f"[rack]\ndriver = dummy-ups\nport = {state}\nmode = dummy-loop\n")
    (folder / "upsd.conf").write_text(f"LISTEN 127.0.0.1 {port}\n")
    (folder / "upsd.users").write_text("")
    for file in folder.iterdir():
        file.chmod(0o640)
    environment = {
        **os.environ,
        "NUT_CONFPATH": str(folder),
        "NUT_STATEPATH": str(folder),
        "NUT_ALTPIDPATH": str(folder),
    }
    driver, server = (Path("/lib/nut") / name for name in ("dummy-ups", "upsd"))  # Debian's in PATH asks nut.conf first
    commands: list[list[Path | str]] = [[driver, "-a", "rack", "-F", "-u", "root"], [server, "-F", "-u", "root"]]
    for command in commands:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ending.callback(process.wait)
        ending.callback(process.kill)
    return state


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("needs root: upowerd owns its name as root")
    with ExitStack() as ending:
        folder = Path(tempfile.mkdtemp(prefix="tlsrt-power."))
        ending.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        bus, port = folder / "bus.sock", free_port()
        ending.enter_context(bus_daemon(bus, range(UID_BASE, UID_BASE + 512)))
        polkit = Polkit(f"unix:path={bus}")
        ending.callback(polkit.close)
        battery = machine(bus, folder / "machine.log")
        assert battery.stdin is not None and battery.stdout is not None
        ending.callback(battery.stdout.close)
        ending.callback(battery.wait)
        ending.callback(battery.stdin.close)
        assert battery.stdout.readline() == "ready\n", (folder / "machine.log").read_text()
        nut = folder / "nut"
        nut.mkdir()
        state = upsd(nut, port, ending)
        properties = [f"{PROPERTIES}.{one}" for one in ("Get", "GetAll", "Set")]
        needs = {
            "buses": [
                {"bus": str(bus), "why": "a test",
                 "call": {UPOWER: properties[:2], PPD: properties, LOGIND: [f"{LOGIND}.Manager.*"]},
                 "hear": {UPOWER: [f"{PROPERTIES}.PropertiesChanged"]}},
            ],
            "egress": [{"to": [f"127.0.0.1:{port}"], "why": "a test"}],
            "sys": {"why": "a test"}, "state_mb": 4,
            "runtime": [{"may": "pause", "components": [AI], "why": "a test"},
                        {"may": "list", "components": [AI], "why": "a test"}],
        }  # fmt: skip
        options = {
            "rules": RULES, "dbus": True, "bus": f"unix:path={bus}", "ups": f"rack@127.0.0.1:{port}", "sample_s": 0.5
        }  # fmt: skip
        policy = {"class": "tlsrt.loops.forth.policy:Policy", "needs": needs, "options": options}
        hosts = running(
            request, packages=[PACKAGE], clients=["other"],
            components={POLICY: policy, AI: {"class": "captured.helped:Helped"}},
            policy={f"client/{name} -> {POLICY}": "*" for name in ("admin", "other")},
        )  # fmt: skip
        for host in hosts:
            world = World(host, battery, state, host.client())
            hear_changes(world)
            yield world


def hear_changes(world: World) -> None:
    """Have an upowerd that hears of its devices: one that began on busy processors may not, for all of its life."""
    for _ in range(8):
        world.say("battery 70")
        end = time.monotonic() + 3
        while time.monotonic() < end:
            if world.ask("look")["sample"]["percent"] == 70:
                return
            select.select([], [], [], 0.2)
        world.say("stop upowerd")
        world.say("start upowerd")
    raise AssertionError(f"upowerd hears of no change: {world.ask('status')}")


def test_an_empty_battery_saves_power_and_a_full_one_gives_it_back(world: World) -> None:
    world.say("mains 1")
    world.say("battery 80")
    world.until(lambda now: now["sample"]["percent"] == 80 and now["sample"]["on_battery"] is False, "upowerd")
    world.say("mains 0")
    world.say("battery 20")
    now = world.until(lambda now: now["paused"] == [AI] and now["profile"] == "power-saver", "the saver")
    assert now["rules"]["saver"]["is_active"] and not now["rules"]["cold"]["is_active"]
    assert world.say("profile") == "low-power"
    assert world.host.loop("secondary.ai")["state"] == "stopped"
    world.say("battery 31")
    world.until(lambda now: now["sample"]["percent"] == 31, "within the hysteresis")
    assert world.ask("look")["rules"]["saver"]["is_active"]
    world.say("mains 1")
    world.until(lambda now: now["paused"] == [] and now["profile"] is None, "the end of it")
    assert world.say("profile") == "balanced" and world.host.loop("secondary.ai")["state"] == "active"
    told = [(one["what"], one["how"]) for one in world.ask("history")]
    assert ("profile power-saver", "done") in told and (f"resume {AI}", "done") in told


def test_a_flapping_mains_does_not_flap_the_profile(world: World) -> None:
    world.say("battery 20")
    before = len(world.ask("history", 200))
    for number in range(40):
        world.say(f"mains {number % 2}")
    world.say("mains 1")
    world.until(lambda now: not now["rules"]["saver"]["is_active"], "mains")
    assert len([one for one in world.ask("history", 200)[before:] if one["rule"] == "saver"]) <= 6


def test_a_daemon_that_is_away_or_slow_is_said_and_nothing_is_done(world: World) -> None:
    world.say("freeze upowerd")
    now = world.until(lambda now: "did not answer" in now["sources"]["upowerd"], "a slow daemon")
    assert not now["rules"]["saver"]["is_active"]
    world.say("thaw upowerd")
    world.until(lambda now: now["sources"]["upowerd"] == "answers", "the daemon")
    world.say("stop upowerd")
    world.until(lambda now: "does not run" in now["sources"]["upowerd"], "no daemon")
    world.say("start upowerd")
    world.until(lambda now: now["sources"]["upowerd"] == "answers", "another daemon")


def test_a_ups_says_that_it_is_low(world: World) -> None:
    world.until(lambda now: now["sources"]["ups"] == "answers" and now["sample"]["ups_low"] is False, "the UPS")
    world.ups.write_text("ups.status: OB LB\nbattery.charge: 4\n")
    world.until(lambda now: now["sample"]["ups_low"] and now["rules"]["ups"]["is_active"], "a low UPS")
    world.ups.write_text("ups.status: OL\nbattery.charge: 90\n")
    world.until(lambda now: now["sample"]["ups_low"] is False, "a full one")


def test_an_override_survives_a_kill(world: World) -> None:
    world.ask("override", "saver", True, 600)
    assert world.until(lambda now: now["paused"] == [AI], "the override")["rules"]["saver"]["override_s"] > 500
    before = world.host.kill("forth.policy")
    world.host.until(lambda document: world.host.loop("forth.policy")["pid"] not in (None, before), "another process")
    world.host.until(lambda document: world.host.loop("forth.policy")["state"] == "active", "the next one")
    now = world.until(lambda now: now["rules"]["saver"]["is_active"] and now["paused"] == [AI], "the same override")
    world.until(lambda now: now["sources"]["upowerd"] == "answers", "the bus")
    assert now["rules"]["saver"]["override_s"] > 500
    world.ask("release", "saver")
    world.until(lambda now: now["paused"] == [] and now["profile"] is None, "the end of it")
    assert world.host.loop("secondary.ai")["state"] == "active"


def test_a_dry_run_says_what_would_be_done_and_does_nothing(world: World) -> None:
    before = world.ask("history", 200)
    samples = [{"at_s": at, "on_battery": True, "percent": 4} for at in (0, 10, 4000)]
    said = world.ask("dry_run", samples)
    assert [(one["at_s"], one["once"]) for one in said] == [(0, ["notify"]), (4000, ["power_off"])]
    assert said[1]["active"] == ["saver", "cold"] and said[0]["paused"] == [AI]
    assert world.ask("history", 200) == before and world.host.loop("secondary.ai")["state"] == "active"


def test_a_code_is_its_callers_and_without_logind_one_sentence_is_said(world: World) -> None:
    asked = world.ask("request", "power_off")
    other = world.host.client("other")
    with pytest.raises(NotFound, match="of yours"):
        other.call(POLICY, "confirm", asked["code"])
    with pytest.raises(Denied):
        world.ask("confirm", "x")
    with pytest.raises(Unavailable, match="does not run"):
        world.ask("confirm", asked["code"])
    with pytest.raises(NotFound):
        world.ask("confirm", asked["code"])


def test_who_pretends_to_be_upowerd_is_not_asked(world: World) -> None:
    """A signal of another peer is no value, and the name belongs to who has it."""
    script = (
        "import asyncio\n"
        "from dbus_fast import Message, MessageType, Variant\n"
        "from dbus_fast.aio import MessageBus\n"
        "async def main():\n"
        f"    bus = await MessageBus(bus_address='unix:path={world.ups.parent.parent / 'bus.sock'}').connect()\n"
        f"    reply = await bus.request_name('{UPOWER}')\n"
        "    for number in range(50):\n"
        "        await bus.send(Message(message_type=MessageType.SIGNAL, path='/org/freedesktop/UPower',\n"
        f"            interface='{PROPERTIES}', member='PropertiesChanged', signature='sa{{sv}}as',\n"
        "            body=['x', {'OnBattery': Variant('b', True), 'Percentage': Variant('d', 1.0)}, []]))\n"
        "    print(reply.name)\n"
        "asyncio.run(main())\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert said.stdout.strip() in ("IN_QUEUE", "EXISTS")
    now = world.ask("look")
    assert now["sample"]["on_battery"] is False and now["sample"]["percent"] == 20
