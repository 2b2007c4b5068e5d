"""What a process of a loop may host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tlsrt.channels.control.life import FailCode
from tlsrt.config.defaults import COMPONENTS
from tlsrt.loops.component.component import Component
from tlsrt.loops.disk_thread import DiskThread, EachAlone
from tlsrt.loops.runtime.imports import LoopFailure, check_disk, check_placement

NAMED = {component.address: component for component in COMPONENTS}
EVENTS = NAMED["primary/events"]


@pytest.mark.parametrize(
    "wrong",
    [NAMED["primary/kernel"], NAMED["primary/hardware"], replace(EVENTS, class_path="mine:Events", builtin=False),
     replace(EVENTS, name="mine", class_path="mine:Mine", builtin=False)],
)  # fmt: skip
def test_primarys_process_refuses_every_component_but_the_events(wrong: object) -> None:
    check_placement("primary", [EVENTS])
    with pytest.raises(LoopFailure, match="cannot run in the process primary") as caught:
        check_placement("primary", [EVENTS, wrong])  # type: ignore[list-item]
    assert (caught.value.code, caught.value.index) == (FailCode.IMPORT, 1)


def test_other_processes_host_what_they_are_given() -> None:
    check_placement("primary.facts", [NAMED["primary/kernel"], NAMED["primary/hardware"]])
    check_placement("secondary", [NAMED["secondary/store"]])


def test_a_disk_thread_that_was_not_asked_for_is_refused_with_what_to_write() -> None:
    component, store = Component(), NAMED["secondary/store"]
    check_disk([(store, component)])
    component.disk_threads = [DiskThread("one", EachAlone()), DiskThread("two", EachAlone())]
    with pytest.raises(LoopFailure, match="makes disk threads: put `disk_threads: 2` under its needs"):
        check_disk([(store, component)])
