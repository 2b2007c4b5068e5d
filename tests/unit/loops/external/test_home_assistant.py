"""What Home Assistant is told: each key is one that its documentation has for that kind of entity, and each value fits.

The lists are those of the discovery schema in the source of its integration (some of older versions), compared
with excerpts of the tables "Configuration variables" at home-assistant.io/integrations (sensor, binary_sensor, button,
switch). The program itself is too large to be run here.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tlsrt.loops.external.home_assistant import (
    binary_text,
    configurations,
    entities_of,
    field_of,
    host_entities,
    state_text,
)
from tlsrt.loops.external.mqtt_options import (
    ButtonOptions,
    HomeAssistantOptions,
    SwitchOptions,
    ValueOptions,
    check_topic,
)  # fmt: skip

TOPIC = re.compile(r"homeassistant/(?P<kind>\w+)/(?P<node>[a-zA-Z0-9_-]+)/(?P<object>[a-zA-Z0-9_-]+)/config")
ALL = {
    "availability", "availability_mode", "device", "entity_category", "name", "origin", "qos", "unique_id",
    "device_class",
}  # fmt: skip
KEYS = {
    "sensor": ALL | {"state_topic", "state_class", "unit_of_measurement"},
    "binary_sensor": ALL | {"state_topic"},
    "button": ALL | {"command_topic", "payload_press", "retain"},
    "switch": ALL | {"state_topic", "command_topic", "optimistic", "payload_on", "payload_off", "retain"},
}
REQUIRED = {
    "sensor": {"state_topic"}, "binary_sensor": {"state_topic"}, "button": {"command_topic"},
    "switch": {"command_topic"},
}  # fmt: skip
DEVICE = {"identifiers", "manufacturer", "model", "name", "sw_version"}
OPTIONS = HomeAssistantOptions(
    sensors={"water": ValueOptions(
        component="third/kettle", method="look", field="degrees", unit="°C", device_class="temperature",
        state_class="measurement",
    )},
    binary_sensors={"lid": ValueOptions(component="third/kettle", topic="lid", device_class="opening")},
    buttons={"boil": ButtonOptions(component="third/kettle", method="boil", arguments=(2,))},
    switches={
        "lamp": SwitchOptions(component="third/lamp", on="on", off="off", state="look", field="is_on"),
        "radio": SwitchOptions(component="third/radio", on="on", off="off", name="The radio"),
    },
)  # fmt: skip


def shown() -> dict[str, tuple[str, dict[str, Any]]]:
    found = configurations([*host_entities(lists_components=True), *entities_of(OPTIONS)], "kettle", "homeassistant")
    made: dict[str, tuple[str, dict[str, Any]]] = {}
    for topic, payload in found.items():
        match = TOPIC.fullmatch(topic)
        assert match is not None, topic
        assert match["node"] == "tlsrt_kettle"
        made[match["object"]] = match["kind"], json.loads(payload)
    return made


def test_each_configuration_has_the_documented_keys_and_no_other() -> None:
    for name, (kind, payload) in shown().items():
        assert payload.keys() <= KEYS[kind], (name, payload.keys() - KEYS[kind])
        assert REQUIRED[kind] <= payload.keys(), name
        assert payload["device"].keys() == DEVICE and payload["device"]["identifiers"]
        assert payload["origin"]["name"] and payload["availability_mode"] in ("all", "any", "latest")
        assert payload["qos"] in (0, 1, 2) and payload.get("entity_category") in (None, "diagnostic", "config")
        for one in payload["availability"]:
            assert one.keys() == {"topic"}  # then `online` and `offline` are the payloads
        for key in ("state_topic", "command_topic"):
            if key in payload:
                check_topic(payload[key], may_be_filter=False)
                assert "#" not in payload[key]


def test_names_are_of_this_host_alone_and_one_device_has_all() -> None:
    payloads = [payload for _, payload in shown().values()]
    assert len({one["unique_id"] for one in payloads}) == len(payloads)
    assert len({json.dumps(one["device"]) for one in payloads}) == 1


def test_a_switch_without_a_state_is_assumed_and_commands_are_not_kept() -> None:
    found = shown()
    assert found["radio"][1]["optimistic"] is True and "state_topic" not in found["radio"][1]
    assert found["lamp"][1]["state_topic"] == "tlsrt/kettle/lamp/state" and "optimistic" not in found["lamp"][1]
    assert all(found[name][1]["retain"] is False for name in ("lamp", "radio", "boil"))
    assert found["water"][1]["unit_of_measurement"] == "°C" and found["radio"][1]["name"] == "The radio"


def test_values_become_texts_that_it_takes() -> None:
    values: list[Any] = [None, float("nan"), True, 7.5, "a\nb", b"\x01"]
    assert [state_text(one) for one in values] == [
        "None", "None", "ON", "7.5", "a b", "01",
    ]  # fmt: skip
    assert len(state_text("x" * 1000)) == 255 and state_text({"a": 1}) == '{"a": 1}'
    values = [None, 0, 1, "off", "open", "", []]
    assert [binary_text(one) for one in values] == [
        "None", "OFF", "ON", "OFF", "ON", "OFF", "OFF",
    ]  # fmt: skip
    assert field_of({"cells": [{"volts": 3}]}, "cells.0.volts") == 3
    for path in ("volts", "cells.1", "cells.x", "cells.0.volts.z"):
        with pytest.raises(LookupError, match="there is no"):
            field_of({"cells": [{"volts": 3}]}, path)


@pytest.mark.parametrize(
    ("topic", "may_be_filter", "is_good"),
    [
        ("a/b", False, True), ("a/#", False, True), ("a/+/b", True, True), ("a/+/b", False, False),
        ("#/a", True, False), ("a#", True, False), ("a/b+", True, False), ("$SYS/x", True, False), ("", True, False),
        ("a\0b", True, False), ("x" * 257, True, False),
    ],
)  # fmt: skip
def test_topics_are_checked(topic: str, may_be_filter: bool, is_good: bool) -> None:
    if is_good:
        check_topic(topic, may_be_filter=may_be_filter)
    else:
        with pytest.raises(ValueError, match="is no topic"):
            check_topic(topic, may_be_filter=may_be_filter)


def test_an_option_that_is_wrong_is_told() -> None:
    with pytest.raises(ValueError, match="name a `method` or a `topic`"):
        ValueOptions(component="third/kettle")
    with pytest.raises(ValueError, match="is no component"):
        ButtonOptions(component="client/anna", method="boil")
    button = ButtonOptions(component="third/kettle", method="boil")
    with pytest.raises(ValueError, match="there already"):
        HomeAssistantOptions(
            buttons={"lamp": button}, switches={"lamp": SwitchOptions(component="third/lamp", on="on", off="off")}
        )
