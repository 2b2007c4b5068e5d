"""The inbox without a host: `pytest` here."""

from __future__ import annotations

from pathlib import Path

import pytest
from mqtt_bridge.inbox import Inbox
from mqtt_bridge.messages import Message

from tlsrt import InvalidArgument
from tlsrt.testing import running_sync

BRIDGE = "external/mqtt"


def message(topic: str, payload: bytes = b"x") -> Message:
    return Message(topic=topic, payload=payload, qos=1, retain=False)


def test_messages_are_kept_with_their_sender_over_a_restart(tmp_path: Path) -> None:
    with running_sync(Inbox, state=tmp_path) as inbox:
        inbox.call("deliver", [message("garden/lamp", b"on"), message("garden/gate")], caller=BRIDGE)
    with running_sync(Inbox, state=tmp_path) as inbox:
        kept = list(inbox.stream("recent"))
        assert [(one["topic"], one["payload"], one["sender"]) for one in kept] == [
            ("garden/lamp", b"on", BRIDGE),
            ("garden/gate", b"x", BRIDGE),
        ]
        assert [one["topic"] for one in inbox.stream("recent", topic="garden/gate")] == ["garden/gate"]


def test_the_oldest_go() -> None:
    with running_sync(Inbox, options={"keep": 2}) as inbox:
        inbox.call("deliver", [message(f"n/{n}") for n in range(5)])
        assert inbox.call("count") == 2
        assert [one["topic"] for one in inbox.stream("recent")] == ["n/3", "n/4"]


def test_who_subscribed_hears_of_each() -> None:
    with running_sync(Inbox) as inbox:
        arrived = inbox.subscribe("arrived")
        inbox.call("deliver", [message("a"), message("b")])
        assert [next(arrived)["topic"], next(arrived)["topic"]] == ["a", "b"]


def test_a_message_of_another_shape_is_refused_and_none_is_kept() -> None:
    with running_sync(Inbox) as inbox:
        with pytest.raises(InvalidArgument, match=r"messages\[1\]"):
            inbox.call("deliver", [message("a"), {"topic": "b"}])
        assert inbox.call("count") == 0
