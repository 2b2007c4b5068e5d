"""`tlsrt-supervisor rotate`: begin a new epoch, and with `--master` replace master_key."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from tlsrt.config.files import as_config_error
from tlsrt.config.key_rotation import Staged, only_one, remove_older, stage, switch, withdraw
from tlsrt.config.schema import Config
from tlsrt.errors import EX_CONFIG, EX_TEMPFAIL, EX_UNAVAILABLE, TlsrtError
from tlsrt.supervisor.audit.reader import keep_roots
from tlsrt.supervisor.cli.exchange import config_of, connect, say
from tlsrt.supervisor.cli.seal_record import seal_record_of
from tlsrt.supervisor.control.client import NotRunning
from tlsrt.supervisor.process.instance_lock import take_lock

ROTATE_S = 300.0  # the supervisor answers in 90 s, after the rotations that were asked for before


def rotate(arguments: argparse.Namespace) -> int:
    """Rotate keys. Raises ConfigError, ControlRefused, and NotRunning without `--master`."""
    config = config_of(arguments, writes=arguments.master)
    if arguments.master:
        from tlsrt.supervisor.cli.service.rotation import has_credentials, rotate_service

        with only_one(config):
            if has_credentials(config):
                return rotate_service(config, arguments)
            return _rotate_master(arguments, config)
    with connect(config) as client:
        answer = client.ask("rotate", timeout_s=ROTATE_S)
    return _report(arguments, answer, [])


def _rotate_master(arguments: argparse.Namespace, config: Config) -> int:
    try:
        client = connect(config)
    except NotRunning:
        return _rotate_files(arguments, config)
    with client:
        staged = stage(config, seal_record_of(config))
        keep_roots(config, staged.roots)  # before the key is in force, so that the log verifies at every moment
        try:
            answer = client.ask("rotate", timeout_s=ROTATE_S, master=True)
        except TlsrtError as error:
            if withdraw(config, staged):
                raise
            say(f"{error}; the new master_key is in force all the same", *_kept(config, staged))
            return EX_UNAVAILABLE
    if "refused" in answer:
        withdraw(config, staged)
        return _report(arguments, answer, [])
    return _report(arguments, answer, _kept(config, staged))


def _rotate_files(arguments: argparse.Namespace, config: Config) -> int:
    """Rotate a host that does not run, and keep it from starting meanwhile."""
    with as_config_error("make", config.state_dir):
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = take_lock(config.state_dir / "lock", wait_s=0.0)
    try:
        staged = stage(config, seal_record_of(config))
        keep_roots(config, staged.roots)
        switch(staged, config.boot_token)
        kept = _kept(config, staged)
    finally:
        os.close(lock)
    if arguments.json:
        print(json.dumps({"epoch": None, "key_version": staged.version}, indent=2))
        say(*kept)
    else:
        print("\n".join([f"master_key version {staged.version} is in force from the next start on", *kept]))
    return 0


def _kept(config: Config, staged: Staged) -> list[str]:
    """Remove the keys that nothing needs any more; return what the operator must know of files."""
    removed = remove_older(config, staged.version)
    lines = [f"wrote {staged.key}: keep a copy in a safe place, it cannot be made again"]
    return [*lines, *(f"removed {path}: it is not in force any more" for path in removed)]


def _report(arguments: argparse.Namespace, answer: dict[str, Any], kept: list[str]) -> int:
    if "refused" in answer:
        say(*answer["refused"])
        return EX_TEMPFAIL if answer.get("passes") else EX_CONFIG
    if "failed" in answer:
        say(*answer["failed"], *kept)
        return EX_UNAVAILABLE
    if arguments.json:
        print(json.dumps(answer, indent=2))
        say(*kept)
    else:
        print("\n".join([*lines(answer), *kept]))
    return 0


def lines(answer: dict[str, Any]) -> list[str]:
    """Return the report as people read it."""
    took = f"in every loop after {answer['took_ms'] / 1000:.2f} s, committed after {answer['committed_ms']} ms"
    found = [f"epoch {answer['epoch']}: {took}"]
    if answer["late"]:
        found.append(f"late, so refused and restarted: {', '.join(answer['late'])}")
    if answer["previous_verifies_s"]:
        version, left = answer["key_version"], answer["previous_verifies_s"]
        found.append(f"master_key version {version}; tokens of version {version - 1} verify for {left:.0f} s more")
    return found
