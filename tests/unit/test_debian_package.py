"""The package of Debian, without building it: what it depends on, what triggers it, and what a purge leaves alone."""

from __future__ import annotations

import fcntl
import os
import subprocess
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from tlsrt.config.import_path import EXTRA, NEEDED, USED

DISTRIBUTION = Path(__file__).resolve().parents[2] / "distribution"


@pytest.fixture
def deb(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DISTRIBUTION)
    return import_module("deb")


def test_all_that_is_measured_of_debians_is_a_trigger(deb: ModuleType) -> None:
    lines = deb.triggers_of([*NEEDED, *EXTRA, *USED]).splitlines()
    assert all(line.startswith("interest-noawait /usr/lib/python3") for line in lines)
    names = {line.rpartition("/")[2] for line in lines}
    assert names >= {*NEEDED, "h11", "cffi", "pycparser", "_yaml", "os.py"}
    assert "_cffi_backend.cpython-313-x86_64-linux-gnu.so" in names and len(names) == len(lines)


def test_a_requirement_that_cannot_be_said_to_debian_ends_the_build(deb: ModuleType, tmp_path: Path) -> None:
    good = ["msgpack>=1.0", 'h11>=0.14; extra == "http"', 'textual<9,>=8; extra == "tui"']
    text = deb._control(tmp_path, good, "1-1")
    assert "python3-msgpack (>= 1.0)" in text and "Recommends: python3-h11 (>= 0.14)\n" in text
    with pytest.raises(SystemExit, match="msgpack<2"):
        deb._control(tmp_path, ["msgpack<2,>=1.0"], "1-1")


@pytest.mark.parametrize("is_running", [True, False])
def test_a_purge_leaves_the_state_of_a_host_that_runs(tmp_path: Path, is_running: bool) -> None:
    state, log = tmp_path / "var/lib/tlsrt", tmp_path / "var/log/tlsrt"
    for folder in (state, log):
        folder.mkdir(parents=True)
    (state / "lock").touch()
    lock = os.open(state / "lock", os.O_RDONLY)
    if is_running:
        fcntl.flock(lock, fcntl.LOCK_SH)
    done = subprocess.run(
        ["/bin/sh", DISTRIBUTION / "deb/postrm", "purge"], capture_output=True, text=True, check=True, timeout=30,
        env={"PATH": os.environ["PATH"], "DPKG_ROOT": str(tmp_path)},
    )  # fmt: skip
    os.close(lock)
    assert (state.exists(), log.exists()) == (is_running, is_running)
    assert ("a host runs with its state" in done.stdout) == is_running
