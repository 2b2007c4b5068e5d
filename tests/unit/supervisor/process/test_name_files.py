"""The files in which a process finds its names."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tlsrt.sandbox.seccomp.name_pins import NamePins
from tlsrt.supervisor.process.name_files import write_name_files


def test_who_reads_there_may_whatever_the_umask_of_the_supervisor_is(tmp_path: Path) -> None:
    profile = SimpleNamespace(hosts=tmp_path / "names" / "third", names=(), egress=())
    before = os.umask(0o077)
    try:
        write_name_files(cast("Any", profile), NamePins())
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (profile.hosts.parent, profile.hosts)} == {0o755}
    assert {path.stat().st_mode & 0o777 for path in profile.hosts.iterdir()} == {0o644}
