"""The battery without a host, at a real bus where dbus-daemon is installed; upowerd is played."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbus_fast import Message, Variant
from dbus_fast.aio import MessageBus
from home_devices.battery import PROPERTIES, ROOT, UPOWER, Battery

from tlsrt import Failed, Unavailable
from tlsrt.testing import running, running_sync

BATTERY = f"{ROOT}/devices/battery_BAT0"
CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow eavesdrop="true"/>
<allow send_destination="*" eavesdrop="true"/></policy></busconfig>
"""


@pytest.fixture
def bus() -> Iterator[str]:
    """A bus of its own."""
    program = shutil.which("dbus-daemon")
    if program is None:
        pytest.skip("dbus-daemon is not installed")
    with tempfile.TemporaryDirectory() as folder:
        path, config = Path(folder, "bus"), Path(folder, "bus.conf")
        config.write_text(CONFIG.format(path=path))
        command = [program, "--nofork", "--print-address", f"--config-file={config}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as daemon:
            assert daemon.stdout is not None
            assert daemon.stdout.readline()
            yield f"unix:path={path}"
            daemon.terminate()


async def play(address: str) -> MessageBus:
    """Be upowerd with one battery."""
    service = await MessageBus(address).connect()

    def answer(message: Message) -> Message | None:
        if message.member == "EnumerateDevices":
            return Message.new_method_return(message, "ao", [[BATTERY]])
        if message.member == "GetAll" and message.body == [UPOWER]:
            return Message.new_method_return(message, "a{sv}", [{"OnBattery": Variant("b", True)}])
        if message.member == "GetAll" and message.path == BATTERY:
            return Message.new_method_return(message, "a{sv}", [{"Percentage": Variant("d", 81.5)}])
        return None

    service.add_message_handler(answer)
    await service.request_name(UPOWER)
    return service


def test_it_says_what_upowerd_says_and_what_changes(bus: str) -> None:
    asyncio.run(says(bus))


async def says(bus: str) -> None:
    service = await play(bus)
    async with running(Battery, options={"bus": bus}) as battery:
        first = asyncio.ensure_future(anext(aiter(battery.subscribe("changed"))))
        while battery.component.bus is None:
            await asyncio.sleep(0)
        assert await battery.call("power") == {"OnBattery": True}
        assert await battery.call("sources") == {BATTERY: {"Percentage": 81.5}}
        changed = [f"{UPOWER}.Device", {"Percentage": Variant("d", 80.0)}, []]
        while not first.done():  # until the subscription is there
            await service.send(Message.new_signal(BATTERY, PROPERTIES, "PropertiesChanged", "sa{sv}as", changed))
            await asyncio.sleep(0.01)
        assert first.result() == {"path": BATTERY, "names": ["Percentage"]}
        service.disconnect()
        await service.wait_for_disconnect()  # type: ignore[no-untyped-call]
        with pytest.raises(Failed, match="ServiceUnknown"):
            await battery.call("power")


def test_without_a_bus_it_is_not_ready() -> None:
    with running_sync(Battery, options={"bus": "unix:path=/nowhere/bus"}) as battery:
        assert battery.component.ready() == "no bus"
        with pytest.raises(Unavailable, match="no bus"):
            battery.call("power")
