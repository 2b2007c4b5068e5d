"""Built-in components have manifests as others have: they give their processes no more than their old profiles did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hosts.builtin_profiles import rendered

from tlsrt.config.defaults import PROCESSES

BEFORE = json.loads(Path(__file__).with_name("builtin_profiles.json").read_text())
MORE = {
    "time",  # as clock_gettime; OpenSSL asks so, and a kernel without vDSO for it is asked for real
    "openat: arg2 lacks O_CREAT O_TMPFILE",  # the same files, whatever the register of the unused mode holds
    "open: arg1 lacks O_CREAT O_TMPFILE",
}
LESS = {"secondary": {"fchown"}}  # which every loop answers as if it was done


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_of_built_in_components_may_do_what_it_could_and_no_more(process: str) -> None:
    now, before = rendered(process), BEFORE[process]
    for stage, calls in before["calls"].items():
        assert set(now["calls"][stage]) - MORE == set(calls) - LESS.get(process, set()), stage
    assert {**now, "calls": None} == {**before, "calls": None}
