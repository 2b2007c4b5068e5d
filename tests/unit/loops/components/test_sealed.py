"""A sealed loop can import nothing, start no thread, and open no code: every built-in method must live with that."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[4] / "examples"

SEALED = """
import sys
import asyncio, logging, os, threading
from pathlib import Path
from tlsrt.errors import CallError
from tlsrt.loops.component.component import attach, detach
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.external.network import Network
from tlsrt.loops.forth.power import Power
from tlsrt.loops.facts.hardware import Hardware
from tlsrt.loops.facts.kernel import Kernel
from tlsrt.loops.secondary.store import Store
from tlsrt.loops.third.io import InputOutput

class Sealed:
    def find_spec(self, name, path=None, target=None):
        os.write(2, f"late import of {name}\\n".encode())
        os._exit(9)

async def chunks():
    yield b"x"

CALLS = {
    "sysctl": ["vm.swappiness"], "put": ["k", {"a": [1, b"x"]}], "get": ["k"], "entry": ["k"], "delete": ["k"],
    "write": ["f", "x"], "append": ["f", "x"], "read": ["f"], "read_text": ["f"], "read_stream": ["f"],
    "write_stream": ["g"], "notify": ["info", "x"], "subscribe": ["notice"],
    "learn": ["usb 1:2"], "forget": ["usb 1:2"], "change": ["light", 1], "recent": ["error"],
}

async def use(component):
    await component.start()
    methods = ["describe", *type(component).__tlsrt_methods__]
    methods.sort(key=lambda name: name == "delete")
    for wrong in ([], [object()], ["../x"], ["k", 1, 2, 3, 4, 5, 6]):
        for name in methods:
            upload = chunks() if name == "write_stream" else None
            args = CALLS.get(name, []) if wrong == [] else wrong
            try:
                work = invoke(component, name, args, {}, subject="c/a", upload=upload)
                if hasattr(work, "__aiter__"):
                    try:
                        await asyncio.wait_for(anext(work), 0.05)
                    except TimeoutError:
                        pass
                    await work.aclose()
                else:
                    await work
            except CallError as error:
                str(error)
    try:
        invoke(component, "nothing", [], {}, subject="c/a")
    except CallError as error:
        str(error)
    await component.stop()
    detach(component)

async def main():
    for kind in (Network, Power, Hardware, Kernel, Store, InputOutput):
        component = kind()
        state = Path(sys.argv[1], kind.__name__)
        state.mkdir()
        attach(component, address="a/b", options={}, state=state, log=logging.getLogger("x"), port=None)
        await use(component)
        others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
        names = [thread.name for thread in others]
        assert set(names) <= {"store-disk", "io-disk"} and len(names) <= 1, (kind, names)
        for thread in others:  # it ends with its component
            thread.join(10)
        assert threading.active_count() == 1, kind

async def warm():
    try:
        await asyncio.wait_for(asyncio.sleep(1), 0.01)
    except TimeoutError:
        pass

asyncio.run(warm())
sys.meta_path.insert(0, Sealed())
asyncio.run(main())
"""


def test_no_built_in_method_imports_late_or_starts_a_thread_but_for_its_disk(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SEALED, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_the_seal_of_this_test_holds(tmp_path: Path) -> None:
    spoiled = SEALED.replace("asyncio.run(main())", "import antigravity")
    run = subprocess.run(
        [sys.executable, "-c", spoiled, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 9
    assert "late import of antigravity" in run.stderr


@pytest.fixture
def notes() -> Any:
    path = EXAMPLES / "notes/notes/__init__.py"
    spec = importlib.util.spec_from_file_location("notes_example", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["notes_example"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["notes_example"]


def test_the_example_offers_what_its_readme_says(notes: Any) -> None:
    methods = notes.Notes.__tlsrt_methods__
    assert {name: (spec.stream, spec.idempotent) for name, spec in methods.items()} == {
        "add": (False, False),
        "all": (True, True),
        "host": (False, True),
    }
