"""The entities of a host at Home Assistant: values are looked at and told when they change, commands are carried out.

What is told waits as one value a topic, so a broker that is away costs no memory, and the last value is what arrives.
A command is carried out at most once and at once: it is asked for with QoS 0 on a connection of which the broker knows
nothing afterwards, it is dropped where the broker says that it has kept it, and nothing repeats it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tlsrt import CallError, Component, DeadlineExceeded, Gap, MisuseError, ServerLocked, Transaction, Unavailable
from tlsrt.loops.external.broker_link import BrokerLink
from tlsrt.loops.external.broker_message import Received, Subscription
from tlsrt.loops.external.carrier import NotTaken, Refused
from tlsrt.loops.external.home_assistant import (
    OFF,
    OFFLINE,
    ON,
    ONLINE,
    PRESS,
    UNKNOWN,
    Entity,
    Topics,
    binary_text,
    configurations,
    entities_of,
    field_of,
    host_entities,
    state_text,
)
from tlsrt.loops.external.mqtt_options import HomeAssistantOptions, SwitchOptions, ValueOptions

EVENTS, KERNEL = "primary/events", "primary/kernel"
COMMANDS = 4  # that may wait at one button or switch
FRESH_S = 5.0  # a command that has waited longer is no longer what is wanted
CALL_S = 30.0
SERVES_S = 5.0  # a host that has not answered so long does not serve
_GREET_S = 10.0  # between two answers to Home Assistant's own start
_PAUSE_S = 300.0
Call = tuple[str, str, tuple[Any, ...]]  # component, method, arguments


class HomeAssistantBridge:
    """What Home Assistant shows of this host, and may do."""

    def __init__(self, component: Component, options: HomeAssistantOptions, node: str) -> None:
        self.trouble: dict[str, str] = {}  # entity, or "discovery": why it is not there
        self._component = component
        self._options = options
        self._node = node
        self._topics = Topics(node)
        self._entities: list[Entity] = [
            *host_entities(lists_components=options.components), *entities_of(options)
        ]  # fmt: skip
        self._link: BrokerLink | None = None
        self._wanted: dict[str, bytes] = {}  # topic: what it is to say
        self._dirty: dict[str, None] = {}
        self._news = asyncio.Event()
        self._commands: dict[str, asyncio.Queue[tuple[float, Call, str]]] = {}
        self._calls: dict[str, dict[str, tuple[str, Call]]] = {}  # topic: payload: entity, call
        self._look_again: dict[str, asyncio.Event] = {}
        self._alerts = 0
        self._birth_topic = f"{options.prefix}/status"
        self._greeted = 0.0
        self._name_commands()

    def _name_commands(self) -> None:
        for name, button in self._options.buttons.items():
            call = (button.component, button.method, tuple(button.arguments))
            self._calls[self._topics.command(name)] = {PRESS: (name, call)}
        for name, switch in self._options.switches.items():
            self._calls[self._topics.command(name)] = {
                ON: (name, (switch.component, switch.on, tuple(switch.on_arguments))),
                OFF: (name, (switch.component, switch.off, tuple(switch.off_arguments))),
            }

    # -- the connection ---------------------------------------------------------------------------------------

    def subscriptions(self) -> tuple[Subscription, ...]:
        """Return what the connection subscribes to: commands, and the birth of Home Assistant."""
        return tuple(Subscription(topic, 0) for topic in (*self._calls, self._birth_topic))

    def start(self, link: BrokerLink) -> None:
        """Look at values, and tell them over a connection."""
        self._link = link
        spawn = self._component.spawn
        spawn(self._publish, name="states")
        spawn(self._look_at_host, name="state of the host")
        spawn(self._follow_alerts, name="alerts")
        for kind, values in (("sensor", self._options.sensors), ("binary_sensor", self._options.binary_sensors)):
            for name, one in values.items():
                spawn(partial(self._read, name, one, kind == "sensor"), name=f"{kind} {name}")
        for name, switch in self._options.switches.items():
            if switch.state:
                spawn(partial(self._read, name, _state_of(switch), False), name=f"switch {name}")
        for name in (*self._options.buttons, *self._options.switches):
            self._commands[name] = asyncio.Queue(COMMANDS)
            spawn(partial(self._carry_out, name), name=f"commands of {name}")

    async def greet(self) -> None:
        """Tell Home Assistant of all entities, and the broker that the host is there. Raises NotTaken."""
        assert self._link is not None
        database = self._component.db  # type: ignore[attr-defined]
        wanted = configurations(self._entities, self._node, self._options.prefix)
        before = [row["topic"] for row in await database.read("SELECT topic FROM discovered LIMIT 5000")]
        await database.transaction(_note, sorted(wanted))
        self.trouble.pop("discovery", None)
        try:
            for topic, payload in wanted.items():
                await self._link.publish(topic, payload, retain=True)
            for topic in before:
                if topic not in wanted:  # an entity that the options name no more
                    await self._link.publish(topic, b"", retain=True)
                    await database.execute("DELETE FROM discovered WHERE topic = ?", topic)
        except Refused as error:
            self.trouble["discovery"] = str(error)
        self._dirty.update(dict.fromkeys(self._wanted))
        self._news.set()

    def take(self, message: Received) -> None:
        """Take a message of the broker; what is no command that the options name is dropped."""
        if message.is_retained:
            self._component.count("commands_retained")
            return
        if message.topic == self._birth_topic:
            self._take_birth(message.payload)
            return
        payload = message.payload[:16].decode("ascii", "replace")
        found = self._calls.get(message.topic, {}).get(payload)
        if found is None or len(message.payload) > len(payload):
            self._component.count("commands_unknown")
            return
        name, call = found
        try:
            self._commands[name].put_nowait((self._now(), call, payload))
        except asyncio.QueueFull:
            self._component.count("commands_dropped")

    def _take_birth(self, payload: bytes) -> None:
        """Home Assistant has started: tell it all again, though the broker has kept it, at most every 10 s."""
        now = self._now()
        if payload == ONLINE.encode() and now - self._greeted > _GREET_S and self._link is not None:
            self._greeted = now
            self._dirty.update(dict.fromkeys(self._wanted))
            self._news.set()

    async def _publish(self) -> None:
        """Tell what is new, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            assert self._link is not None
            while self._dirty and self._link.away is None:
                topic = next(iter(self._dirty))
                del self._dirty[topic]
                try:
                    await self._link.publish(topic, self._wanted[topic], retain=True)
                except NotTaken:
                    self._dirty[topic] = None
                    break  # the next connection tells it
                except Refused as error:
                    self.trouble["states"] = str(error)

    # -- values -----------------------------------------------------------------------------------------------

    def _set(self, name: str, text: str | None) -> None:
        """Note what an entity shows; None: it could not be read."""
        self._want(self._topics.availability(name), OFFLINE if text is None else ONLINE)
        if text is not None:
            self._want(self._topics.state(name), text)

    def _want(self, topic: str, text: str) -> None:
        payload = text.encode()
        if self._wanted.get(topic) != payload:
            self._wanted[topic] = payload
            self._dirty[topic] = None
            self._news.set()

    async def _look_at_host(self) -> None:
        for name, text in (("host_alerts", "0"), ("host_last_alert", UNKNOWN)):
            self._set(name, text)
        while True:
            try:
                uptime = await self._component.call(KERNEL, "uptime", timeout_s=SERVES_S)
            except (ServerLocked, Unavailable, DeadlineExceeded):
                self._set("host_serving", OFF)  # locked, or Primary is down: components are not told which
            except CallError as error:
                self._set("host_serving", None)
                self.trouble["host"] = error.message
            else:
                self.trouble.pop("host", None)
                self._set("host_serving", ON)
                seconds = uptime.get("uptime_s") if isinstance(uptime, Mapping) else None
                self._set("host_uptime", state_text(int(seconds) if seconds else None))
                if self._options.components:
                    await self._look_at_components()  # a call came back, so the process runs, as these questions want
            await asyncio.sleep(self._options.status_s)

    async def _look_at_components(self) -> None:
        try:
            states = await self._component.runtime.states()
        except (CallError, MisuseError) as error:
            self.trouble["components"] = str(error)
            return
        self.trouble.pop("components", None)
        down = sorted(name for name, state in states.items() if state != "active")
        self._set("host_components", str(len(states) - len(down)))
        self._set("host_down", state_text(", ".join(down) or "none"))

    async def _follow_alerts(self) -> None:
        while True:
            try:
                async for event in self._component.follow(EVENTS, "security"):
                    if isinstance(event, Gap) or not isinstance(event, Mapping) or event.get("severity") != "alarm":
                        continue
                    self._alerts += 1
                    self._set("host_alerts", str(self._alerts))
                    self._set("host_last_alert", state_text(f"{event.get('name')}: {event.get('subject')}"))
            except CallError as error:  # policy does not let it
                self.trouble["alerts"] = error.message
                self._set("host_alerts", None)
                await asyncio.sleep(_PAUSE_S)

    async def _read(self, name: str, one: ValueOptions, is_sensor: bool) -> None:
        """Look at one value, for ever."""
        again = self._look_again.setdefault(name, asyncio.Event())
        while True:
            try:
                if one.topic:
                    async for event in self._component.follow(one.component, one.topic):
                        if not isinstance(event, Gap):
                            self._show(name, one, event, is_sensor)
                value = await self._component.call(one.component, one.method, *one.arguments, timeout_s=CALL_S)
                self._show(name, one, value, is_sensor)
            except CallError as error:
                self._is_not_there(name, error.message)
            again.clear()
            try:
                async with asyncio.timeout(one.every_s):
                    await again.wait()
            except TimeoutError:
                continue

    def _show(self, name: str, one: ValueOptions, value: Any, is_sensor: bool) -> None:
        try:
            found = field_of(value, one.field)
        except LookupError as error:
            self._is_not_there(name, str(error))
            return
        self.trouble.pop(name, None)
        self._set(name, state_text(found) if is_sensor else binary_text(found))

    def _is_not_there(self, name: str, why: str) -> None:
        if self.trouble.get(name) != why:
            self._component.log.warning("%s is not there: %s", name, why)
        self.trouble[name] = why
        self._set(name, None)

    # -- commands ---------------------------------------------------------------------------------------------

    async def _carry_out(self, name: str) -> None:
        """Carry out the commands of one button or switch, one after the other, each once."""
        component = self._component
        while True:
            came, (target, method, arguments), word = await self._commands[name].get()
            if self._now() - came > FRESH_S:
                component.count("commands_dropped")
                continue
            component.log.info("%s: %s, asked for at the broker", name, word)
            try:
                await component.call(target, method, *arguments, timeout_s=CALL_S)
            except CallError as error:
                component.count("commands_failed")
                component.log.warning("%s: %s of %s: %s", name, method, target, error.message)
            else:
                component.count("commands")
            if (again := self._look_again.get(name)) is not None:
                again.set()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _state_of(switch: SwitchOptions) -> ValueOptions:
    return ValueOptions(
        component=switch.component, method=switch.state, field=switch.field, every_s=switch.every_s
    )  # fmt: skip


def _note(transaction: Transaction, topics: Sequence[str]) -> None:
    transaction.execute_many("INSERT OR IGNORE INTO discovered VALUES (?)", [(topic,) for topic in topics])
