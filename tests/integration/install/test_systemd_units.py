"""secondary/services against a real systemd with its bus and polkit: listed units, jobs, and what stays closed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from typing import Any

import pytest
from hosts.booted_services import CONFIG, booted_services, call
from hosts.booted_systemd import HOME, BootedSystemd

from tlsrt.loops.secondary.unit_rules import OUTPUT_MOST

pytestmark = pytest.mark.once

SERVICES, PROCESS = "secondary/services", "secondary.services"
DROP_IN = "/etc/tlsrt/components.d/secondary.services.yaml"
RULES = "/etc/polkit-1/rules.d/50-tlsrt-services.rules"
OPTIONS: dict[str, dict[str, Any]] = {
    "units": {
        "lamp.service": {"actions": ["start", "stop", "restart", "reload", "enable", "disable"]},
        "broken.service": {"actions": ["start"]},
        "seen.service": {},
        "absent.service": {"actions": ["start"]},
        "other.service": {"actions": ["start", "stop", "enable"]},
        "room@.service": {"actions": ["start", "stop", "enable"], "instances": "[a-z]{1,8}"},
    },
    "jobs": {
        "add": {"argv": ["/usr/bin/expr"], "words": ["[0-9]{1,4}", "[+]", "[0-9]{1,4}"], "seconds": 20},
        "tell": {"argv": ["/bin/sh", "-c", "echo $1 50% > /etc/told; id -u; ls /home; test $1 = yes", "sh"],
                 "words": ["[a-z]+"], "seconds": 20},
        "long": {"argv": ["/usr/bin/sleep", "60"], "seconds": 1},
        "many": {"argv": ["/usr/bin/seq", "2000"]},
    },
}  # fmt: skip
LONG = "[Service]\nExecStart=/usr/bin/sleep 900\nExecReload=/usr/bin/true\n[Install]\nWantedBy=basic.target\n"
UNITS = {
    "lamp": LONG, "seen": LONG, "secret": LONG, "room@": LONG,
    "broken": "[Service]\nType=oneshot\nExecStart=/bin/false\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[BootedSystemd]:
    for made in booted_services(request):
        for name, text in UNITS.items():
            made.write(f"/run/systemd/system/{name}.service", text)
        made.do("ln", "-s", "secret.service", "/run/systemd/system/other.service")
        added = made.run("tlsrt-supervisor", "--config", CONFIG, "component", "add", SERVICES, "--yes", "--option",
                         f"units={json.dumps(OPTIONS['units'])}", "--option", f"jobs={json.dumps(OPTIONS['jobs'])}",
                         "--allow", 'client/admin: "*"')  # fmt: skip
        assert added.returncode == 0, added.stdout + added.stderr
        setup = (f"{HOME}/env/bin/python", "-m", "tlsrt.loops.secondary.unit_setup", DROP_IN)
        made.write(RULES, made.do(*setup, "polkit"))
        for name in ("enable", "disable", "output"):
            made.write(f"/etc/systemd/system/tlsrt-{name}@.service", made.do(*setup, name))
        for name in OPTIONS["jobs"]:
            made.write(f"/etc/systemd/system/tlsrt-job-{name}@.service", made.do(*setup, "job", name))
        made.systemctl("daemon-reload")
        made.systemctl("start", "tlsrt")
        answers(made)
        yield made


def answers(machine: BootedSystemd) -> None:
    said: list[Any] = []

    def answered() -> bool:
        said.append(call(machine, SERVICES, "list"))
        return isinstance(said[-1], list)

    def reason() -> str:
        status = machine.run("tlsrt-supervisor", "--config", CONFIG, "status").stdout
        return f"{said[-1]}\n{status}"

    machine.until(answered, "an answer of the service", said=reason)


def test_units_are_listed_switched_and_shown(machine: BootedSystemd) -> None:
    rows = {row["unit"]: row for row in call(machine, SERVICES, "list")}
    assert rows["lamp.service"]["active"] == "inactive" and rows["absent.service"]["load"] == "not-found"
    assert rows["absent.service"]["active"] is None and "secret.service" not in rows
    started = call(machine, SERVICES, "start_unit", "lamp.service")
    assert started["active"] == "active" and started["sub"] == "running" and started["restarts"] == 0
    assert str(started["main_pid"]) == machine.show("lamp", "MainPID") and started["memory_bytes"] != 0
    assert call(machine, SERVICES, "reload_unit", "lamp.service")["active"] == "active"
    again = call(machine, SERVICES, "restart_unit", "lamp.service")
    assert again["main_pid"] != started["main_pid"] and again["since_wall_ms"] >= started["since_wall_ms"]
    stopped = call(machine, SERVICES, "stop_unit", "lamp.service")
    assert stopped["active"] == "inactive" and stopped["main_pid"] is None


def test_what_fails_is_said_in_one_sentence(machine: BootedSystemd) -> None:
    assert "start of broken.service ended with failed" in call(machine, SERVICES, "start_unit", "broken.service")
    assert call(machine, SERVICES, "status", "broken.service")["exit_status"] == 1
    assert "systemd has no absent.service" in call(machine, SERVICES, "start_unit", "absent.service")


def test_nothing_leads_around_the_list(machine: BootedSystemd) -> None:
    for unit in ("secret.service", "lamp", "room@.service", "room@../x.service", "room@A.service", "room@a\nb.service",
                 "lamp.service\n", "../lamp.service", "dev-null.device", "room@ab.timer"):  # fmt: skip
        said = call(machine, SERVICES, "start_unit", unit)
        assert isinstance(said, str) and "is listed here; `list` shows those that are" in said, said
    assert "start of seen.service is not listed" in call(machine, SERVICES, "start_unit", "seen.service")
    assert "other.service is another name of secret.service" in call(machine, SERVICES, "start_unit", "other.service")
    assert machine.show("secret", "ActiveState") == machine.show("seen", "ActiveState") == "inactive"
    assert call(machine, SERVICES, "start_unit", "room@bath.service")["active"] == "active"
    assert "room@bath.service" in {row["unit"] for row in call(machine, SERVICES, "list")}
    assert call(machine, SERVICES, "stop_unit", "room@bath.service")["active"] == "inactive"


def test_a_job_runs_confined_and_ends_with_its_status(machine: BootedSystemd) -> None:
    done = call(machine, SERVICES, "run_job", "add", '["20", "+", "22"]')
    assert done["result"] == "success" and done["exit_status"] == 0 and done["output"] == "42\n", done
    said = [one["MESSAGE"] for one in machine.journal(f"_SYSTEMD_UNIT={done['unit']}")]
    assert said == ["42"]
    failed = call(machine, SERVICES, "run_job", "tell", '["no"]')
    assert failed["result"] == "exit-code" and failed["exit_status"] == 1
    assert "Read-only file system" in failed["output"], failed
    many = call(machine, SERVICES, "run_job", "many")["output"]
    assert many.endswith("1999\n2000\n") and 2800 < len(many) <= OUTPUT_MOST
    said = [one["MESSAGE"] for one in machine.journal(f"_SYSTEMD_UNIT={failed['unit']}", "_COMM=sh")]
    assert any("Read-only file system" in line for line in said), said
    assert not machine.path("/etc/told").exists()
    assert call(machine, SERVICES, "run_job", "long")["result"] == "timeout"
    for words in ('["20", "-", "22"]', '["20", "+", "22; id"]', '["20"]', '["20", "+", "22\\n"]', '["1", "+", "1 1"]'):
        said = call(machine, SERVICES, "run_job", "add", words)
        assert "word 2 of job add" in said or "word 3 of job add" in said or "takes 3 words" in said, said


def test_units_are_enabled_and_disabled_as_the_list_says(machine: BootedSystemd) -> None:
    link = machine.path("/etc/systemd/system/basic.target.wants/lamp.service")
    assert call(machine, SERVICES, "enable_unit", "lamp.service")["enabled"] == "enabled" and link.is_symlink()
    assert call(machine, SERVICES, "disable_unit", "lamp.service")["enabled"] == "disabled" and not link.is_symlink()
    assert call(machine, SERVICES, "enable_unit", "room@bath.service")["enabled"] == "enabled"
    for unit, says in {
        "seen.service": "enable of seen.service is not listed", "other.service": "another name of secret.service",
        "secret.service": "no unit 'secret.service'", "absent.service": "enable of absent.service is not listed",
    }.items():  # fmt: skip
        assert says in call(machine, SERVICES, "enable_unit", unit), unit
    assert not {"enabled", "linked"} & {*machine.run("systemctl", "is-enabled", "secret", "seen").stdout.split()}


def test_polkit_holds_a_captured_component_to_the_same(machine: BootedSystemd) -> None:
    """What the proxy would let pass: as the user of the component, straight on the bus."""
    user = machine.do("sh", "-c", "ls /run/userdb/*.user | xargs -n1 basename | grep services").strip()
    uid = json.loads(machine.path(f"/run/userdb/{user}").read_text())["uid"]

    def ask(*words: str) -> str:
        manager = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
        done = machine.run("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "busctl", "call", *manager,
                           *words)  # fmt: skip
        return "done" if done.returncode == 0 else done.stderr

    assert ask("StartUnit", "ss", "lamp.service", "replace") == "done"
    for words in (
        ("StartUnit", "ss", "secret.service", "replace"),
        ("StartUnit", "ss", "other.service", "replace"),  # by another name
        ("StartUnit", "ss", "seen.service", "replace"),
        ("StopUnit", "ss", "broken.service", "replace"),
        ("KillUnit", "ssi", "lamp.service", "all", "9"),
        ("SetUnitProperties", "sba(sv)", "lamp.service", "true", "1", "TasksMax", "t", "1"),
        ("StartUnit", "ss", "tlsrt-job-add@1\\x20\\x2b\\x20x.service", "replace"),
        ("StartUnit", "ss", "tlsrt-job-add@1\\x20\\x2b\\x201\\x0a1.service", "replace"),
        ("StartUnit", "ss", "tlsrt-job-tell@-etc.service", "replace"),
        ("StopUnit", "ss", "tlsrt-job-long@none.service", "replace"),
        ("StartTransientUnit", "ssa(sv)a(sa(sv))", "x.service", "replace", "1", "ExecStart", "a(sasb)", "1",
         "/bin/true", "1", "/bin/true", "false", "0"),
        ("EnableUnitFiles", "asbb", "1", "lamp.service", "true", "false"),
        ("Reload",),
        ("StartUnit", "ss", "tlsrt-enable@secret.service.service", "replace"),
        ("StartUnit", "ss", "tlsrt-enable@-etc-x.service.service", "replace"),
        ("StartUnit", "ss", "tlsrt-enable@room@A.service.service", "replace"),
        ("StartUnit", "ss", "tlsrt-disable@room@a.service.service", "replace"),
        ("StopUnit", "ss", "tlsrt-enable@lamp.service.service", "replace"),
        ("StartUnit", "ss", "tlsrt-output@tlsrt.service", "replace"),
        ("RefUnit", "s", "basic.target"),
        ("SetEnvironment", "as", "1", "A=B"),
    ):  # fmt: skip
        assert "denied" in ask(*words).lower() or "authentication required" in ask(*words).lower(), words
    assert ask("StartUnit", "ss", "tlsrt-job-add@1\\x20\\x2b\\x201.service", "replace") == "done"
    assert machine.show("secret", "ActiveState") == "inactive"


WATCH = f"""
import sys
from tlsrt import Client
with Client("/etc/tlsrt/admin.tlsrt") as client:
    events = client.stream("{SERVICES}", "subscribe", "changed")
    print("watching", flush=True)
    for event in events:
        print(event["unit"], event["active"], flush=True)
        if event["unit"] == "room@end.service" and event["active"] == "active":
            break
