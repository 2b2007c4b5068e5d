"""The component on a tree of /sys that the test makes, without D-Bus and without a UPS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tlsrt.errors import ConfigError, InvalidArgument, NotFound, Unavailable
from tlsrt.loops.forth.policy import HISTORY, Policy
from tlsrt.testing import SynchronousComponent, running_sync

RULES = {
    "saver": {"on_battery": True, "below": 30, "then": ["pause secondary/ai", "profile power-saver", "notify"]},
    "hot": {"temperature_above": 80, "then": ["notify"]},
}


@pytest.fixture
def sys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "BAT0/type": "Battery",
        "BAT0/capacity": "50",
        "BAT0/status": "Discharging",
        "AC/type": "Mains",
        "AC/online": "0",
    }
    for name, text in files.items():
        file = tmp_path / "class/power_supply" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    monkeypatch.setattr(Policy, "sys", tmp_path)
    (tmp_path / "state").mkdir()
    return tmp_path / "class/power_supply"


@pytest.fixture
def policy(sys: Path, tmp_path: Path) -> Iterator[SynchronousComponent]:
    options: dict[str, Any] = {"rules": RULES, "sample_s": 3600}
    with running_sync(Policy, options=options, needs={"state_mb": 4}, state=tmp_path / "state") as running:
        yield running


def test_it_reads_sys_and_says_what_it_cannot_do_once(policy: SynchronousComponent, sys: Path) -> None:
    assert policy.call("look")["sample"] == {"on_battery": True, "percent": 50.0, "celsius": None, "ups_low": None}
    (sys / "BAT0/capacity").write_text("20\n")
    for _ in range(3):
        now = policy.call("look")
    assert now["rules"]["saver"]["is_active"] and now["paused"] == [] and now["profile"] is None
    told = {one["what"]: one["how"] for one in policy.call("history")}
    assert "needs: runtime" in told["pause secondary/ai"] and "the option `dbus`" in told["profile power-saver"]
    assert [one["what"] for one in policy.call("history")].count("pause secondary/ai") == 1
    assert told["notify"] == "done"


def test_a_lying_file_is_not_known(policy: SynchronousComponent, sys: Path) -> None:
    for text in ("300", "-5", "many", ""):
        (sys / "BAT0/capacity").write_text(f"{text}\n")
        assert policy.call("look")["sample"]["percent"] is None
    assert not policy.call("status")["rules"]["saver"]["is_active"]


def test_an_override_is_kept_and_ends(policy: SynchronousComponent) -> None:
    assert policy.call("override", "hot", True, 60)["rules"]["hot"]["override_s"] > 59
    assert policy.call("release", "hot")["rules"]["hot"]["is_active"], "for its dwell"
    with pytest.raises(NotFound, match="saver, hot"):
        policy.call("override", "cold", True)
    with pytest.raises(InvalidArgument):
        policy.call("override", "hot", True, 10**9)


def test_the_machine_is_ended_by_logind_only(policy: SynchronousComponent) -> None:
    with pytest.raises(Unavailable, match="the option `dbus`"):
        policy.call("request", "power_off")
    with pytest.raises(NotFound):
        policy.call("confirm", "12345678")


def test_history_is_bounded(policy: SynchronousComponent) -> None:
    for number in range(HISTORY):
        policy.call("override", "hot", number % 2 == 0)
    assert len(policy.call("history", HISTORY)) == HISTORY


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rules": {}}, "name 1 to"),
        ({"rules": {"a": {"then": ["notify"]}}}, "write a condition"),
        ({"rules": {"a": {"on_battery": True, "then": ["explode"]}}}, "there are: profile"),
        ({"rules": RULES, "ups": "rack"}, "NAME@HOST"),
    ],
)
def test_a_wrong_option_is_a_sentence(sys: Path, tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with (
        pytest.raises(ConfigError, match=says),
        running_sync(Policy, options=options, needs={"state_mb": 4}, state=tmp_path / "state"),
    ):
        pass
