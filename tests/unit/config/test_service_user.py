"""Whom root's commands trust with a host's state: the user of its service, which root's unit names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsrt.config.service_user import named_user, service_uids

CONFIG = Path("/etc/tlsrt/tlsrt.yaml")
UNIT = "# note\n[Service]\nExecStart=/opt/x/tlsrt-supervisor start --config /etc/tlsrt/tlsrt.yaml\nUser=nobody\n"


def test_the_user_of_the_unit_that_starts_this_configuration() -> None:
    assert named_user(UNIT, CONFIG) == "nobody"
    assert named_user(UNIT, Path("/etc/other.yaml")) == ""
    assert named_user('ExecStart="broken', CONFIG) == "" == named_user("", CONFIG)


def test_a_unit_is_believed_if_it_is_roots(tmp_path: Path) -> None:
    unit = tmp_path / "tlsrt.service"
    assert service_uids(CONFIG, unit) == frozenset()
    unit.write_text(UNIT)
    assert service_uids(CONFIG, unit) == (frozenset({65534}) if os.geteuid() == 0 else frozenset())
    unit.write_text(UNIT.replace("nobody", "nobody-of-this-name"))
    assert service_uids(CONFIG, unit) == frozenset()


@pytest.mark.skipif(os.geteuid() != 0, reason="left out: needs root, to give a file away")
def test_a_unit_of_another_user_is_not_believed(tmp_path: Path) -> None:
    unit = tmp_path / "tlsrt.service"
    unit.write_text(UNIT)
    os.chown(unit, 65534, 65534)
    assert service_uids(CONFIG, unit) == frozenset()
