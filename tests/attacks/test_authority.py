"""Attacked sentence: the authority, too, is what its profile says before it gets a key, and ends when it no longer is.

`told` says on the console when the descriptors of the keys are about to leave, so that their absence means something.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost

from tlsrt.sandbox.cgroup.cgroup import own_place

TOLD = """
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
_hand_over = AuthorityProcess._hand_over
def told(self):
    print("keys leave", flush=True)
    _hand_over(self)
AuthorityProcess._hand_over = told
"""
# In the authority's process only: what it enters is not what the supervisor knows of it.
LOOSER = """
from dataclasses import replace
from tlsrt.supervisor.launch import child_entries
run_authority = child_entries.run_authority
def looser(start, profile, root, code):
    return run_authority(start, {}, root, code)
child_entries.run_authority = looser
"""
UNSEALED = 'replace(profile, layers=tuple(one for one in profile.layers if one != "seccomp_sealed"))'
WITHOUT_LIMITS = "replace(profile, limits={})"
UNWATCHED = 'replace(profile, layers=tuple(one for one in profile.layers if one != "seccomp_reports"))'


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (UNSEALED, "seccomp mode 2 with [0-9]+ filters?"),
        (WITHOUT_LIMITS, "limit"),
        (UNWATCHED, "the listener of its first filter has not come"),
    ],
)
def test_an_authority_that_is_not_what_its_profile_says_gets_no_key(change: str, difference: str) -> None:
    host = RunningHost(prelude=LatePrelude(TOLD + LOOSER.replace("{}", change)))
    try:
        host.start(until="^supervisor")
        assert host.process is not None
        assert host.process.wait(30) == os.EX_UNAVAILABLE
        errors = (host.base / "errors").read_text()
        assert re.search(f"sandbox layer authority: attestation: .*{difference}", errors), errors
        assert "keys leave" not in host.console
        assert not any(" active " in line for line in host.console)
    finally:
        host.close()


def test_an_authority_that_changes_later_is_ended() -> None:
    """It is moved out of its control group; nothing that it could do by itself is as plain."""
    place = own_place()
    with RunningHost(prelude=LatePrelude(TOLD)) as host:
        assert host.console.count("keys leave") == 1
        before = host.status()
        Path(place.folder, "cgroup.procs").write_text(str(before["authority"]["pid"]))
        host.wait_for("authority +died +attestation: its control group is ")
        host.wait_for("authority +active")
        after = host.status()
        assert after["authority"]["pid"] != before["authority"]["pid"]
        assert [loop["pid"] for loop in after["loops"]] == [loop["pid"] for loop in before["loops"]]
        assert host.console.count("keys leave") == 2
