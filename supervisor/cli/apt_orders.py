"""`apt-order`: carry out what the component secondary/updates has asked for, as root, outside of the host.

The component writes one file into a folder: `refresh`, or `apply` and the id of a plan. It names no package and no
version, so a captured one can bring about nothing but what apt itself would upgrade now from the archives that this
machine trusts, if it knows that list exactly. The unit tlsrt-updates.path of systemd starts this for that file.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlsrt.apt_plan import PLAN_ID, SIMULATE, UPGRADE, Plan, PlanError, plan_untrusted
from tlsrt.errors import ConfigError

ORDER = "order"
LOG, STATE = "log", "state.json"
_ORDER_BYTES = 128
_LOG_BYTES = 4 << 20
_SIMULATION_S = 300.0
_APT = "/usr/bin/apt-get"
_FIXED = (
    "-q", "-y", "--no-install-recommends", "--no-remove",
    "-o", "DPkg::Lock::Timeout=0", "-o", "DPkg::Use-Pty=false", "-o", "APT::Get::AllowUnauthenticated=false",
    "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold",
)  # fmt: skip
_TROUBLES = (
    ("Could not get lock", "dpkg or apt is in use by another program: try again when that has ended"),
    ("Unable to acquire the dpkg", "dpkg or apt is in use by another program: try again when that has ended"),
    ("dpkg was interrupted", "dpkg was interrupted before: run `dpkg --configure -a` on the host"),
    ("No space left", "a disk of the host is full: make room"),
    ("NO_PUBKEY", "an archive is signed by a key that this machine does not trust"),
)


class OrderError(Exception):
    """An order cannot be carried out. Its text is a sentence for people."""


def carry_out(arguments: argparse.Namespace) -> int:
    """Carry out what waits; the result is in the folder of results, also of what is refused. Raises ConfigError."""
    orders, results = Path(arguments.orders), Path(arguments.results)
    if not results.is_dir() or results.stat().st_uid != os.geteuid() or results.stat().st_mode & 0o022:
        raise ConfigError(f"cannot write results to {results}: make it a folder of root that only root may write to")
    with open(results / "lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _look_for_lost(results)
        words = _take_untrusted(orders / ORDER)
        if words is not None:
            _work(words, results)
    return 0


def _look_for_lost(results: Path) -> None:
    """Say so of an order whose process was killed: nothing else runs while we have the lock."""
    try:
        state = json.loads((results / STATE).read_bytes())
    except (OSError, ValueError):
        return
    if isinstance(state, dict) and state.get("state") == "running":
        message = "it was interrupted: run `dpkg --configure -a` on the host, then make a new plan"
        _write_state(results, {**state, "state": "failed", "message": message})


def _work(words: str, results: Path) -> None:
    began = time.time_ns() // 1_000_000
    state: dict[str, Any] = {"order": words, "state": "running", "began_wall_ms": began, "message": None}
    with open(results / LOG, "wb") as log:
        _write_state(results, state)
        try:
            _do(words, log.fileno())
        except OrderError as error:
            message = str(error)
        except Exception as error:  # a result is always there, also of what was not expected
            message = f"{type(error).__name__}: the journal of tlsrt-updates.service has more"
            _write_state(results, {**state, "state": "failed", "message": message})
            raise
        else:
            message = ""
        os.fsync(log.fileno())
    end = {"ended_wall_ms": time.time_ns() // 1_000_000, "message": message or None}
    _write_state(results, {**state, **end, "state": "failed" if message else "done"})


def _take_untrusted(path: Path) -> str | None:
    """Return the order and remove it; None if there is none. Never follows a link, never waits on a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        _unlink(path)
        raise ConfigError(f"cannot read the order {path}: {error.strerror}; it was removed") from None
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        data = os.read(descriptor, _ORDER_BYTES) if is_file else b""
    finally:
        os.close(descriptor)
    _unlink(path)  # before it is carried out: one that breaks is not begun for ever
    words = data.decode("ascii", "replace").split()
    is_known = words == ["refresh"] or (len(words) == 2 and words[0] == "apply" and PLAN_ID.fullmatch(words[1]))
    return " ".join(words) if is_known else "unreadable"


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):
        try:
            shutil.rmtree(path)  # from folder to folder by descriptors: it leads nowhere else
        except (OSError, RecursionError):
            raise ConfigError(f"{path} is a folder that cannot be removed: remove it") from None


def _do(words: str, log: int) -> None:
    match words.split():
        case ["refresh"]:
            _run(["update", "-q", "-o", "APT::Update::Error-Mode=any", "-o", "DPkg::Lock::Timeout=0"], log)
        case ["apply", wanted]:
            plan = _simulated(UPGRADE)
            if plan.id != wanted:
                raise OrderError("what apt would do is not that plan any more, so nothing was changed: make a new plan")
            if not plan.steps:
                raise OrderError("there is nothing to upgrade")
            exact = ["install", *_FIXED, *(one.word for one in plan.steps)]
            if _simulated(exact).id != wanted:
                raise OrderError("apt would do more than the plan says, so nothing was changed: upgrade by hand")
            _run(exact, log)
        case _:
            raise OrderError("the order cannot be read")


def _simulated(words: Sequence[str]) -> Plan:
    done = subprocess.run(
        [_APT, *SIMULATE, *words], capture_output=True, text=True, env=_environment(), timeout=_SIMULATION_S,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise OrderError(_trouble(done.stderr))
    try:
        return plan_untrusted(done.stdout)
    except PlanError as error:
        raise OrderError(str(error)) from None


def _run(words: Sequence[str], log: int) -> None:
    done = subprocess.run(
        [_APT, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=_environment(), check=False
    )
    if done.returncode:
        size = os.fstat(log).st_size
        with open(f"/proc/self/fd/{log}", "rb") as file:
            file.seek(max(0, size - _LOG_BYTES))
            raise OrderError(_trouble(file.read().decode("utf-8", "replace")))


def _trouble(text: str) -> str:
    for part, sentence in _TROUBLES:
        if part in text:
            return sentence
    lines = [line for line in text.splitlines() if line.startswith(("E:", "W:", "dpkg: error"))]
    return f"apt says: {lines[0][:300]}" if lines else "apt has failed; `progress` has what it said"


def _environment() -> dict[str, str]:
    kept = {
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C.UTF-8",
        "NEEDRESTART_MODE": "l",
        "UCF_FORCE_CONFFOLD": "1",
    }
    kept["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    if (configuration := os.environ.get("APT_CONFIG")) is not None:  # of the unit, for a root elsewhere: apt.conf(5)
        kept["APT_CONFIG"] = configuration
    return kept


def _write_state(results: Path, state: dict[str, Any]) -> None:
    beside = results / f"{STATE}.new"
    with open(beside, "w") as out:
        out.write(json.dumps(state) + "\n")
        out.flush()
        os.fsync(out.fileno())
    beside.chmod(0o644)
    os.replace(beside, results / STATE)
