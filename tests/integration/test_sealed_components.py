"""`pytest --sealed`: a component in a real sandboxed process, as root and rootless, with no host around it."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from probes.sandbox_runner import MODES, NOBODY, become_nobody

from tlsrt import CallError, Component, ConfigError, Failed, Unavailable
from tlsrt.testing import ComponentUnderTest, SealedError, running
from tlsrt.testing.running import use_way
from tlsrt.testing.sealed import SealedRun

PACKAGE = Path(__file__).resolve().parents[1] / "hosts" / "sealed_package"


class FakeKernel:
    def uname(self) -> dict[str, str]:
        return {"release": "6.1"}


@pytest.fixture(scope="module", params=MODES)
def lamp(request: pytest.FixtureRequest) -> Iterator[type[Component]]:
    drops = request.param == "rootless" and os.geteuid() == 0
    sys.path.append(str(PACKAGE))
    run = SealedRun(become_nobody if drops else None)
    use_way(run.way)
    lamp: type[Component] = importlib.import_module("sealable").Lamp
    lamp.mode = request.param  # type: ignore[attr-defined]
    yield lamp
    use_way(None)
    run.close()
    sys.path.remove(str(PACKAGE))


def run(lamp: type[Component], test: Callable[[ComponentUnderTest], Awaitable[None]], **more: Any) -> Path:
    """Run a test, in a folder of the user who runs the processes; return that."""
    state = Path(tempfile.mkdtemp(prefix="tlsrt-sealed-state-"))
    if lamp.mode == "rootless" and os.geteuid() == 0:  # type: ignore[attr-defined]
        os.chown(state, NOBODY, NOBODY)

    async def main() -> None:
        async with asyncio.timeout(30), running(lamp, state=state, **more) as it:
            await test(it)

    asyncio.run(main())
    return state


def test_calls_streams_uploads_and_peers_reach_a_process_of_its_own(lamp: type[Component]) -> None:
    async def test(it: ComponentUnderTest) -> None:
        assert await it.call("shine", 3) == "3 s for client/test, in process 1"
        assert [item async for item in it.stream("blink", 100)] == list(range(100))
        assert await it.upload("swallow", b"x" * 500_000) == 500_000
        assert await it.call("kernel") == "6.1"
        with pytest.raises(CallError, match="seconds: expected int"):
            await it.call("shine", "long")

    state = run(lamp, test, peers={"primary/kernel": FakeKernel()})
    assert (state / "started").read_text() == "yes"


def test_a_refused_call_fails_the_test_with_what_to_do_about_it(lamp: type[Component]) -> None:
    async def test(it: ComponentUnderTest) -> None:
        assert await it.call("socket") == "EPERM"

    with pytest.raises(SealedError, match=r"socket\(2, .*it has no network; put egress rules under the needs"):
        run(lamp, test)


def test_a_test_may_expect_refused_calls(lamp: type[Component]) -> None:
    async def test(it: ComponentUnderTest) -> None:
        assert await it.call("socket") == "EPERM"
        for _ in range(1000):  # it is told by another process
            if it.refused:
                break
            await it.call("shine", 1)
        assert it.refused and "socket(2, " in it.refused[0]
        it.refused.clear()

    run(lamp, test)


def test_files_and_imports_are_those_of_a_host(lamp: type[Component]) -> None:
    async def test(it: ComponentUnderTest) -> None:
        assert await it.call("read", "/etc/passwd") == "ENOENT"
        assert await it.call("read", os.__file__) == "EACCES"
        with pytest.raises(Failed):
            await it.call("late")

    run(lamp, test)


def test_all_parts_of_a_package_are_there_if_its_imports_say_so(lamp: type[Component]) -> None:
    late = "xml.etree.ElementInclude"

    async def test(it: ComponentUnderTest) -> None:
        assert await it.call("late_part", late)

    run(lamp, test, imports=["xml.*"])
    with pytest.raises(Failed):
        run(lamp, test)


def test_what_it_needs_is_what_it_gets(lamp: type[Component]) -> None:
    async def test(it: ComponentUnderTest) -> None:
        assert await it.call("read", "/etc/hostname") == "allowed"
        assert await it.call("thread") == "started"

    run(lamp, test, needs={"read": ["/etc/hostname"], "threads": 2})


def test_what_cannot_be_had_is_said_as_on_a_host(lamp: type[Component]) -> None:
    async def test(it: ComponentUnderTest) -> None:
        raise AssertionError("it has started")

    with pytest.raises(ConfigError, match="third/lamp cannot have execve: no process of the runtime"):
        run(lamp, test, needs={"calls": [{"calls": ["execve"], "why": "runs a shell"}]})
    with pytest.raises(Failed, match="ValueError: no bulb"):
        run(lamp, test, options={"broken": True})


def test_a_call_that_ends_the_process_fails_the_test_with_that_call(lamp: type[Component]) -> None:
    async def test(it: ComponentUnderTest) -> None:
        with pytest.raises(Unavailable, match="the sealed process has ended: SIGKILL"):
            await it.call("execute")

    with pytest.raises(SealedError, match="execve"):
        run(lamp, test)


def test_a_sealed_component_has_its_workers_from_the_test(
    lamp: type[Component], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(PACKAGE.parent / "worker_package")
    typed = importlib.import_module("working.component").Typed
    typed.mode = lamp.mode  # type: ignore[attr-defined]

    async def test(it: ComponentUnderTest) -> None:
        found = await asyncio.gather(*(it.call("found", str(number)) for number in range(4)))
        assert [one["label"] for one in found] == ["0", "1", "2", "3"]
        assert await it.upload("size", b"x" * 200_000) == 200_000
        assert [item async for item in it.stream("count", 50)] == list(range(50))

    run(typed, test, programs={"model": {"worker": "working.model", "why": "a test", "at_once": 2}})


def test_a_worker_that_is_not_declared_is_a_sentence(lamp: type[Component], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PACKAGE.parent / "worker_package")
    typed = importlib.import_module("working.component").Typed
    typed.mode = lamp.mode  # type: ignore[attr-defined]

    async def test(it: ComponentUnderTest) -> None:
        pytest.fail("it has started")

    with pytest.raises(Failed, match="no worker 'model' is declared: give `programs` to `running`"):
        run(typed, test, programs={})
