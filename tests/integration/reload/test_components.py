"""Components come, change and go while the host runs, and nothing else hears of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hosts.reloading_host import EX_UNAVAILABLE, PACKAGE, edit, entry_of, outcomes, reload, seal_host, state
from hosts.running_host import RunningHost, running
from probes.descriptors import lasting

from tlsrt.errors import CallError, Denied, Unavailable

KETTLE = """
import asyncio
from tlsrt import Component, handler

class Kettle(Component):
    class Options:
        degrees: int = 100

    @handler
    async def boil(self, times: int = 1) -> str:
        count = self.state / "count"
        before = int(count.read_text()) if count.exists() else 0
        count.write_text(str(before + times))
        return f"{before + times} at {self.options.degrees}"

    @handler
    async def hold(self, for_s: float) -> str:
        (self.state / "began").touch()
        end = asyncio.get_running_loop().time() + for_s
        while not (self.state / "enough").exists() and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.05)
        return "held"

    @handler
    async def ask(self, target: str) -> str:
        return await self.call(target, "boil", 0)
"""


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    options: dict[str, Any] = {
        "components": {"third/probed": {"class": "probed:Probed"}},
        "policy": {"client/admin -> third/probed": "*"},
        "packages": [PACKAGE],
        "extra": {"measure": "strict"},
    }
    yield from running(request, **options)


def put_package(host: RunningHost, name: str, source: str) -> None:
    assert host._code is not None
    folder = host._code / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    (folder / "__init__.py").write_text(source)
    (folder / "__init__.py").chmod(0o644)


def put_component(host: RunningHost, address: str, **more: Any) -> dict[str, Any]:
    configure(host, address, **more)
    seal_host(host)
    return reload(host)


def configure(host: RunningHost, address: str, **more: Any) -> None:
    def change(document: dict[str, Any]) -> None:
        document["components"][address] = {"class": "kettle:Kettle", **more}
        document["policy"][f"client/admin -> {address}"] = "*"

    edit(host, change)


def drop_component(host: RunningHost, address: str) -> dict[str, Any]:
    def change(document: dict[str, Any]) -> None:
        del document["components"][address]
        del document["policy"][f"client/admin -> {address}"]

    edit(host, change)
    seal_host(host)
    return reload(host)


def others(host: RunningHost, *but: str) -> dict[str, int]:
    return {name: pid for name, pid in host.pids().items() if name not in but}


def test_a_component_is_added_and_answers_while_no_other_process_is_restarted(host: RunningHost) -> None:
    client, before = host.client(), others(host)
    assert client.call("third/probed", "add", 1) == 1
    with pytest.raises(Denied):
        client.call("third/kettle", "boil")
    put_package(host, "kettle", KETTLE)
    report = put_component(host, "third/kettle")
    assert entry_of(report, "third.kettle")["outcome"] == "added"
    assert {how for name, how in outcomes(report).items() if name != "third.kettle"} == {"unchanged"}
    assert client.call("third/kettle", "boil") == "1 at 100", "the session that was there has the new right"
    assert client.call("third/probed", "add", 1) == 2
    assert others(host, "third.kettle") == before
    status = host.loop("third.kettle")
    assert status["components"][0]["name"] == "kettle" and status["state"] == "active"
    uid = os.stat(f"/proc/{status['pid']}").st_uid
    assert os.geteuid() != 0 or uid not in {os.stat(f"/proc/{pid}").st_uid for pid in before.values()}
    host.told("added=third/kettle", by=("audit", "tail"))
    host.restart()
    assert host.client().call("third/kettle", "boil") == "2 at 100", "its state is where it was"


def test_an_open_call_without_a_key_survives_the_births_of_others_and_not_its_own_revocation(host: RunningHost) -> None:
    put_package(host, "kettle", KETTLE)
    put_component(host, "third/kettle")
    client, ends = host.client(), list[object]()

    def hold(for_s: float) -> threading.Thread:
        def run() -> None:
            try:
                ends.append(client.call("third/kettle", "hold", for_s, timeout_s=60))
            except CallError as error:
                ends.append(error)

        began = next(host.config.state_dir.rglob("third.kettle")) / "kettle" / "began"
        began.unlink(missing_ok=True)
        thread = threading.Thread(target=run)
        thread.start()
        while not began.exists():
            time.sleep(0.01)
        return thread

    thread, began = hold(50.0), time.monotonic()
    for number in range(3):
        report = put_component(host, f"third/kettle{number}")
        assert entry_of(report, f"third.kettle{number}")["outcome"] == "added"
    time.sleep(max(0.0, began + 6 - time.monotonic()))  # longer than the grace
    assert not ends, "it is still open"
    enough = next(host.config.state_dir.rglob("third.kettle")) / "kettle" / "enough"
    enough.touch()
    thread.join()
    assert ends == ["held"]
    enough.unlink()
    thread = hold(50.0)
    put_component(host, "third/kettle3")
    began = time.monotonic()
    assert host.cli("revoke", "client", "admin").returncode == 0  # within the grace of the epoch before
    thread.join()
    assert isinstance(ends[1], CallError) and time.monotonic() - began < 40.0, ends


def test_a_component_is_removed_and_its_process_and_rights_go(host: RunningHost) -> None:
    put_package(host, "kettle", KETTLE)
    put_component(host, "third/kettle")
    put_component(host, "forth/kettle", options={"degrees": 80})
    client, before = host.client(), others(host, "third.kettle")
    assert client.call("third/kettle", "boil") == "1 at 100"
    pid = host.loop("third.kettle")["pid"]
    report = drop_component(host, "third/kettle")
    assert entry_of(report, "third.kettle")["outcome"] == "removed"
    assert not os.path.exists(f"/proc/{pid}")
    assert others(host) == before
    with pytest.raises((Denied, Unavailable)):
        client.call("third/kettle", "boil")
    assert client.call("forth/kettle", "boil") == "1 at 80"
    report = put_component(host, "third/kettle")
    assert client.call("third/kettle", "boil") == "2 at 100", "its state was kept"
    assert others(host, "third.kettle") == before


def test_another_option_or_other_code_restarts_that_one_process(host: RunningHost) -> None:
    put_package(host, "kettle", KETTLE)
    put_component(host, "third/kettle")
    before = others(host, "third.kettle")
    report = put_component(host, "third/kettle", options={"degrees": 60})
    assert outcomes(report)["third.kettle"] == "restarted"
    assert entry_of(report, "third.kettle")["changed"] == ["third/kettle"]
    assert host.client().call("third/kettle", "boil") == "1 at 60"
    put_package(host, "kettle", KETTLE.replace(" at ", " degrees: "))
    seal_host(host)
    report = reload(host)
    assert entry_of(report, "third.kettle")["changed"] == ["code"]
    assert host.client().call("third/kettle", "boil") == "2 degrees: 60"
    assert others(host, "third.kettle") == before


def test_one_that_does_not_import_is_down_and_nothing_else_is(host: RunningHost) -> None:
    put_package(host, "kettle", f"raise ValueError('no water')\n{KETTLE}")
    configure(host, "third/kettle")
    seal_host(host)
    before = others(host)
    report = reload(host, code=EX_UNAVAILABLE)
    assert entry_of(report, "third.kettle")["outcome"] == "failed"
    assert "no water" in host.log("third.kettle")
    assert others(host, "third.kettle") == before and host.loop("third.kettle")["state"] == "failed"
    put_package(host, "kettle", KETTLE)
    seal_host(host)
    assert outcomes(reload(host))["third.kettle"] == "restarted"
    assert host.client().call("third/kettle", "boil") == "1 at 100"
    put_package(host, "kettle", f"raise ValueError('no water')\n{KETTLE}")
    drop_component(host, "third/kettle")
    assert others(host) == before


def test_components_that_come_and_go_call_each_other(host: RunningHost) -> None:
    put_package(host, "kettle", KETTLE)
    put_component(host, "third/kettle")
    client = host.client()
    with pytest.raises(CallError):
        client.call("third/kettle", "ask", "forth/kettle")
    edit(host, lambda document: document["policy"].__setitem__("third/kettle -> forth/kettle", ["boil"]))
    put_component(host, "forth/kettle", process="shared")
    assert client.call("third/kettle", "ask", "forth/kettle") == "0 at 100"
    assert host.loop("forth")["components"][-1]["name"] == "kettle", "it shares the process of its loop"
    put_component(host, "forth/kettle")
    assert client.call("third/kettle", "ask", "forth/kettle", idempotent=True) == "0 at 100"
    assert [one["name"] for one in host.loop("forth")["components"]] == ["power"]
    put_component(host, "forth/kettle", process="shared")
    assert client.call("third/kettle", "ask", "forth/kettle", idempotent=True) == "0 at 100", "and back again"
    assert "forth.kettle" not in host.pids()


def test_what_a_reload_has_added_outlives_the_authority_and_primary(host: RunningHost) -> None:
    put_package(host, "kettle", KETTLE)
    put_component(host, "third/kettle")
    for name in ("authority", "primary", "third.kettle"):
        host.kill(name)
        end = time.monotonic() + 20
        while True:
            try:
                assert host.client().call("third/kettle", "boil", 0) == "0 at 100"
                break
            except (CallError, OSError):
                assert time.monotonic() < end, f"after the end of {name}"
                time.sleep(0.05)
    drop_component(host, "third/kettle")
    assert "third.kettle" not in host.pids()


def test_calls_under_way_end_before_their_process_is_removed_whatever_else_is_asked(host: RunningHost) -> None:
    put_package(host, "kettle", KETTLE)
    put_component(host, "third/kettle")
    before, answers = others(host, "third.kettle"), list[object]()
    with host.client() as client:
        call = threading.Thread(target=lambda: answers.append(client.call("third/kettle", "hold", 1.5)))
        call.start()
        _until_it_began(host)
        asked = subprocess.Popen(host.command("restart", "third.kettle"), stdout=-1, stderr=-1)
        drop_component(host, "third/kettle")  # each look of the watchdog finds it draining
        asked.communicate()
        call.join()
    assert answers == ["held"]
    assert others(host) == before, "the host went on"


def test_the_authority_may_die_while_a_process_that_is_removed_ends(host: RunningHost) -> None:
    put_package(host, "kettle", KETTLE)
    put_component(host, "third/kettle")
    before = others(host, "third.kettle", "authority")
    with host.client() as client:
        call = threading.Thread(target=lambda: _unless_it_ends(lambda: client.call("third/kettle", "hold", 30.0)))
        call.start()
        _until_it_began(host)
        removal = threading.Thread(target=lambda: drop_component(host, "third/kettle"))
        removal.start()
        host.until(lambda status: any(loop["state"] == "draining" for loop in status["loops"]), "it drains")
        host.kill("authority")
        removal.join()
        call.join()
    assert others(host, "authority") == before and host.status()["authority"]["restarts"] == 1


def _until_it_began(host: RunningHost) -> None:
    began = host.config.state_dir / "third.kettle" / "kettle" / "began"
    host.until(lambda status: began.exists(), "the call has begun")


def _unless_it_ends(call: Callable[[], object]) -> None:
    with suppress(CallError, OSError):
        call()


def test_a_reload_that_is_refused_adds_nothing(host: RunningHost) -> None:
    before = state(host)
    put_package(host, "kettle", KETTLE)
    configure(host, "third/kettle")
    (said,) = reload(host, code=78)["said"]
    assert "boot token" in said or "seal" in said
    assert state(host) == before
    assert not [*Path(host.config.run_dir, "channel").glob("third.kettle/*")], "its socket is gone again"
    supervisor = host.pids()["supervisor"]
    opened = len(lasting(supervisor))
    for _ in range(3):
        reload(host, code=78)
    host.until(lambda status: len(lasting(supervisor)) <= opened, "nothing of it stays open")
    if os.geteuid() != 0:
        return  # then all have one uid
    given = json.loads((host.config.state_dir / "uids.json").read_text())["uids"]
    configure(host, "forth/kettle")
    edit(host, lambda document: document["components"].__delitem__("third/kettle"))
    edit(host, lambda document: document["policy"].__delitem__("client/admin -> third/kettle"))
    seal_host(host)
    reload(host)
    after = json.loads((host.config.state_dir / "uids.json").read_text())["uids"]
    assert given.items() <= after.items() and after["forth.kettle"] not in given.values()
