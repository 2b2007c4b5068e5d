"""examples/gateway by its README's own commands: a line that speaks, people who are told, HTTP, and kills."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hosts.plugged_line import PTYS, Line
from hosts.readme_reader import ReadmeReader
from hosts.running_host import RunningHost
from tools.programs import need

from tlsrt import CallError, Client, Denied, Rejected

EXAMPLE = Path(__file__).parents[2] / "examples" / "gateway"
GATEWAY, NOTIFY = "third/gateway", "third/notify"
LIMIT_S = 30.0
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="devices are opened by root")


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    folder = Path(tempfile.mkdtemp(prefix="tlsrt-", dir="/dev"))
    line = Line(folder, "sensor")
    line.plug()
    yield line
    line.unplug()
    folder.rmdir()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    """A host with the example's package, as `pip install` and `init` leave it."""
    host = RunningHost(packages=[EXAMPLE / "sensor_gateway"], prelude=PTYS)
    try:
        yield host
        if request.session.testsfailed and host.console:
            host.print_logs()
    finally:
        host.close()


@pytest.fixture(scope="module")
def reader(host: RunningHost, line: Line) -> ReadmeReader:
    reader = ReadmeReader(host, EXAMPLE, {"/dev/ttyUSB0": str(line.path)})
    for beginning in ("mkdir", "cp", "tlsrt-supervisor seal"):
        reader.type(beginning)
    host.start()
    with host.client() as client:
        until(lambda: says(client, line, "temperature=21.5", 21.5))
    return reader


def until(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + LIMIT_S
    while not (found := what()):
        assert time.monotonic() < end, found
    return found


def says(client: Client, line: Line, words: str, value: float) -> bool:
    """Have the sensor say something; tell whether the gateway shows it."""
    os.write(line.master, f"{words}\n".encode())
    try:
        readings = client.call(GATEWAY, "readings")
    except CallError:  # a process is being started
        return False
    return any(one["value"] == value for one in readings.values())


def test_a_reader_sees_readings_and_their_history(reader: ReadmeReader, host: RunningHost, line: Line) -> None:
    shown = yaml.safe_load(reader.type("tlsrt call third/gateway readings"))
    assert shown["temperature"]["value"] == 21.5 and shown["temperature"]["wall_ms"] > 1_700_000_000_000
    with host.client() as client:
        until(lambda: says(client, line, "temperature=22", 22))
    assert "22" in reader.type("tlsrt call third/gateway history").split()
    job = reader.type("tlsrt call third/gateway report").strip()
    [found] = [one for one in host.client().jobs() if one["id"] == job]
    assert (found["target"], found["method"]) == (GATEWAY, "report")


def test_people_are_told_while_it_is_too_hot(reader: ReadmeReader, host: RunningHost, line: Line) -> None:
    with host.client() as client:
        until(lambda: says(client, line, "temperature=31", 31))
        [open_one] = until(lambda: client.call(NOTIFY, "list", state="open", topic="gateway")["notices"])
        assert (open_one["title"], open_one["sender"]) == ("temperature is 31, above 30", GATEWAY)
        assert "temperature is 31" in reader.type("tlsrt call third/notify list")
        until(lambda: says(client, line, "temperature=20", 20))
        until(lambda: client.call(NOTIFY, "show", open_one["id"])["state"] == "withdrawn")


def test_a_panel_reads_over_http_and_nothing_else(reader: ReadmeReader, host: RunningHost) -> None:
    need("curl")
    reader.type("tlsrt-supervisor client add")
    reader.type("tlsrt --bundle")
    assert "temperature" in json.loads(reader.type("curl"))
    with Client(host.folder / "panel.tlsrt") as panel, pytest.raises((Denied, Rejected)):
        panel.call(GATEWAY, "report")


def test_each_process_may_be_killed_and_what_was_shown_is_there(
    reader: ReadmeReader, host: RunningHost, line: Line
) -> None:
    names = [loop["name"] for loop in host.status()["loops"] if loop["state"] == "active"]
    with host.client() as client:
        shown = [one["value"] for one in client.call(GATEWAY, "history", "temperature", 500)]
        number = client.call(NOTIFY, "list")["notices"][0]["id"]
    for name in (*names, "authority"):
        host.respawn(name)
    with host.client() as client:
        until(lambda: says(client, line, "temperature=19", 19))
        kept = [one["value"] for one in client.call(GATEWAY, "history", "temperature", 500)]
        assert kept[-len(shown) :] == shown
        assert client.call(NOTIFY, "show", number)["id"] == number
    assert [loop["violations"] for loop in host.status()["loops"]] == [0] * len(host.status()["loops"])
