"""Whether a host has to do with other machines."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tlsrt.config.init import initialise
from tlsrt.config.load import parse_config
from tlsrt.config.reach import LOCAL_VARIABLE, reaches_out, unit_warnings


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("host") / "etc"
    initialise(folder, host="127.0.0.1", port=7443, now=datetime.now(UTC))
    return folder / "tlsrt.yaml"


@pytest.mark.parametrize(
    ("more", "reaches"),
    [
        ("", False),
        ('loops: {third: {egress: [{to: ["127.0.0.1:443"], why: tests}]}}', False),
        ('loops: {third: {egress: [{to: ["192.0.2.7:443"], why: tests}]}}', True),
        ('loops: {third: {egress: [{to: ["*:443"], why: tests}]}}', True),
        ('loops: {external: {egress: [{to: ["example.org:443"], why: tests}]}}', True),
        ("deception: {endpoint: {host: 0.0.0.0, port: 8443}}", True),
    ],
)
def test_what_goes_beyond_loopback(path: Path, more: str, reaches: bool) -> None:
    config = parse_config(path.read_bytes() + f"\n{more}\n".encode(), path)
    assert reaches_out(config) is reaches
    assert bool(unit_warnings(config, {LOCAL_VARIABLE: "1"})) is reaches
    assert unit_warnings(config, {}) == []


def test_a_door_for_others_reaches_out(path: Path) -> None:
    text = path.read_text().replace('host: "127.0.0.1"', 'host: "0.0.0.0"')
    assert reaches_out(parse_config(text.encode(), path))
