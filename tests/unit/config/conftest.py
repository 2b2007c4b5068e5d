"""A small configuration that is right, and a whole installation made by init."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hosts.known_digests import known_digests

from tlsrt.config.init import initialise
from tlsrt.config.load import load_config
from tlsrt.config.schema import Config

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def minimal() -> str:
    return (
        "version: 2\n"
        'install: "00112233445566778899aabbccddeeff"\n'
        "master_key: {provider: file, path: master.key}\n"
        "boot_token: boot.token\n"
        "door: {certificate: server.crt, key: server.key, client_ca: ca.crt}\n"
    )


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "var"
    with known_digests():
        initialise(folder, host="127.0.0.1", port=7443, now=NOW)
    return folder


@pytest.fixture
def config(made: Path) -> Config:
    return load_config(made / "tlsrt.yaml")
