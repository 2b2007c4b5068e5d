"""Status: the document, its table, and the console's lines. All pure but for the gauges."""

from __future__ import annotations

import io
import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.children import FakeChildren

from tlsrt.channels.control.health import HealthOutcome, Readiness
from tlsrt.channels.control.life import LoopState
from tlsrt.config.components import ComponentConfig, HealthConfig, LoopConfig
from tlsrt.config.door import DoorConfig
from tlsrt.config.schema import Config, KeySource
from tlsrt.supervisor.cli.status import status_lines, wide_lines
from tlsrt.supervisor.control.status_document import Document, StatusInput, document
from tlsrt.supervisor.process.children import Sandbox
from tlsrt.supervisor.process.console import TerminalConsole
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.exit_reason import Cause, Death
from tlsrt.supervisor.process.instance_lock import host_pid
from tlsrt.supervisor.process.proc import age_s, memory_kib, parent_host_pid
from tlsrt.supervisor.process.spawn import SpawnedChild
from tlsrt.supervisor.process.unkillable import UnkillableProcess
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context, Reloadable
from tlsrt.supervisor.supervision.feature import Features
from tlsrt.supervisor.supervision.heartbeat import Health, HeartbeatMonitor, HeartbeatStatus
from tlsrt.supervisor.supervision.loop import Beat, Checked, ComponentState, Loop
from tlsrt.supervisor.supervision.violations import ViolationRecord
from tlsrt.text import duration, sentence

SILENT = {"ready": None, "tasks": 0, "task_restarts": 0}
NOTHING = Path("/nonexistent")
DIGEST = bytes.fromhex("0123456789abcdef" * 4)
CONFIG = Config(
    path=NOTHING,
    install_id=bytes(16),
    master_key=KeySource("file", NOTHING),
    boot_token=NOTHING,
    measure="strict",
    state_dir=NOTHING,
    run_dir=NOTHING,
    log_dir=NOTHING,
    door=DoorConfig("::1", 7443, NOTHING, NOTHING, NOTHING),
    loops=(LoopConfig("primary"), LoopConfig("third")),
    components=(),
    policy=(),
    clients=(),
)


def make_office() -> AuthorityProcess:
    event_loop = EventLoop()
    context = Context(Reloadable(CONFIG, FakeChildren()), event_loop, TerminalConsole(io.StringIO()), -1)
    authority = AuthorityProcess(context, -1, bytes(16), -1, HeartbeatMonitor(), "", (), Features())
    event_loop.close()
    authority.process.child = SpawnedChild(2, -1, 1002)
    authority.spawned_at = 90.0
    authority.epoch = 5
    authority.sessions = {"third": 4}
    authority.reports.booted(["from the authority"])
    return authority


def make_document(**changes: Any) -> Document:
    primary = Loop(CONFIG.loops[0], 0, -1, "primary.log", state=LoopState.ACTIVE, incarnation=1, spawned_at=90.0)
    primary.process.child = SpawnedChild(3, -1, 1003)
    primary.process.beat = Beat(1, 2500, 2, 999, 10, 20, 3, 2, 5)
    third = Loop(CONFIG.loops[1], 1, -1, "third.log", state=LoopState.BACKOFF, incarnation=7, restarts=6)
    third.last_death = Death(Cause.SIGNAL, "signal SIGKILL", 6, 1700000000.25, signal="SIGKILL")
    for name, value in changes.pop("primary", {}).items():
        setattr(primary if hasattr(primary, name) else primary.process, name, value)
    components, heartbeats = changes.pop("components", ()), changes.pop("heartbeats", None)
    config = replace(CONFIG, components=components)
    view = StatusInput(100.0, 40.0, 1001, True, "ab" * 16, False, ["a waived layer"], "memory by rlimits", **changes)
    sandbox = Sandbox(
        ("uid", "no_new_privs"), {"net_namespace": "no netns here"}, digest=DIGEST, group="/tlsrt-1/x",
        limits={"memory": "rlimit"},
    )  # fmt: skip
    return document(
        view,
        config,
        make_office(),
        [primary, third],
        dict.fromkeys(("authority", "primary", "third"), sandbox),
        {"primary": 20480, "authority": None},
        heartbeats or {"primary": HeartbeatStatus(Health.SUSPECT, 5.432, 1.25), "third": None},
        {"third": ViolationRecord(2, "execve(1): nobody may call that")},
    )


