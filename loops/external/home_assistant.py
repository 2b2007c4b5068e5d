"""What Home Assistant is told of a host by MQTT discovery: configurations of entities, and the texts of values. Pure.

Source: the pages `mqtt` (discovery), `sensor.mqtt`, `binary_sensor.mqtt`, `button.mqtt` and `switch.mqtt` of
home-assistant.io/integrations, and the schemas of its integration. A configuration is kept by the broker (retained), as
is the last value; an entity is available while the host is `online` and its own value could be read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from tlsrt import __version__
from tlsrt.loops.external.mqtt_options import ButtonOptions, HomeAssistantOptions, SwitchOptions, ValueOptions

ONLINE, OFFLINE = "online", "offline"
ON, OFF, PRESS, UNKNOWN = "ON", "OFF", "PRESS", "None"
STATE_CHARS = 255  # Home Assistant keeps no longer state


class Entity(NamedTuple):
    """An entity: its kind, its name in topics, and the keys that only it has."""

    kind: str
    name: str
    more: Mapping[str, Any]
    has_state: bool = True
    has_commands: bool = False


class Topics(NamedTuple):
    """The topics of a host below `tlsrt/NODE`."""

    node: str

    @property
    def status(self) -> str:
        """Where the host is online or offline."""
        return f"tlsrt/{self.node}/status"

    def state(self, entity: str) -> str:
        """Where the value of an entity is."""
        return f"tlsrt/{self.node}/{entity}/state"

    def availability(self, entity: str) -> str:
        """Whether that could be read."""
        return f"tlsrt/{self.node}/{entity}/availability"

    def command(self, entity: str) -> str:
        """Where Home Assistant writes what a button or switch is to do."""
        return f"tlsrt/{self.node}/{entity}/set"


def host_entities(*, lists_components: bool) -> list[Entity]:
    """Return the entities of the host itself."""
    diagnostic = {"entity_category": "diagnostic"}
    found = [
        Entity("binary_sensor", "host_serving", {"name": "Serving", "device_class": "running", **diagnostic}),
        Entity(
            "sensor", "host_uptime",
            {"name": "Uptime", "device_class": "duration", "unit_of_measurement": "s", **diagnostic},
        ),
        Entity("sensor", "host_alerts", {"name": "Alerts", "state_class": "total_increasing", **diagnostic}),
        Entity("sensor", "host_last_alert", {"name": "Last alert", **diagnostic}),
    ]  # fmt: skip
    if lists_components:
        found.append(Entity("sensor", "host_components", {"name": "Components running", **diagnostic}))
        found.append(Entity("sensor", "host_down", {"name": "Components down", **diagnostic}))
    return found


def entities_of(options: HomeAssistantOptions) -> list[Entity]:
    """Return the entities that options name."""
    found = [Entity("sensor", name, _value(name, one, is_sensor=True)) for name, one in options.sensors.items()]
    found += [
        Entity("binary_sensor", name, _value(name, one, is_sensor=False))
        for name, one in options.binary_sensors.items()
    ]
    found += [
        Entity("button", name, {**_shown(name, one), "payload_press": PRESS}, has_state=False, has_commands=True)
        for name, one in options.buttons.items()
    ]
    for name, switch in options.switches.items():
        more = {**_shown(name, switch), "payload_on": ON, "payload_off": OFF}
        if not switch.state:
            more["optimistic"] = True
        found.append(Entity("switch", name, more, has_state=bool(switch.state), has_commands=True))
    return found


def _shown(name: str, one: ValueOptions | ButtonOptions | SwitchOptions) -> dict[str, Any]:
    more: dict[str, Any] = {"name": one.name or name.replace("_", " ").capitalize()}
    if one.device_class:
        more["device_class"] = one.device_class
    return more


def _value(name: str, one: ValueOptions, *, is_sensor: bool) -> dict[str, Any]:
    more = _shown(name, one)
    if is_sensor and one.unit:
        more["unit_of_measurement"] = one.unit
    if is_sensor and one.state_class:
        more["state_class"] = one.state_class
    return more


def configuration(entity: Entity, node: str) -> dict[str, Any]:
    """Return the discovery payload of an entity."""
    topics = Topics(node)
    available = [{"topic": topics.status}]
    if entity.has_state:
        available.append({"topic": topics.availability(entity.name)})
    shown: dict[str, Any] = {
        **entity.more, "unique_id": f"tlsrt_{node}_{entity.name}", "qos": 1, "availability": available,
        "availability_mode": "all",
        "device": {
            "identifiers": [f"tlsrt_{node}"], "name": node, "manufacturer": "tlsrt", "model": "tlsrt host",
            "sw_version": __version__,
        },
        "origin": {"name": "tlsrt", "sw_version": __version__},
    }  # fmt: skip
    if entity.has_state:
        shown["state_topic"] = topics.state(entity.name)
    if entity.has_commands:
        shown["command_topic"] = topics.command(entity.name)
        shown["retain"] = False  # a command that is kept would be one of the past
    return shown


def configurations(entities: list[Entity], node: str, prefix: str) -> dict[str, bytes]:
    """Return the discovery messages by their topics."""
    return {
        f"{prefix}/{one.kind}/tlsrt_{node}/{one.name}/config": json.dumps(configuration(one, node)).encode()
        for one in entities
    }


def field_of(value: Any, path: str) -> Any:
    """Return what lies at a path such as battery.percent or 0.name. Raises LookupError with a sentence."""
    for step in path.split(".") if path else ():
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, (list, tuple)) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise LookupError(f"there is no {step!r} in it")
    return value


def state_text(value: Any) -> str:
    """Return the state of a sensor; what is not there is unknown."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return UNKNOWN
    if isinstance(value, bool):
        return ON if value else OFF
    if isinstance(value, (int, float, str)):
        text = str(value)
    elif isinstance(value, bytes):
        text = value.hex()
    else:
        text = json.dumps(value, default=str)
    text = "".join(each if each.isprintable() else " " for each in text)
    return text[:STATE_CHARS]


def binary_text(value: Any) -> str:
    """Return the state of what is on or off."""
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return OFF if value.strip().lower() in ("", "0", "off", "false", "no", "closed", "none") else ON
    return ON if value else OFF