"""


def test_changes_are_events_also_of_what_others_do(machine: BootedSystemd) -> None:
    machine.systemctl("stop", "lamp")
    with machine.popen(f"{HOME}/env/bin/python", "-c", WATCH) as watching:
        assert watching.stdout is not None and watching.stdout.readline() == "watching\n"
        machine.until(lambda: bool(machine.run("systemctl", "restart", "room@a").returncode == 0), "a start")
        for words in (
            ("start", "lamp", "secret"),
            ("stop", "lamp", "secret"),
            ("stop", "room@end"),
            ("start", "room@end"),
        ):
            machine.systemctl(*words)
        said = watching.communicate(timeout=60)[0].splitlines()
    assert "secret.service" not in " ".join(said)
    lamp = [line.split()[1] for line in said if line.startswith("lamp")]
    assert lamp[0] in ("activating", "active") and lamp[-1] == "inactive" and "active" in lamp


def test_it_says_that_the_bus_is_away_and_comes_back_with_it(machine: BootedSystemd) -> None:
    machine.systemctl("stop", "dbus.socket", "dbus.service")
    machine.until(lambda: "there is no org.freedesktop.systemd1" in str(call(machine, SERVICES, "list")), "its word")
    assert "it lists no components" in call(machine, SERVICES, "components")
    machine.systemctl("start", "dbus.socket", "dbus.service")
    answers(machine)


def test_figures(machine: BootedSystemd) -> None:
    script = (
        "import time, json\nfrom tlsrt import Client\nwith Client('/etc/tlsrt/admin.tlsrt') as client:\n"
        "    took = []\n    for _ in range(200):\n        at = time.perf_counter()\n"
        f"        client.call('{SERVICES}', 'status', 'lamp.service')\n"
        "        took.append((time.perf_counter() - at) * 1e3)\n"
        "print(json.dumps(took))"
    )
    took = sorted(json.loads(machine.do(f"{HOME}/env/bin/python", "-c", script)))
    print("status ms p50", round(statistics.median(took), 2), "p99", round(took[197], 2))
    document = json.loads(machine.do("tlsrt-supervisor", "status", "--json", "--config", CONFIG))
    pid = next(one for one in document["loops"] if one["name"] == PROCESS)["pid"]
    rollup = machine.do("cat", f"/proc/{pid}/smaps_rollup").splitlines()
    print([line for line in rollup if line.startswith(("Pss:", "Private_Dirty"))])
    assert machine.systemctl("is-active", "tlsrt").strip() == "active"
