"""Built-in components have manifests as others have: they give their processes no more than their old profiles did."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from hosts.builtin_profiles import rendered

from tlsrt.config.defaults import PROCESSES
from tlsrt.config.door_places import GUESTS

BEFORE = json.loads(Path(__file__).with_name("builtin_profiles.json").read_text())
MORE = {
    "time",  # as clock_gettime; OpenSSL asks so, and a kernel without vDSO for it is asked for real
    "openat: arg2 lacks O_CREAT O_TMPFILE",  # the same files, whatever the register of the unused mode holds
    "open: arg1 lacks O_CREAT O_TMPFILE",
}
PLACES = {"primary": GUESTS}  # at the door, of browsers, which were not there then
LESS = {"secondary": {"fchown"}}  # which every loop answers as if it was done


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_of_built_in_components_may_do_what_it_could_and_no_more(process: str) -> None:
    now, before = rendered(process, "libzmq"), copy.deepcopy(BEFORE[process])  # which was the engine then
    for stage, calls in before["calls"].items():
        assert set(now["calls"][stage]) - MORE == set(calls) - LESS.get(process, set()), stage
    before["limits"]["nofile"] += PLACES.get(process, 0)
    assert {**now, "calls": None} == {**before, "calls": None}


@pytest.mark.parametrize("process", PROCESSES)
def test_our_own_engine_lets_no_process_do_more_than_libzmq_did(process: str) -> None:
    native, other = rendered(process, "native"), rendered(process, "libzmq")
    assert all({*native["calls"][stage]} <= {*calls} for stage, calls in other["calls"].items())
    same = {"calls": None, "most_tasks": None, "at_once": None}
    assert {**native, **same} == {**other, **same}
    threads = 0 if process == "primary" else 2
    if other["at_once"] is not None:
        assert native["at_once"] == other["at_once"] - threads
    asks = "sched_setscheduler: arg1 in SCHED_OTHER"
    assert [asks in each["calls"]["sealed"] for each in (native, other)] == [False, process != "primary"]
