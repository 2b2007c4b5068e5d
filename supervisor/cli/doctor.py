"""`doctor`: what an operator should look at, each with a severity and a remedy; nothing is changed."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from tlsrt.command_line.fitted import shown_at, terminal_width
from tlsrt.command_line.table import Document
from tlsrt.config.document import MIGRATE
from tlsrt.config.files import open_regular, read_bounded
from tlsrt.config.host_paths import named_paths
from tlsrt.config.init import key_in_force
from tlsrt.config.schema import Config
from tlsrt.config.server_certificate import read_server_certificate
from tlsrt.config.trusted_path import check_trusted, trusted_uids
from tlsrt.errors import EX_FAILED, ConfigError, TlsrtError
from tlsrt.supervisor.audit.verified import VERIFIED
from tlsrt.supervisor.cli.ages import Age, age_lines, client_ages
from tlsrt.supervisor.cli.backup.create import RECORD
from tlsrt.supervisor.cli.clients import list_clients
from tlsrt.supervisor.cli.diagnosis import (
    BACKUP_DAYS,
    PROBLEM,
    VERIFIED_DAYS,
    WARNING,
    Diagnosis,
    DiskRoom,
    deaths_in,
    of_age,
    of_certificate,
    of_clients,
    of_clock,
    of_disks,
    of_permissions,
    of_status,
)
from tlsrt.supervisor.cli.exchange import ask, config_of, connect
from tlsrt.supervisor.cli.seal_record import seal_record_of
from tlsrt.supervisor.control.client import NotRunning
from tlsrt.supervisor.launch.fitting import fitting
from tlsrt.supervisor.launch.host_files import ConfiguredFiles
from tlsrt.supervisor.process.kernel_clock import is_clock_synchronised
from tlsrt.text import table

FORMAT = 1  # of the document
_RECORD_MAX = 1 << 16


def doctor(arguments: argparse.Namespace) -> int:
    """Print what was found; the exit code is 1 if there is anything."""
    config, now = config_of(arguments), datetime.now(UTC)
    found = list(_offline(config, now))
    clients = _clients(arguments)
    is_running = True
    try:
        found += _online(config, clients, now)
    except NotRunning:
        is_running = False
        if config.sandbox.waive:
            sentence = "waivers are looked at while the host runs: some may not be needed on this kernel"
            found.append(Diagnosis(WARNING, "waiver", sentence, "tlsrt-supervisor sandbox check"))
    found.sort(key=lambda one: one.severity != PROBLEM)
    document = {"format": FORMAT, "running": is_running, "findings": [one._asdict() for one in found]}
    document["ages"] = [one.document() for one in (*_ages(config), *client_ages(clients))]
    with shown_at(terminal_width(is_wide=arguments.wide)):
        print(json.dumps(document) if arguments.json else "\n".join(lines(document, now)))
    return EX_FAILED if found else 0


def lines(document: Document, now: datetime) -> list[str]:
    """Return the lines for people: what it is and below it what to type, and then what ends when."""
    found = document["findings"]
    rows = table([(one["severity"], one["subject"], one["sentence"]) for one in found])
    lines = [line for row, one in zip(rows, found, strict=True) for line in (row, f"         try: {one['remedy']}")]
    state = "" if document["running"] else "; the host does not run, so less could be looked at"
    count = f"{len(found)} thing{'s' * (len(found) != 1)} to look at" if found else "nothing to look at"
    ages = ["", *age_lines(document["ages"], now), ""] if document["ages"] else []
    return [*lines, *ages, f"{count}{state}"]


def _ages(config: Config) -> Iterator[Age]:
    """Yield certificates and keys in files; the time of a key is that of its file."""
    for what, path in (("door certificate", config.door.certificate), ("client CA", config.door.client_ca)):
        with suppress(ConfigError):
            certificate = read_server_certificate(path)
            yield Age(what, certificate.begins, certificate.ends)
    keys = [("door's key", config.door.key), ("boot token", config.boot_token)]
    if config.master_key.path is not None:
        keys.insert(0, ("master_key", config.master_key.path))
    for what, file in keys:
        with suppress(OSError):
            yield Age(what, datetime.fromtimestamp(os.stat(file).st_mtime, UTC), None)


def _clients(arguments: argparse.Namespace) -> list[Document]:
    """Return the clients of a host that runs; none where they cannot be asked for."""
    with suppress(TlsrtError):
        return list(list_clients(arguments)["clients"])
    return []


def _offline(config: Config, now: datetime) -> Iterator[Diagnosis]:
    door = config.door
    own = " --own" if config.acme.origin is not None else ""
    remedy = f"tlsrt-supervisor certificate renew{own} && tlsrt-supervisor reload"
    if door.client_ca_key is None:
        remedy = f"get a certificate from its issuer, put it at {door.certificate}, and reload"
    authority = "tlsrt-supervisor certificate replace-ca"
    if door.client_ca_key is None:
        authority = f"put another one into {door.client_ca}, seal, reload, and give every client another bundle"
    for what, path, advice in (
        ("door certificate", door.certificate, remedy), ("client CA", door.client_ca, authority)
    ):  # fmt: skip
        try:
            certificate = read_server_certificate(path)
            yield from of_certificate(what, certificate.ends, now, advice, certificate.begins)
        except ConfigError as error:
            yield Diagnosis(PROBLEM, what, str(error), "tlsrt-supervisor check")
    for remark in config.remarks:
        remedy = MIGRATE if MIGRATE in remark else "tlsrt-supervisor check"
        yield Diagnosis(WARNING, "configuration", remark, remedy)
    failed = [(one.name, sentence) for one in fitting(config).failed for sentence in one.problems]
    yield from of_permissions([*_permissions(config), *failed])
    yield from of_disks(_disks(config))
    yield from of_age(
        "backup", "backup", _recorded(config.state_dir / RECORD), now, BACKUP_DAYS,
        "tlsrt-supervisor backup create FOLDER",
    )  # fmt: skip
    yield from of_age(
        "audit log", "verification", _recorded(config.state_dir / VERIFIED), now, VERIFIED_DAYS,
        "tlsrt-supervisor audit verify",
    )  # fmt: skip


def _online(config: Config, clients: Iterable[Document], now: datetime) -> Iterator[Diagnosis]:
    status = ask(config, "status")
    with connect(config) as client:
        events: list[dict[str, Any]] = list(client.follow("events", since=0, follow=False, kinds=[]))
    yield from of_status(status, deaths_in(events, now - timedelta(hours=1)))
    yield from of_clock(is_clock_synchronised(), events)
    yield from of_clients(clients, now)


def _permissions(config: Config) -> Iterator[tuple[str, str]]:
    """Yield what others could exchange, and keys that others could read."""
    uids, files = trusted_uids(), ConfiguredFiles(config)
    for path, what, _ in named_paths(config):
        yield from _refusal(what, partial(check_trusted, path, what, uids))
    if config.master_key.provider == "file":
        yield from _refusal("master_key", partial(key_in_force, config))
    yield from _refusal("state", partial(seal_record_of, config))
    yield from _refusal("door.client_ca_key", lambda: os.close(files.open_ca_key()))
    yield from _refusal("door's key", partial(_check_mode, config.door.key, "door's key", 0o077))
    yield from _refusal("boot token", partial(_check_mode, config.boot_token, "boot token", 0o022))  # no secret


def _refusal(what: str, step: Callable[[], object]) -> Iterator[tuple[str, str]]:
    try:
        step()
    except ConfigError as error:
        yield from ((what, sentence) for sentence in error.problems)


def _check_mode(path: Path, what: str, refused: int) -> None:
    descriptor = open_regular(path, f"the {what}")
    try:
        mode = os.fstat(descriptor).st_mode & 0o777
    finally:
        os.close(descriptor)
    if mode & refused:
        kept = mode & ~refused
        raise ConfigError(f"{path} has mode {mode:04o}, open to group or others: run `chmod {kept:04o} {path}`")


def _disks(config: Config) -> Iterable[DiskRoom]:
    """Return each disk once, by the first folder of the host on it."""
    found: dict[int, DiskRoom] = {}
    for what, path in (("state", config.state_dir), ("log", config.log_dir), ("configuration", config.path.parent)):
        with suppress(OSError):
            room = os.statvfs(path)
            free, total = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
            disk = DiskRoom(what, str(path), free, total, room.f_favail, room.f_files)
            found.setdefault(os.stat(path).st_dev, disk)
    return found.values()


def _recorded(path: Path) -> str | None:
    """Return when something was done last, as its record says; None if there is none that can be read."""
    with suppress(ConfigError, ValueError, TypeError, KeyError):
        return str(json.loads(read_bounded(path, _RECORD_MAX, "the record"))["at"])
    return None
