"""Options of MQTT: the broker, topics that messages go to and come from, and what Home Assistant shows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any

from tlsrt import Length, Range
from tlsrt.loops.external.message import TO, TO_RULE

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_METHOD = re.compile(r"[a-z][a-z0-9_]{0,62}")
_COMPONENT = re.compile(r"(?:primary|secondary|third|forth|external)/[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_TOPIC_BYTES = 256
Argument = str | int | float | bool
Arguments = Annotated[tuple[Argument, ...], Length(8)]


def check_topic(topic: str, *, may_be_filter: bool) -> None:
    """Refuse what is no MQTT topic, or filter. Raises ValueError. MQTT 5, section 4.7."""
    if not 0 < len(topic.encode()) <= _TOPIC_BYTES or not topic.isprintable() or topic.startswith("$"):
        raise ValueError(f"{topic[:80]!r} is no topic: 1 to {_TOPIC_BYTES} printable bytes, without $ at its begin")
    levels = topic.split("/")
    for place, level in enumerate(levels):
        if "#" in level and (level != "#" or place != len(levels) - 1):
            raise ValueError(f"{topic[:80]!r} is no topic: # is a whole level, and the last")
        if "+" in level and (level != "+" or not may_be_filter):
            raise ValueError(f"{topic[:80]!r} is no topic: + is a whole level of a filter")


def _check_names(what: str, names: Any) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{what}: {name!r} is no name: write a-z, 0-9, _ and -")


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """A topic that messages go to."""

    topic: Annotated[str, Length(_TOPIC_BYTES, 1), "An MQTT topic; with /# at its end NAME.a/b goes to TOPIC/a/b."]
    retain: Annotated[bool, "Whether the broker keeps the last one for who subscribes later."] = False

    def __post_init__(self) -> None:
        check_topic(self.topic, may_be_filter=False)


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Topics that messages come from."""

    filter: Annotated[str, Length(_TOPIC_BYTES, 1), "An MQTT topic, with the wildcards + and #."]
    to: Annotated[str, Length(200), "Whose mailbox they are put into: client/NAME, a component, group/NAME."]
    retained: Annotated[bool, "Whether to take what the broker has kept from before."] = False
    answers: Annotated[str, Length(_TOPIC_BYTES), "Topics that answers may go to, + and # in it; empty: none."] = ""
    answer_s: Annotated[float, Range(1, 7 * 86_400), "How long a message can be answered, seconds."] = 3600.0

    def __post_init__(self) -> None:
        check_topic(self.filter, may_be_filter=True)
        if self.answers:
            check_topic(self.answers, may_be_filter=True)
        if not TO.fullmatch(self.to):
            raise ValueError(f"to: {self.to[:80]!r} is no address: {TO_RULE}")


@dataclass(frozen=True, kw_only=True)
class BrokerOptions:
    """Where the broker is, and who we are for it."""

    host: Annotated[str, Length(255), "A name or an address; `needs: egress` must list it with its port."] = ""
    port: Annotated[int, Range(1, 65535), "Its port for TLS."] = 8883
    ca: Annotated[str, Length(4096), "A file with the authority of its certificate, readable by `needs: read`."] = (
        "/etc/ssl/certs/ca-certificates.crt"
    )
    user: Annotated[str, Length(128), "With the secret `password`; empty where the certificate says it."] = ""
    client_id: Annotated[str, Length(64), "By which the broker knows this host again; empty: tlsrt-NODE."] = ""
    session_s: Annotated[int, Range(0, 0xFFFF_FFFE), "How long the broker keeps what comes while we are away."] = (
        7 * 86_400
    )
    window: Annotated[int, Range(1, 1000), "Messages that may wait for its acknowledgement; mosquitto takes 20."] = 16
    ack_s: Annotated[float, Range(0.1, 300), "How long it may take for one, seconds."] = 10.0


@dataclass(frozen=True, kw_only=True)
class ValueOptions:
    """A value of a component: the result of a method, asked for again and again, or what a topic of it tells."""

    component: Annotated[str, Length(70), "Such as third/kettle; a line of policy must allow the call."]
    method: Annotated[str, Length(63), "Asked for every `every_s`."] = ""
    arguments: Arguments = ()
    topic: Annotated[str, Length(63), "Or a topic that the component publishes."] = ""
    every_s: Annotated[float, Range(1, 86_400), "Seconds."] = 30.0
    field: Annotated[str, Length(128), "Where the value is in the result, as battery.percent; empty: all of it."] = ""
    name: Annotated[str, Length(64), "What people see; empty: its name here."] = ""
    unit: Annotated[str, Length(32), "Such as °C or W; not of a binary sensor."] = ""
    device_class: Annotated[str, Length(32), "Of Home Assistant, such as temperature or door."] = ""
    state_class: Annotated[str, Length(32), "Of a sensor, such as measurement."] = ""

    def __post_init__(self) -> None:
        _check_call(self.component, *(name for name in (self.method, self.topic) if name))
        if bool(self.method) == bool(self.topic):
            raise ValueError(f"{self.component}: name a `method` or a `topic`")


