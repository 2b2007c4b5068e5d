"""Attacked sentences: who is granted a setting or device gets no other; a captured helper reaches nothing else."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attackers.arena import PACKAGE
from attackers.helper_attacks import INSIDE, ends_for_asking, tried_in
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost, running
from probes.process_memory import found_in

from tlsrt.channels.control.life import SETTINGS_AT_ONCE, SETTINGS_PER_S, AskWhat
from tlsrt.errors import CallError

CAPTURED, NEIGHBOUR, KERNELS, PROGRAMS = "third/helped", "forth/other", "third/kernels", "forth/programs"
STAT, SWAP = Path("/proc/sys/vm/stat_interval"), Path("/proc/sys/vm/swappiness")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="settings of the kernel and devices are root's")
# What code in the helper tries, after its seal. What it gets of each is one line of its log.
CAPTURING = """
import tlsrt.supervisor.helper.main as helper
_write, _about = helper.ACTIONS["write"]

def _captured(message, place):
    if message.value == 2:
        say_tried({
            "opened": errnos_of_opening(PATHS), "root": errno_of(lambda: os.listdir("/")),
            "processes": errno_of(lambda: os.listdir("/proc")),
        })
    if message.value == 3:
        socket.socket(socket.AF_INET)
    return _write(message, place)

