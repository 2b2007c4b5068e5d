"""Readers of the kernel: pressure, load, posture, modules, drift; and the rate at which its log is passed on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes.machine_tree import tree
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.facts import kernel_posture as posture
from tlsrt.loops.facts.kernel import Rate
from tlsrt.loops.facts.kernel_texts import parse_load, parse_pressure, parse_stat, processor_seconds


def test_pressure_and_load() -> None:
    text = "some avg10=1.50 avg60=0.00 avg300=0.00 total=12\nfull avg10=x total=3\nfull avg10=0.25 total=y\n"
    shares = {"avg10_percent": 1.5, "avg60_percent": 0.0, "avg300_percent": 0.0}
    assert parse_pressure(text) == {"some": {**shares, "total_us": 12}}
    assert parse_pressure("") is None and parse_pressure(None) is None
    assert parse_load("0.5 1 2 3/40 9") == {
        "load_1m": 0.5, "load_5m": 1.0, "load_15m": 2.0, "runnable_tasks": 3, "tasks": 40,
    }  # fmt: skip
    for wrong in (None, "", "1 2 3", "1 2 3 4", "a 2 3 4/5", "1 2 3 x/5"):
        assert parse_load(wrong) is None


def test_stat() -> None:
    ticks, found = parse_stat("cpu  100 0 50\ncpu0 1 2 3\nbtime 1000\nintr 7 1\nx\n\n")
    assert (ticks, found) == ([100, 0, 50], {"cpu0": 1, "btime": 1000, "intr": 7})
    assert processor_seconds(ticks, 100) == {"user": 1.0, "nice": 0.0, "system": 0.5}
    assert processor_seconds([], 100) is None


@given(st.text())
def test_no_text_of_the_kernel_is_an_error(text: str) -> None:
    parse_pressure(text)
    parse_load(text)
    parse_stat(text)
    posture.parse_modules(text)
    posture.parse_lockdown(text)


def test_taints() -> None:
    assert posture.taints(0) == [] and posture.taints(None) is None and posture.taints(-1) is None
    assert posture.taints(4097 | 1 << 30) == ["proprietary_module", "out_of_tree_module", "bit_30"]


@pytest.mark.parametrize(
    ("text", "mode"),
    [("none [integrity] confidentiality", "integrity"), ("[none] integrity", "none"), ("none", None), (None, None)],
)
def test_lockdown(text: str | None, mode: str | None) -> None:
    assert posture.parse_lockdown(text) == mode


def test_security_modules_by_the_list_and_by_their_marks(tmp_path: Path) -> None:
    proc, sys = tmp_path / "proc", tmp_path / "sys"
    assert posture.security_modules(proc, sys) is None, "not known is not none"
    tree(sys, {"module/apparmor/parameters/enabled": "Y\n", "fs/selinux/x": ""})
    tree(proc, {"sys/kernel/yama/ptrace_scope": "1"})
    assert posture.security_modules(proc, sys) == ["apparmor", "selinux", "yama"]
    tree(sys, {"kernel/security/lsm": "lockdown,capability,yama"})
    assert posture.security_modules(proc, sys) == ["lockdown", "capability", "yama"]


def test_modules(tmp_path: Path) -> None:
    lines = "zram 40960 2 - Live 0x0\nnvidia 999 - drm,x, Loading 0x0 (POE)\nbroken\nx y 1 - Live 0x0\n"
    first, second = posture.read_modules(tree(tmp_path, {"modules": lines})) or []
    assert first == {
        "name": "zram", "size_bytes": 40960, "uses": 2, "used_by": [], "state": "live", "taints": "",
    }  # fmt: skip
    assert (second["uses"], second["used_by"]) == (None, ["drm", "x"])
    assert (second["state"], second["taints"]) == ("loading", "POE")
    assert posture.read_modules(tmp_path / "none") is None


def test_drift(tmp_path: Path) -> None:
    tree(tmp_path, {"sys/vm/swappiness": "60\n", "sys/kernel/printk": "4\t4\t1\t7\n"})
    declared = {"vm.swappiness": "60", "kernel.printk": "4 4  1 7", "kernel.kptr_restrict": "2"}
    assert posture.read_drift(tmp_path, declared) == [{"name": "kernel.kptr_restrict", "declared": "2", "found": None}]
    assert posture.read_drift(tmp_path, {"vm.swappiness": "10"})[0]["found"] == "60"


def test_what_only_root_may_read_is_no_drift_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, {"sys/vm/swappiness": "60\n"})
    hidden = tmp_path / "sys/vm/hidden"
    hidden.touch()
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != hidden and may(path, mode))  # also for root
    declared = {"vm.swappiness": "60", "vm.hidden": "1", "vm.gone": "1"}
    assert posture.unreadable_settings(tmp_path, declared) == ["vm.hidden"]
    monkeypatch.setattr(posture, "read_setting", lambda proc, name: {"vm.swappiness": "60"}.get(name))
    assert [one["name"] for one in posture.read_drift(tmp_path, declared)] == ["vm.gone"]


def test_a_flood_of_records_is_thinned() -> None:
    rate = Rate(20, 0.0)
    assert sum(rate.take(0.0) for _ in range(1000)) == 20
    assert sum(rate.take(1.0) for _ in range(1000)) == 20
    assert sum(rate.take(100.0) for _ in range(1000)) == 20
