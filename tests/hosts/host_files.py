"""The files of a new host, as `init`, an operator's edits and `seal` leave them, and those of more clients."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from hosts.known_digests import known_digests
from hosts.ports import uid_base
from tlsrt.config import pki
from tlsrt.config.bundle import read_bundle, write_bundle
from tlsrt.config.init import initialise, seal
from tlsrt.config.load import load_config
from tlsrt.config.schema import Config, LimitsConfig, SandboxConfig

# A test opens more sessions than a client does: those about the budget of sessions say what it is.
MANY_SESSIONS = {"sessions_per_client": 1024, "openings_per_s": 1000, "openings_burst": 10000}
OWN_DOOR = os.environ.get("TLSRT_TEST_DOOR") == "own"  # each host of this run has its door in a process of its own
# What an ordinary host has, for `limits`.
DEFAULT_SESSIONS = {name: value for name, value in dataclasses.asdict(LimitsConfig()).items() if name in MANY_SESSIONS}


def install(
    folder: Path, port: int, added: Mapping[str, Any], clients: Sequence[str], http: Sequence[str],
    may: Mapping[str, Sequence[str]],
) -> Config:  # fmt: skip
    """Make a host in a folder; return its configuration. `added` is YAML, and the rest as at RunningHost."""
    with patch("tlsrt.config.init.measure", lambda config: {}):  # it is sealed once more below, as it is then
        initialise(folder, host="127.0.0.1", port=port, now=datetime.now(UTC))
    path = folder / "tlsrt.yaml"
    document = yaml.safe_load(path.read_text())
    document["limits"] = {**MANY_SESSIONS, **document.get("limits", {})}
    if (base := uid_base()) != SandboxConfig().uid_base:
        document["sandbox"] = {"uid_base": base, **(document.get("sandbox") or {})}
    for key, value in added.items():
        known = document.get(key)
        document[key] = {**known, **value} if isinstance(known, dict) else value
    for name in clients:
        document["clients"][name] = {"fingerprint": pki.fingerprint(issue_client(folder, name)).hex()}
    for name in http:
        document["clients"][name]["http"] = True
    for name, what in may.items():
        document["clients"][name]["may"] = list(what)
    if OWN_DOOR:
        document["door"] = {"process": "own", **document["door"]}
    separate = json.loads(json.dumps(document))  # equal parts would become aliases, which are refused
    path.write_text(yaml.safe_dump(separate, sort_keys=False))
    config = load_config(path)
    with known_digests():
        seal(config)
    return config


def issue_client(folder: Path, name: str) -> bytes:
    """Make a certificate and a bundle for a client, listed or not; return the certificate, PEM."""
    ca = pki.Issued((folder / "ca.crt").read_bytes(), (folder / "ca.key").read_bytes())
    admin = read_bundle(folder / "admin.tlsrt")
    issued = pki.issue_client(ca, admin.install_id, name, datetime.now(UTC))
    bundle = dataclasses.replace(admin, name=name, certificate_pem=issued.certificate_pem, key_pem=issued.key_pem)
    write_bundle(folder / f"{name}.tlsrt", bundle)
    return issued.certificate_pem
