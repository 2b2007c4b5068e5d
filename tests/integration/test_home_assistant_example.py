"""examples/home_assistant by its README's own commands: a lamp, a real broker, and who stands for Home Assistant."""

from __future__ import annotations

import json
import queue
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hosts.joined_messages import until
from hosts.plain_wheels import write_wheel
from hosts.readme_reader import ReadmeReader
from hosts.running_host import RunningHost
from hosts.tls_broker import TlsBroker

pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]
EXAMPLE = Path(__file__).parents[2] / "examples" / "home_assistant"
RIGHTS = {"kettle": ("readwrite tlsrt/kettle/#", "readwrite homeassistant/#"), "house": ("readwrite #",)}


@pytest.fixture(scope="module")
def broker() -> Iterator[TlsBroker]:
    with TlsBroker(RIGHTS) as made:
        yield made


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    failed = request.session.testsfailed
    with RunningHost(execute=True) as made:
        yield made
        if request.session.testsfailed > failed:
            made.print_logs()


@pytest.fixture(scope="module")
def reader(host: RunningHost, broker: TlsBroker) -> ReadmeReader:
    """A reader who has typed all but `pip install`."""
    replaced = {
        "mqtt.example.org:8883": f"127.0.0.1:{broker.port}",
        "{host: mqtt.example.org,": f"{{host: 127.0.0.1, port: {broker.port},",
        "/etc/mosquitto/ca.crt": str(broker.folder / "ca.pem"),
        "./examples/home_assistant --yes": "var/lamp-0.1-py3-none-any.whl --isolated --yes",
        "kettle.crt kettle.key": str(broker.folder / "kettle.pem"),
    }
    reader = ReadmeReader(host, EXAMPLE, replaced)
    sources = {f"lamp/{one.name}": one.read_text() for one in (EXAMPLE / "lamp").glob("*.*")}
    write_wheel(host.folder, "lamp", sources, component=True)
    for beginning in ("external/messages", "external/mqtt", "./examples"):
        reader.type(f"tlsrt-supervisor component add {beginning}")
    reader.type("cat kettle.crt")
    until(lambda: connected(host))
    assert re.search(r"^state: +-$", reader.type("tlsrt call external/mqtt connections"), re.MULTILINE)
    return reader


def connected(host: RunningHost) -> bool:
    with host.client() as admin:  # idempotent: its process may have just ended, and take a while to start
        return bool(admin.call("external/mqtt", "connections", timeout_s=60, idempotent=True) == {"state": None})


def test_home_assistant_is_shown_the_four_and_turns_the_lamp(reader: ReadmeReader, broker: TlsBroker) -> None:
    wanted = {
        f"homeassistant/{kind}/tlsrt_kettle/{name}/config"
        for kind, name in (("sensor", "watts"), ("binary_sensor", "lit"), ("switch", "light"), ("button", "blink"))
    }
    shown: dict[str, dict[str, str]] = {}
    with broker.listener("house", "homeassistant/#") as house:
        while not wanted <= shown.keys():
            one = house.next("homeassistant/#")
            shown[one.topic.rsplit("/", 2)[1]] = shown[one.topic] = json.loads(one.payload)
    switch, button = shown["light"], shown["blink"]
    with broker.listener("house", "tlsrt/kettle/#") as house:
        house.say(switch["command_topic"], switch["payload_on"])
        until(lambda: house.next("tlsrt/kettle/light/state").payload == b"ON")
        assert "7.5" in reader.type("tlsrt call third/lamp look")
        house.say(switch["command_topic"], switch["payload_off"])
        until(lambda: house.next("tlsrt/kettle/light/state").payload == b"OFF")
        house.say(button["command_topic"], button["payload_press"])
        until(lambda: re.search(r"blinks: +2", reader.type("tlsrt call third/lamp look")))


def test_what_is_turned_on_here_is_seen_there_also_by_a_new_process(
    reader: ReadmeReader, broker: TlsBroker, host: RunningHost
) -> None:
    host.respawn("external.mqtt")
    until(lambda: connected(host))
    with broker.listener("house", "tlsrt/kettle/#") as house:

        def is_seen() -> bool:
            reader.type("tlsrt call third/lamp on")  # again, if it was before the new process listened
            with suppress(queue.Empty):
                return house.next("tlsrt/kettle/lit/state", limit_s=3).payload == b"ON"
            return False

        until(is_seen)
    assert [loop["violations"] for loop in host.status()["loops"]] == [0] * len(host.status()["loops"])