helper.ACTIONS["write"] = (_captured, _about)
"""


def _paths() -> list[tuple[str, int]]:
    return [
        ("/etc/passwd", os.O_RDONLY), ("/etc/shadow", os.O_RDONLY), ("/tmp", os.O_RDONLY), ("/run", os.O_RDONLY),
        (str(STAT), os.O_WRONLY), (str(SWAP), os.O_WRONLY), ("/sys/kernel/uevent_helper", os.O_WRONLY),
        ("/dev/mem", os.O_RDWR), ("/dev/tty", os.O_RDWR), ("/dev/pts/0", os.O_RDWR), ("/proc/1/mem", os.O_RDWR),
        ("/proc/sysrq-trigger", os.O_WRONLY), ("/proc/self/oom_score_adj", os.O_WRONLY), ("/state", os.O_RDONLY),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    before = STAT.read_text()
    stat = {"name": "stat", "path": str(STAT), "values": "1-3", "why": "a test"}
    swap = {"name": "swap", "path": str(SWAP), "values": SWAP.read_text().strip(), "why": "a test"}
    log = {"kind": "kernel_log", "prefixes": ["tlsrt-test ", "tlsrt-last"], "level": "warning", "why": "a test"}
    one = {"class": "captured.helped:Helped"}
    hears = {"class": "captured.helped:Helped", "options": {"hears_log": True}}
    yield from running(
        request, packages=[PACKAGE], prelude=LatePrelude(f"PATHS = {_paths()}\n{INSIDE}{CAPTURING}"),
        components={CAPTURED: one | {"needs": {"settings": [stat]}}, NEIGHBOUR: one | {"needs": {"settings": [swap]}},
                    KERNELS: hears | {"needs": {"events": [log]}},
                    PROGRAMS: hears | {"needs": {"events": [log | {"programs": True}]}}},
        policy={f"client/admin -> {one}": "*" for one in (CAPTURED, NEIGHBOUR, KERNELS, PROGRAMS)},
    )  # fmt: skip
    STAT.write_text(before)


@pytest.mark.parametrize(
    ("what", "grant", "value", "word"),
    [
        (AskWhat.SET, 0, 4, "setting_out_of_range"),
        (AskWhat.SET, 1, 1, "no_such_setting"),
        (AskWhat.SET, 2**63, 1, "no_such_setting"),
        (AskWhat.DEVICE_LOST, 0, 0, "no_such_device"),
        (9, 0, 0, "asks_for_nothing"),
    ],
)
def test_what_is_not_granted_ends_the_process_and_changes_nothing(
    host: RunningHost, what: int, grant: int, value: int, word: str
) -> None:
    settings, neighbour = (STAT.read_text(), SWAP.read_text()), host.loop("forth.other")["pid"]
    assert word in ends_for_asking(host, CAPTURED, what, grant, value)
    assert (STAT.read_text(), SWAP.read_text()) == settings and host.loop("forth.other")["pid"] == neighbour


def test_a_flood_is_bounded_and_no_neighbour_waits(host: RunningHost) -> None:
    client, helper = host.client(), host.status()["helper"]["pid"]
    written, began = len(_written(host)), time.monotonic()
    host.until(lambda document: host.loop("third.helped")["state"] == "active", "the captured one")
    assert client.call(CAPTURED, "ask", int(AskWhat.SET), 0, 1, 40) == "sent"
    assert client.call(NEIGHBOUR, "write_setting", "swap", int(SWAP.read_text())) == "done"
    assert host.status()["helper"]["pid"] == helper
    most = SETTINGS_AT_ONCE + SETTINGS_PER_S * (time.monotonic() - began) + 1  # one is the neighbour's
    assert len(_written(host)) - written <= min(most, 40)


def test_code_in_the_helper_reaches_nothing(host: RunningHost) -> None:
    assert host.client().call(CAPTURED, "write_setting", "stat", 2) == "done"
    tried = tried_in(host, "helper")
    assert 0 not in tried["opened"].values() and tried["root"] and tried["processes"], tried
    folder = Path(f"/proc/{host.status()['helper']['pid']}")
    capabilities = [line.split()[1] for line in (folder / "status").read_text().splitlines() if line.startswith("Cap")]
    assert [int(one, 16) for one in capabilities] == [0] * 5
    held = [os.readlink(one) for one in (folder / "fd").iterdir()]
    known = (
        str(host.config.log_dir / "helper.log"), str(host.config.state_dir / "lock"), "/dev/null", "/dev/kmsg",
    )  # fmt: skip
    assert [one for one in held if one not in known and not one.startswith("socket:")] == [], held


def test_a_captured_helper_that_wants_a_network_is_killed_and_another_comes(host: RunningHost) -> None:
    before = host.status()["helper"]
    with pytest.raises(CallError):
        host.client().call(CAPTURED, "write_setting", "stat", 3)
    host.until(lambda document: document["helper"]["restarts"] > before["restarts"], "its end")
    assert "violation" in host.status()["helper"]["last_death"]["sentence"] and STAT.read_text() != "3\n"
    host.until(lambda document: document["helper"]["state"] == "active", "the next one")
    assert host.client().call(CAPTURED, "write_setting", "stat", 1) == "done"


def test_no_record_passes_the_filter_by_its_words(host: RunningHost) -> None:
    """The whole log is a leak: what comes through begins as the grant says, is as grave, and from whom it says."""
    client = host.client()
    for text in (
        "<4>other words", "<4>x tlsrt-test in the middle", "<6>tlsrt-test not grave enough",
        "<4>a\n4,1,1,-;tlsrt-test a second line", "<4>\x1btlsrt-test behind an escape", "<4>tlsrt-test",
        "<4>tlsrt-last",
    ):  # fmt: skip
        Path("/dev/kmsg").write_text(f"{text}\n")
    told: list[str] = []

    def has_last(document: object) -> bool:
        told[:] = [text for _, (text, *_) in client.call(PROGRAMS, "what_was_told")]
        return "tlsrt-last" in told

    host.until(has_last, "the last record")
    assert told == ["tlsrt-last"]
    assert client.call(KERNELS, "what_was_told") == [], "programs say nothing in the kernel's name"


def test_no_component_opens_the_log_or_a_trigger(host: RunningHost) -> None:
    for path in ("/dev/kmsg", "/proc/kmsg", "/proc/pressure/memory"):
        assert host.client().call(KERNELS, "open_it", path) in (errno.ENOENT, errno.EACCES)


def test_the_helper_holds_no_key(host: RunningHost) -> None:
    keys = {"master key": (host.folder / "master.key").read_bytes(), "CA key": (host.folder / "ca.key").read_bytes()}
    assert found_in(host.status()["helper"]["pid"], keys) == set()


def _written(host: RunningHost) -> list[str]:
    return [line for line in host.cli("events", "--json").stdout.splitlines() if "setting_written" in line]