def test_the_document_has_what_is_promised() -> None:
    found = make_document()
    assert found["supervisor"] == {
        "pid": 1001, "uptime_s": 60.0, "rootless": True, "boot": "ab" * 16, "stopping": False, "fork_server": None,
        "spare_fork_server": None,
    }  # fmt: skip
    assert found["authority"]["pid"] == 1002
    assert found["authority"]["state"] == "booting"
    assert found["door"] == {"host": "::1", "port": 7443, "locked": False}
    assert found["warnings"] == ["a waived layer", "from the authority"]
    primary, third = found["loops"]
    assert primary == {
        "name": "primary", "state": "active", "pid": 1003, "incarnation": 1, "uptime_s": 10.0, "restarts": 0,
        "sessions": 2, "frames": {"in": 10, "out": 20, "refused": 3}, "lateness_ms": 2.5, "queue": 2,
        "health": "suspect", "phi": 5.43, "beat_age_s": 1.25, "memory_kib": 20480, "components": [],
        "sandbox": {
            "layers": ["uid", "no_new_privs"], "waived": {"net_namespace": "no netns here"}, "cgroup": "/tlsrt-1/x",
            "profile": DIGEST.hex(), "limits": {"memory": "rlimit"},
        },
        "epoch": 5, "stuck": None, "disk_wait": None, "last_death": None, "violations": 0, "threads": None,
        "devices": [], "programs": [], "last_violation": None, "egress_wanted": [], "anomaly": 0,
    }  # fmt: skip
    assert third["pid"] is None
    assert third["uptime_s"] is None
    assert third["sessions"] == 4  # the authority's word, not the loop's
    assert third["last_death"] == {
        "cause": "signal", "sentence": "signal SIGKILL", "signal": "SIGKILL", "at": "2023-11-14T22:13:20.250+00:00",
        "incarnation": 6,
    }  # fmt: skip
    assert (third["violations"], third["last_violation"], third["anomaly"]) == (2, "execve(1): nobody may call that", 0)
    assert json.loads(json.dumps(found)) == found


def test_the_table_shows_what_matters_within_80_columns() -> None:
    lines = status_lines(make_document())
    assert lines[1].startswith("not all is well: authority is booting, third is backoff")
    assert lines[2].split() == ["LOOP", "STATE", "PID", "UPTIME", "RESTARTS", "SESSIONS", "MEMORY", "HEALTH"]
    assert max(map(len, lines[2:6])) <= 80


def test_the_wide_table_shows_the_same_in_columns() -> None:
    lines = wide_lines(make_document())
    assert lines[0] == "tlsrt  pid 1001, up 1 min 0 s, door tls://[::1]:7443, rootless"
    header, authority, primary, third = (line.split() for line in lines[2:6])
    assert header[:6] == ["LOOP", "STATE", "PID", "UPTIME", "RESTARTS", "SESSIONS"]
    assert authority[:3] == ["authority", "booting", "1002"]
    assert primary[:5] == ["primary", "active", "1003", "10.0", "s"]
    assert "20.0 MiB" in lines[4]
    assert "2 layers, 1 waived" in lines[4]
    assert third[:4] == ["third", "backoff", "-", "-"]
    assert [header[-2:], primary[-2:]] == [["PROFILE", "EPOCH"], ["01234567", "5"]]
    assert lines[7:] == [
        "epoch 5 in every loop, under the profiles of the configuration", "limits: memory by rlimits", "",
        "2 violations of third, anomaly score 0, the last: execve(1): nobody may call that", "",
        "last death of third: signal SIGKILL", "", "warning: a waived layer", "warning: from the authority",
    ]  # fmt: skip
    assert len({line.index("STATE") for line in lines[2:3]} | {line.index("active") for line in lines[4:5]}) == 1


def test_it_says_whether_all_are_in_one_epoch_under_one_configuration() -> None:
    assert make_document()["boundary"] == {"epoch": 5, "equal": True, "behind": [], "changing": False}
    late = make_document(primary={"beat": Beat(1, 0, 0, 0, 0, 0, 0, 0, 4)})
    assert late["boundary"] == {"epoch": 5, "equal": False, "behind": ["primary"], "changing": False}
    assert "epoch 5, not yet in every loop: primary" in status_lines(late)
    old = make_document(children=object())
    assert old["boundary"]["behind"] == ["primary"], "it lives under a profile that is not in force any more"
    assert "epoch 5: a change of profiles is under way" in status_lines(make_document(changing=True))


