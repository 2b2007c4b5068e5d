"""What an operator should look at, judged from facts about a host: each with a severity and a remedy. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

from tlsrt.text import duration, printable, size

PROBLEM, WARNING = "problem", "warning"
CERTIFICATE_DAYS = 21  # a certificate that ends before that is told
BACKUP_DAYS = 7
VERIFIED_DAYS = 31
ROOM_SHARE = 0.05  # of a disk
ROOM_BYTES = 256 << 20
INODE_SHARE = 0.05
JUMP_S = 5.0  # between wall clock and the clock that runs since the boot
RESTARTS = 3  # of one process, in its last hour
_DAY_S = 86_400.0
_LOST = ("No such file", "there is no master_key", "from your backup")
_KEPT = {"master_key", "state", "door.client_ca_key", "door's key"}  # a backup alone brings one of these back
_RESTORE = "tlsrt-supervisor backup restore BACKUP --keys KEYS --force"
_MADE_AGAIN = {"boot token": "tlsrt-supervisor seal"}
_COMMAND = re.compile(r"`((?:tlsrt-supervisor|chmod|chown) [^`]+)`")
SET_CLOCK = "timedatectl set-ntp true"
_KERNEL_LOG = "journalctl -k -n 50"


class Diagnosis(NamedTuple):
    """One thing to look at; `remedy` is a command."""

    severity: str
    subject: str
    sentence: str
    remedy: str


class DiskRoom(NamedTuple):
    """A disk that holds something of the host: bytes and inodes, free and in all."""

    what: str
    path: str
    free: int
    total: int
    free_inodes: int
    inodes: int


def of_certificate(
    what: str, ends: datetime, now: datetime, remedy: str, begins: datetime | None = None
) -> Iterator[Diagnosis]:
    """Judge when a certificate ends; one that has not begun yet shows a clock that is behind."""
    if begins is not None and begins > now:
        sentence = f"it begins on {begins:%Y-%m-%d %H:%M} UTC only: the clock is behind, or was ahead when it was made"
        yield Diagnosis(PROBLEM, what, sentence, SET_CLOCK)
    left_s = (ends - now).total_seconds()
    if left_s < 0:
        yield Diagnosis(PROBLEM, what, f"it ended on {ends:%Y-%m-%d %H:%M} UTC", remedy)
    elif left_s < CERTIFICATE_DAYS * _DAY_S:
        yield Diagnosis(WARNING, what, f"it ends in {duration(left_s)}, on {ends:%Y-%m-%d %H:%M} UTC", remedy)


def of_clients(clients: Iterable[Mapping[str, Any]], now: datetime) -> Iterator[Diagnosis]:
    """Judge the certificates of enrolled clients, each by its newest one."""
    for client in clients:
        ends_ms = max((one["ends_ms"] for one in client.get("certificates", ())), default=0)
        if client.get("is_listed") or client.get("revoked_ms") or not ends_ms:
            continue
        name = printable(str(client["name"]), 64)
        ends = datetime.fromtimestamp(ends_ms / 1000, UTC)
        yield from of_certificate(f"client {name}", ends, now, f"tlsrt-supervisor client renew {name}")


def of_disks(disks: Iterable[DiskRoom]) -> Iterator[Diagnosis]:
    """Judge the room on disks: little is a warning, hardly any a problem."""
    for disk in disks:
        if disk.free < min(ROOM_BYTES, disk.total * ROOM_SHARE):
            severity = PROBLEM if disk.free < ROOM_BYTES // 16 else WARNING
            sentence = f"{size(disk.free)} of {size(disk.total)} are free at {disk.path}"
            yield Diagnosis(severity, disk.what, sentence, f"du -xh -d 2 {disk.path} | sort -h | tail")
        if disk.inodes and disk.free_inodes < disk.inodes * INODE_SHARE:
            sentence = f"{disk.free_inodes} of {disk.inodes} inodes are free at {disk.path}"
            yield Diagnosis(WARNING, disk.what, sentence, f"du -x --inodes -d 2 {disk.path} | sort -n | tail")


def of_clock(is_synchronised: bool | None, events: Sequence[Mapping[str, Any]]) -> Iterator[Diagnosis]:
    """Judge whether the clock is synchronised, and whether it has jumped under the events of this life."""
    if is_synchronised is False:
        yield Diagnosis(WARNING, "clock", "the kernel says that it is not synchronised", SET_CLOCK)
    offsets: list[tuple[float, str]] = []
    for event in events:
        try:
            at = datetime.fromisoformat(str(event["at"])).timestamp()
            offsets.append((at - float(event["boottime_ms"]) / 1000, str(event["at"])))
        except (KeyError, ValueError, TypeError):
            continue
    for (before, _), (after, when) in pairwise(offsets):
        if abs(after - before) >= JUMP_S:
            way = "forward" if after > before else "back"
            sentence = f"it jumped {way} by {duration(abs(after - before))} before {printable(when, 40)}"
            yield Diagnosis(WARNING, "clock", sentence, "journalctl -u systemd-timesyncd -u chronyd -n 50")


def of_age(subject: str, what: str, at: str | None, now: datetime, days: int, remedy: str) -> Iterator[Diagnosis]:
    """Judge when something was done last; `at` is its time, or None if never, as far as this host knows."""
    try:
        age_s = (now - datetime.fromisoformat(at)).total_seconds() if at is not None else None
    except (ValueError, TypeError):
        age_s = None
    if age_s is None:
        yield Diagnosis(WARNING, subject, f"no {what} is known on this host", remedy)
    elif age_s > days * _DAY_S:
        yield Diagnosis(WARNING, subject, f"the last {what} is {duration(age_s)} old", remedy)


def of_acme(acme: Mapping[str, Any] | None) -> Iterator[Diagnosis]:
    """Judge orders of certificates of a CA: they are renewed by themselves, so only a failure is told."""
    if acme is not None and acme["failure"]:
        severity = WARNING if acme["names"] else PROBLEM
        sentence = f"{acme['failures']} orders failed in a row: {printable(acme['failure'], 300)}"
        yield Diagnosis(severity, "acme", sentence, "tlsrt-supervisor certificate renew")


def of_status(status: Mapping[str, Any], restarts: Mapping[str, int]) -> Iterator[Diagnosis]:
    """Judge a running host; `restarts` says how often each process died unexpectedly in the last hour."""
    if status["lock"] is not None:
        reason = printable(str(status["lock"]["reason"]), 200)
        yield Diagnosis(WARNING, "lock", f"the host is locked: {reason}", "tlsrt-supervisor unlock")
    yield from of_acme(status.get("acme"))
    for group in status["supervision"].get("groups", ()):
        if group["state"] == "degraded":
            down = group["down"]
            yield Diagnosis(
                PROBLEM,
                down[0],
                f"it was given up: {printable(group['why'], 300)}",
                f"tlsrt-supervisor restart {down[0]}",
            )
    yield from of_processes(status.get("loops", ()))
    for name in status["supervision"].get("stopped", ()):
        yield Diagnosis(WARNING, name, "it is stopped by the operator", f"tlsrt-supervisor start {name}")
    for name, count in restarts.items():
        if count >= RESTARTS:
            sentence = f"it died {count} times in the last hour"
            yield Diagnosis(PROBLEM, name, sentence, f"tlsrt-supervisor status {name}")
    for warning in status["warnings"]:
        if "is waived, but this host can give it" in warning:
            yield Diagnosis(WARNING, "waiver", printable(warning, 300), "tlsrt-supervisor sandbox check")
        elif warning.startswith("this host is not what was sealed"):
            sentence = "files are not as they were sealed"
            yield Diagnosis(WARNING, "boot token", sentence, "tlsrt-supervisor seal --diff")
    audit = status["audit"]
    if audit is not None and audit["problem"]:
        yield Diagnosis(PROBLEM, "audit log", printable(str(audit["problem"]), 300), "df -h && journalctl -k -n 50")
    if audit is not None and audit["dropped"]:
        sentence = f"{audit['dropped']} records were dropped"
        yield Diagnosis(WARNING, "audit log", sentence, "tlsrt-supervisor events --severity warning")


def of_processes(loops: Iterable[Mapping[str, Any]]) -> Iterator[Diagnosis]:
    """Judge processes that a disk holds, and components that say they are not well or not ready."""
    for loop in loops:
        if stuck := loop.get("stuck"):
            sentence = f"it was killed, and the kernel holds it ({printable(str(stuck['where']), 60)})"
            yield Diagnosis(PROBLEM, loop["name"], sentence, _KERNEL_LOG)
        if wait := loop.get("disk_wait"):
            sentence = f"it waits for its disk since {duration(wait['for_s'])}"
            yield Diagnosis(PROBLEM, loop["name"], sentence, _KERNEL_LOG)
        for one in loop.get("components", ()):
            address = f"{loop['name'].partition('.')[0]}.{one['name']}"
            if one["fails"]:
                sentence = f"{one['fails']} of its checks failed in a row"
                yield Diagnosis(WARNING, address, sentence, f"tlsrt-supervisor logs {address}")
            elif one["ready"] is False:
                yield Diagnosis(WARNING, address, "it says that it is not ready", f"tlsrt-supervisor logs {address}")


def deaths_in(events: Iterable[Mapping[str, Any]], since: datetime) -> dict[str, int]:
    """Return how often each process died unexpectedly since then."""
    found: dict[str, int] = {}
    for event in events:
        try:
            is_late = datetime.fromisoformat(str(event["at"])) >= since
        except (KeyError, ValueError):
            continue
        if event.get("name") == "died" and is_late:
            subject = printable(str(event.get("subject")), 80)
            found[subject] = found.get(subject, 0) + 1
    return found


def of_permissions(sentences: Iterable[tuple[str, str]]) -> Iterator[Diagnosis]:
    """Make a problem of each (what, sentence), such as about a file that others could exchange or read."""
    for what, sentence in sentences:
        found = _COMMAND.search(sentence)
        remedy = "tlsrt-supervisor check"
        if any(words in sentence for words in _LOST):
            remedy = _RESTORE if what in _KEPT else _MADE_AGAIN.get(what, remedy)
        yield Diagnosis(PROBLEM, what, sentence, found[1] if found else remedy)
