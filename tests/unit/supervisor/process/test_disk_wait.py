"""Whether a process is held by its disk: what runs or sleeps otherwise is not. The real thing is in test_disks.py."""

from __future__ import annotations

import os
import subprocess
import sys

from tlsrt.supervisor.process.disk_wait import disk_wait_of


def test_who_runs_sleeps_or_has_ended_does_not_wait_for_a_disk() -> None:
    assert disk_wait_of(os.getpid()) == ""
    command = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"here\n"
        assert disk_wait_of(child.pid) == ""
        child.kill()
    assert disk_wait_of(child.pid) == ""
