"""The bridge without a host, and with a real broker where mosquitto is installed: `pytest` here."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest
from mqtt_bridge.bridge import Bridge
from mqtt_bridge.inbox import Inbox
from mqtt_bridge.messages import Message

from tlsrt import ConfigError, InvalidArgument, Unavailable
from tlsrt.testing import running, running_sync

ANYBODY = {"user": ""}  # a broker that wants no login


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def broker() -> Iterator[int]:
    """A broker on a port of its own; it says when it is ready."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed")
    port = free_port()
    with subprocess.Popen([program, "-p", str(port)], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while b"running" not in process.stderr.readline():
            assert process.poll() is None
        yield port
        process.kill()


def test_without_a_broker_it_is_not_ready_and_sends_nothing() -> None:
    with running_sync(Bridge, options={**ANYBODY, "broker_port": free_port()}) as bridge:
        while "refused" not in bridge.component.ready():
            bridge.run(asyncio.sleep(0.01))
        with pytest.raises(Unavailable, match="no broker at"):
            bridge.call("send", "garden/lamp", b"on")


def test_a_wildcard_is_no_topic() -> None:
    with running_sync(Bridge, options=ANYBODY) as bridge, pytest.raises(InvalidArgument, match="wildcards"):
        bridge.call("send", "garden/#", b"on")


def test_a_mistyped_option_is_named() -> None:
    with (
        pytest.raises(ConfigError, match="did you mean subscribe"),
        running_sync(Bridge, options={"subscribed": ["#"]}),
    ):
        pass


async def round_trip(port: int) -> list[Message]:
    options = {**ANYBODY, "broker_port": port, "subscribe": ["garden/#"], "deliver_to": "secondary/inbox"}
    async with (
        running(Inbox) as inbox,
        running(Bridge, options=options, peers={"secondary/inbox": inbox.component}) as it,
    ):
        arrived = inbox.subscribe("arrived")
        while it.component.ready() is not None:
            await asyncio.sleep(0.01)
        await it.call("send", "garden/lamp", "on")
        await it.call("send", "garden/gate", b"\x00", qos=2)
        await anext(arrived), await anext(arrived)
        assert (await it.call("figures"))["out"] == 2
        return [one async for one in inbox.stream("recent")]


def test_what_goes_out_comes_in_again(broker: int) -> None:
    kept = asyncio.run(round_trip(broker))
    assert [(one["topic"], one["payload"]) for one in kept] == [("garden/lamp", b"on"), ("garden/gate", b"\x00")]