@dataclass(frozen=True, kw_only=True)
class ButtonOptions:
    """A method that a button calls."""

    component: Annotated[str, Length(70), "Such as third/kettle; a line of policy must allow the call."]
    method: Annotated[str, Length(63), "What is called when it is pressed."]
    arguments: Arguments = ()
    name: Annotated[str, Length(64), "What people see; empty: its name here."] = ""
    device_class: Annotated[str, Length(32), "Of Home Assistant, such as restart."] = ""

    def __post_init__(self) -> None:
        _check_call(self.component, self.method)


@dataclass(frozen=True, kw_only=True)
class SwitchOptions:
    """Methods that a switch calls, and one that says what it is."""

    component: Annotated[str, Length(70), "Such as third/lamp; a line of policy must allow the calls."]
    on: Annotated[str, Length(63), "What is called to turn it on."]
    off: Annotated[str, Length(63), "And off."]
    on_arguments: Arguments = ()
    off_arguments: Arguments = ()
    state: Annotated[str, Length(63), "A method whose result says whether it is on; empty: it is assumed."] = ""
    field: Annotated[str, Length(128), "Where in the result."] = ""
    every_s: Annotated[float, Range(1, 86_400), "How often that is asked for, seconds."] = 30.0
    name: Annotated[str, Length(64), "What people see; empty: its name here."] = ""
    device_class: Annotated[str, Length(32), "Of Home Assistant: outlet or switch."] = ""

    def __post_init__(self) -> None:
        _check_call(self.component, self.on, self.off, *((self.state,) if self.state else ()))


def _check_call(component: str, *methods: str) -> None:
    if not _COMPONENT.fullmatch(component):
        raise ValueError(f"{component[:80]!r} is no component: write LOOP/NAME")
    for method in methods:
        if not _METHOD.fullmatch(method):
            raise ValueError(f"{component}: {method[:80]!r} is no method")


@dataclass(frozen=True, kw_only=True)
class HomeAssistantOptions:
    """What Home Assistant shows of this host."""

    prefix: Annotated[str, Length(64, 1), "Where it looks for devices."] = "homeassistant"
    status_s: Annotated[float, Range(1, 3600), "How often the state of the host is looked at, seconds."] = 30.0
    components: Annotated[bool, "Whether it shows how many components run: those of `needs: runtime`, `may: list`."] = (
        False
    )
    sensors: Annotated[dict[str, ValueOptions], Length(32), "Values."] = field(default_factory=dict[str, ValueOptions])
    binary_sensors: Annotated[dict[str, ValueOptions], Length(32), "Values that are on or off."] = field(
        default_factory=dict[str, ValueOptions]
    )
    buttons: Annotated[dict[str, ButtonOptions], Length(32), "Buttons."] = field(
        default_factory=dict[str, ButtonOptions]
    )
    switches: Annotated[dict[str, SwitchOptions], Length(32), "Switches."] = field(
        default_factory=dict[str, SwitchOptions]
    )

    def __post_init__(self) -> None:
        check_topic(self.prefix, may_be_filter=False)
        if "#" in self.prefix:
            raise ValueError("prefix: it has no wildcards")
        seen: set[str] = set()
        for what in ("sensors", "binary_sensors", "buttons", "switches"):
            names = getattr(self, what)
            _check_names(what, names)
            for name in names:
                if name in seen or name.startswith("host_"):
                    raise ValueError(f"{what}: {name!r} is there already: each has a name of its own, not host_...")
                seen.add(name)


@dataclass(frozen=True, kw_only=True)
class MqttOptions:
    """Options: the broker, topics, and Home Assistant."""

    node: Annotated[str, Length(63), "The name of this host, in topics and for people."] = "tlsrt"
    broker: BrokerOptions = field(default_factory=BrokerOptions)
    topics: Annotated[dict[str, TargetOptions], Length(256), "By name, which is the topic of its messages."] = field(
        default_factory=dict[str, TargetOptions]
    )
    sources: Annotated[dict[str, SourceOptions], Length(64), "By name, which begins the topic of its messages."] = (
        field(default_factory=dict[str, SourceOptions])
    )
    home_assistant: Annotated[HomeAssistantOptions | None, "Left out: it shows nothing there."] = None
    retry_s: Annotated[float, Range(1, 86_400), "Longest pause until the broker is tried again, seconds."] = 60.0

    def __post_init__(self) -> None:
        _check_names("node", (self.node,))
        _check_names("topics", self.topics)
        _check_names("sources", self.sources)
