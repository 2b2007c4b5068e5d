"""What a process of a loop may host."""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tlsrt.channels.control.life import FailCode
from tlsrt.config.code_look import CodeLook, ProcessCode, look_at
from tlsrt.config.code_root import Root
from tlsrt.config.components import ComponentConfig
from tlsrt.config.defaults import COMPONENTS
from tlsrt.loops.component.component import Component
from tlsrt.loops.disk_thread import DiskThread, EachAlone
from tlsrt.loops.runtime.imports import (
    PAGE_MAX,
    LoopFailure,
    check_code,
    check_disk,
    check_placement,
    import_components,
)
from tlsrt.loops.runtime.thread_watch import ThreadWatch

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


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"show('x')", ""), (None, "its package has no such file"), (b"", "at least one byte"),
     (b"x" * (PAGE_MAX + 1), "at most 131072"), (b"\xff", "no UTF-8 text")],
)  # fmt: skip
def test_a_page_is_a_text_of_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, words: str
) -> None:
    folder = tmp_path / "paged_component"
    folder.mkdir()
    (folder / "__init__.py").write_text("from tlsrt import Component\nclass Lamp(Component):\n    pass\n")
    if content is not None:
        (folder / "page.js").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "paged_component", raising=False)
    config = ComponentConfig("third", "lamp", "paged_component:Lamp", page="page.js")
    if words:
        with pytest.raises(LoopFailure, match=f"component third/lamp: page page.js: .*{words}"):
            import_components([config], logging.getLogger("third"), ThreadWatch(lambda: True))
        return
    [(_, lamp)] = import_components([config], logging.getLogger("third"), ThreadWatch(lambda: True))
    whole = asyncio.run(lamp._describe(page=True))
    assert (whole["page"], asyncio.run(lamp._describe())["page"]) == ("show('x')", 9)


def test_a_disk_thread_that_was_not_asked_for_is_refused_with_what_to_write() -> None:
    component, store = Component(), NAMED["secondary/store"]
    check_disk([(store, component)])
    component.disk_threads = [DiskThread("one", EachAlone()), DiskThread("two", EachAlone())]
    with pytest.raises(LoopFailure, match="makes disk threads: put `disk_threads: 2` under its needs"):
        check_disk([(store, component)])


@pytest.mark.parametrize("is_strict", [True, False])
def test_code_that_is_exchanged_while_it_is_imported_is_refused_before_it_serves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_strict: bool
) -> None:
    path, log = tmp_path / "heat.py", logging.getLogger("third.kettle")
    path.write_text("good = True")
    root = Root(tmp_path, "component/kettle")
    code = ProcessCode((CodeLook(root, "third/kettle", *look_at(root)),), is_strict=is_strict)
    check_code(code, log)
    path.write_text("evil = True")
    if is_strict:
        with pytest.raises(LoopFailure, match="the code of third/kettle is not what was sealed") as caught:
            check_code(code, log)
        assert caught.value.code is FailCode.CODE_CHANGED
    else:
        check_code(code, log)
        assert "is not what was sealed" in caplog.text