def test_components_are_shown_with_their_health_and_those_that_are_not_well_in_lines() -> None:
    shown = HealthConfig(then="none")
    components = (
        ComponentConfig("primary", "kernel", "a:B", health=shown),
        ComponentConfig("primary", "notes", "a:B"),
        ComponentConfig("primary", "new", "a:B"),
    )
    checked = {0: Checked(HealthOutcome.TIMED_OUT, 2, 97.5), 1: Checked(HealthOutcome.FAILED, 1, 99.0)}
    found = make_document(primary={"checked": checked}, components=components)
    assert found["loops"][0]["components"] == [
        {"name": "kernel", "health": "silent", "fails": 2, "checked_s": 2.5, "then": "none", "after": 3, **SILENT},
        {"name": "notes", "health": "failing", "fails": 1, "checked_s": 1.0, "then": "restart", "after": 3, **SILENT},
        {"name": "new", "health": "unchecked", "fails": 0, "checked_s": None, "then": "restart", "after": 3, **SILENT},
    ]
    lines = status_lines(found)
    down = {"name": "primary.notes/main", "is_down": True, "last": "#4: with status 1"}
    lines += status_lines(make_document(programs=lambda process: [down] if process == "primary" else []))
    assert "primary.notes/main does not run; its last end: #4: with status 1; see the log of primary" in lines
    assert "primary/kernel is silent: 2 checks in a row failed, see the log of primary" in lines
    assert (
        "primary/notes is failing: 1 check in a row failed, after 3 its loop is started again, see the log of primary"
        in lines
    )


def test_who_is_stuck_in_the_kernel_is_said() -> None:
    found = make_document(
        stuck=lambda name: UnkillableProcess(88.0, "D in folio_wait_bit") if name == "third" else None
    )
    assert [entry["stuck"] for entry in found["loops"]] == [None, {"where": "D in folio_wait_bit", "for_s": 12.0}]
    line = "third is stuck in the kernel (D in folio_wait_bit): killed 12.0 s ago, restarted as soon as it has exited"
    assert line in status_lines(found)


def test_a_suspicion_without_end_is_a_number_all_the_same() -> None:
    found = make_document(heartbeats={"primary": HeartbeatStatus(Health.DEAD, math.inf, 2.0)})
    assert (found["loops"][0]["health"], found["loops"][0]["phi"]) == ("dead", 99.0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 0 s"), (3661, "1 h 1 min"), (90000, "1 d 1 h"), (1e7, "115 d 17 h")],
)
def test_a_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colours_are_for_people_only(stream: io.StringIO, environment: dict[str, str], coloured: bool) -> None:
    console = TerminalConsole(stream, environment)
    console.good("primary", "active", "pid 1")
    console.bad("third", "died", "signal")
    console.warning("supervisor", "careful")
    assert ("\x1b[" in stream.getvalue()) is coloured
    assert len(stream.getvalue().splitlines()) == 3


def test_a_line_cannot_steer_a_terminal() -> None:
    assert sentence("a\x1b[2Jb\r\x07c\nd") == r"a\x1b[2Jb\r\x07c; d"


def test_a_console_whose_reader_is_gone_or_stuck_stops_nobody() -> None:
    reading, writing = os.pipe()
    with open(writing, "w") as stream:
        console = TerminalConsole(stream, {})
        for _ in range(200):
            console.plain("third", "died", "x" * 900)  # far more than a pipe takes
        taken = os.read(reading, 1 << 20)
        assert 30_000 < len(taken) < 180_000
        console.plain("third", "active")
        assert os.read(reading, 1 << 20) == b"third         active\n"
        os.close(reading)
        console.plain("third", "died", "to nobody")


def test_gauges_read_this_process() -> None:
    memory = memory_kib(host_pid())
    assert memory is not None
    assert 1000 < memory < 10_000_000
    assert 0 < age_s(host_pid()) < 3600 * 24
    assert parent_host_pid() == os.getppid()


def test_gauges_of_nobody_are_unknown() -> None:
    assert memory_kib(0) is None
    assert age_s(0) == 0.0


def test_a_component_that_says_so_is_shown_as_not_ready() -> None:
    components = (ComponentConfig("primary", "kernel", "a:B"), ComponentConfig("primary", "notes", "a:B"))
    states = {0: ComponentState(Readiness.NOT_READY, 3, 2), 1: ComponentState(Readiness.READY)}
    found = make_document(primary={"components": states}, components=components)
    assert [(one["ready"], one["tasks"], one["task_restarts"]) for one in found["loops"][0]["components"]] == [
        (False, 3, 2), (True, 0, 0),
    ]  # fmt: skip
    assert "primary/kernel is not ready, see the log of primary" in status_lines(found)
