"""Components that are programs: `kind: program`, with no Python to write. Pure.

What is said of the program becomes one entry `main` of `programs`, which is kept running, and the class is one of ours:
its process has the keys and the channel, speaks for the program, and asks the supervisor for it by an integer as any
component does. What stands under `needs` is what the program gets; its Python side gets nothing of it, but the secrets,
which it hands on, the device whose bytes are the program's standard input and output, and a way to the one port that
it is to look at for the program's health.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tlsrt.config.argument_patterns import NO_ARGUMENTS, ArgumentForm
from tlsrt.config.egress import EgressRule
from tlsrt.config.listeners import ListenConfig
from tlsrt.config.needs import EgressConfig, NeedsConfig
from tlsrt.config.offers import OFFER_NAME, OFFER_NAME_SAYS, OfferConfig
from tlsrt.config.programs import SECRETS_MOST, STOP_S, ProgramConfig, StopSignal
from tlsrt.config.setting import Where, keys_of, mapping, seconds, table, text

if TYPE_CHECKING:
    from tlsrt.config.components import ComponentConfig

Kind = Literal["class", "program"]
CLASS = "tlsrt.loops.program.component:ProgramComponent"
MAIN, CHECK = "main", "check"  # the names of its programs
WATCHDOG = "WATCHDOG_USEC"  # of the environment: sd_watchdog_enabled(3)
_GIVEN = (  # to the program
    "read", "egress", "listen", "secrets", "devices", "state_mb", "memory_mb", "open_files", "processes",
)  # fmt: skip
_PYTHONS = ("class", "programs", "options", "imports", "data", "page")  # what a component that has a class may say
_CHECKS = ("tcp", "http", "exec")


def _same(name: str, **changes: Any) -> Mapping[str, Any]:
    """Describe a setting as that of a program that a component has run."""
    setting = next(one.metadata["setting"] for one in fields(ProgramConfig) if one.name == name)
    return {"setting": replace(setting, on_reload=True, **changes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramKind:
    """What is said of a component that is a program."""

    kind: Kind = field(
        default="class",
        metadata=text(
            "What it is. class: a class in Python; program: a program, which needs `run` and has no class.",
            choices=("class", "program"),
            on_reload=True,
        ),
    )
    run: Path | None = field(default=None, metadata=_same("run", required=False, example="/usr/sbin/mosquitto"))
    args: tuple[ArgumentForm, ...] = field(
        default=(NO_ARGUMENTS,),
        metadata=_same(
            "args",
            about="Its arguments, as one line of words between blanks; each must fit as it is.",
            most=1,
            example='["-c /etc/mosquitto.conf"]',
        ),
    )
    also_runs: tuple[Path, ...] = field(default=(), metadata=_same("also_runs"))
    environment: Mapping[str, str] = field(default_factory=dict[str, str], metadata=_same("environment"))
    files: Mapping[str, str] = field(default_factory=dict[str, str], metadata=_same("files"))
    scratch_mb: int = field(default=0, metadata=_same("scratch_mb"))
    executable_memory: bool = field(default=False, metadata=_same("executable_memory"))
    shared_memory: bool = field(default=False, metadata=_same("shared_memory"))
    stop_signal: StopSignal = field(default="TERM", metadata=_same("stop_signal"))
    stop_seconds: float = field(default=STOP_S, metadata=_same("stop_seconds"))
    capabilities: Mapping[str, str] = field(default_factory=dict[str, str], metadata=_same("capabilities"))
    notifies: bool = field(
        default=False,
        metadata=_same(
            "notifies",
            about="It says READY=1 in NOTIFY_SOCKET, as sd_notify(3) does, and is not ready before. It may say "
            "STATUS=, RELOADING=1 and WATCHDOG=1 there too.",
        ),
    )
    watchdog_s: float | None = field(
        default=None,
        metadata=seconds(
            "With `notifies`: time from one WATCHDOG=1 to the next; one that is late ends the run.",
            0.5,
            86400,
            default_says="none is waited for",
            on_reload=True,
            example="10",
        ),
    )
    offers: tuple[OfferConfig, ...] = field(
        default=(),
        metadata=mapping(
            "Methods that it answers, by JSON-RPC 2.0 in lines over its descriptor 3.",
            table(OfferConfig, named_by="name"),
            64,
            OFFER_NAME,
            OFFER_NAME_SAYS,
            default={},
            on_reload=True,
            example="{boil: {says: boils water, arguments: {litres: float}, returns: str}}",
        ),
    )
    topics: Mapping[str, str] = field(
        default_factory=dict[str, str],
        metadata=mapping(
            "Topics that it publishes, by notifications over its descriptor 3, and what each tells.",
            text("What it tells.", least=3, most=1000),
            64,
            on_reload=True,
            example="{boiled: the water has boiled}",
        ),
    )


@dataclass(frozen=True, slots=True)
class ProgramCheck:
    """A program that is run to see whether another one is well: it is if it ends with the status 0."""

    run: Path = field(metadata=_same("run", required=True, default_says="", example="/usr/bin/redis-cli"))
    args: tuple[ArgumentForm, ...] = field(
        default=(NO_ARGUMENTS,),
        metadata=_same("args", about="Its arguments, as one line of words.", most=1, example='["ping"]'),
    )


def words_of(form: ArgumentForm) -> tuple[str, ...]:
    """Return the words of a form without placeholders. Raises ValueError for one that leaves anything open."""
    for word in form.words:
        plain = word.text.replace("{{", "").replace("}}", "")
        if word.is_repeated or "{" in plain:
            raise ValueError(f"{word.text} leaves open what it is: a component that is a program has no caller for it")
    return tuple(word.text.replace("{{", "{").replace("}}", "}") for word in form.words)


# What goes together


def problems_of(tree: Mapping[str, Any]) -> Iterator[tuple[Where, str]]:
    """Yield where in a component's checked tree something does not go with its kind, and a sentence."""
    health = _table(tree, "health")
    if not isinstance(tree.get("kind", ""), str):
        return  # which is a problem already
    if tree.get("kind") != "program":
        keys = [name for name in keys_of(ProgramKind) if name in tree and name != "kind"]
        for name in keys:
            yield (name,), f"{name} is for a component with `kind: program`: add that, or remove it"
        for name in (*_CHECKS, "start_s"):
            if name in health:
                yield ("health", name), f"{name} is for a component with `kind: program`: write `healthy` in its class"
        return
    if "run" not in tree:
        yield ("kind",), "a component with `kind: program` needs `run`: the path of its executable"
    for name in _PYTHONS:
        if name in tree:
            yield (name,), f"a component with `kind: program` has no {name}: remove one of them"
    if tree.get("process") == "shared":
        yield ("process",), "a component with `kind: program` has a process of its own: remove `process: shared`"
    for name in _table(tree, "needs"):
        if name not in _GIVEN:
            yield ("needs", name), f"a program cannot have {name}: it may ask for {', '.join(_GIVEN)}"
    if isinstance(secrets := _table(tree, "needs").get("secrets"), list) and len(secrets) > SECRETS_MOST:
        yield ("needs", "secrets"), f"a program gets at most {SECRETS_MOST} secrets: remove some"
    if isinstance(devices := _table(tree, "needs").get("devices"), list) and len(devices) > 1:
        why = "a program gets one device, as its standard input and output: remove the others"
        yield ("needs", "devices"), why
    listeners = _table(tree, "needs").get("listen")
    passed = [one for one in listeners or () if isinstance(one, dict) and one.get("pass") is True]
    if passed and (said := next((name for name in ("offers", "topics") if tree.get(name)), "")):
        why = f"it has `pass`, and descriptor 3, where passed sockets begin, is that of its {said}"
        yield ("needs", "listen"), f"{passed[0].get('name')}: {why}: remove one; without `pass` it binds by itself"
    if "watchdog_s" in tree and tree.get("notifies") is not True:
        yield ("watchdog_s",), "watchdog_s needs `notifies: true`, as WATCHDOG=1 comes there"
    yield from _problems_of_words(tree, health)
    yield from _problems_of_checks(tree, health)


def _problems_of_words(tree: Mapping[str, Any], health: Mapping[str, Any]) -> Iterator[tuple[Where, str]]:
    from tlsrt.config.argument_patterns import parse_form

    check = _table(health, "exec")
    for where, forms in ((("args",), tree.get("args")), (("health", "exec", "args"), check.get("args"))):
        for form in forms if isinstance(forms, list) else ():
            try:
                words_of(parse_form(form))
            except ValueError as error:
                yield where, f"args: {error}"


def _problems_of_checks(tree: Mapping[str, Any], health: Mapping[str, Any]) -> Iterator[tuple[Where, str]]:
    asked = [name for name in _CHECKS if name in health]
    if len(asked) > 1:
        yield ("health", asked[1]), f"health has one check, {asked[0]} or {asked[1]}: remove one"
    listeners = _table(tree, "needs").get("listen")
    ports = [one.get("port") for one in listeners or () if isinstance(one, dict) and one.get("protocol") != "udp"]
    for name in ("tcp", "http"):
        port = health.get(name)
        port = int(port.partition("/")[0]) if isinstance(port, str) else port
        if isinstance(port, int) and port not in ports:
            has = f"it has {', '.join(map(str, ports))}" if ports else "it has none"
            yield ("health", name), f"health.{name}: {port} is no TCP port of needs.listen: {has}"


def _table(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = tree.get(key)
    return found if isinstance(found, dict) else {}


# The program of a component


def with_program(component: ComponentConfig, where: str) -> ComponentConfig:
    """Return a component that is a program as one with a class and programs; `where` is its place in the file."""
    needs, health = component.needs, component.health
    assert component.run is not None
    environment = dict(component.environment)
    if component.watchdog_s is not None:
        environment.setdefault(WATCHDOG, str(round(component.watchdog_s * 1_000_000)))
    read = tuple(one.path for one in needs.read)
    limits = {name: getattr(needs, name) for name in ("memory_mb", "open_files", "processes") if getattr(needs, name)}
    main = ProgramConfig(
        MAIN, component.run, "the component is this program", component.args, life="kept",
        talks=bool(component.offers or component.topics), notifies=component.notifies, read=read,
        also_runs=component.also_runs, scratch_mb=component.scratch_mb, environment=environment,
        executable_memory=component.executable_memory, shared_memory=component.shared_memory,
        egress=needs.egress, listen=needs.listen,
        state_mb=needs.state_mb, secrets={one.name: one.why for one in needs.secrets}, files=component.files,
        stop_signal=component.stop_signal, stop_seconds=component.stop_seconds, where=where,
        capabilities=component.capabilities, **limits,
    )  # fmt: skip
    programs: tuple[ProgramConfig, ...] = (main,)
    if health.exec is not None:
        targets = tuple(_way_to(one) for one in needs.listen if one.protocol == "tcp")
        check = ProgramConfig(
            CHECK, health.exec.run, "it says whether the component is well", health.exec.args, at_once=1,
            seconds=health.timeout_s, egress=targets, where=where,
        )  # fmt: skip
        programs = (main, check)
    checked = checked_listener(component)
    ways = () if checked is None else (_way_to(checked),)
    own = NeedsConfig(egress=ways, secrets=needs.secrets, devices=needs.devices)
    return replace(component, class_path=CLASS, needs=own, programs=programs)


def checked_listener(component: ComponentConfig) -> ListenConfig | None:
    """Return the listener that is looked at for a component's health; None if none is."""
    health = component.health
    port = int(health.http.partition("/")[0]) if health.http is not None else health.tcp
    listeners = (*component.needs.listen, *(one for program in component.programs for one in program.listen))
    return next((one for one in listeners if one.port == port and one.protocol == "tcp"), None)


def host_of(listener: ListenConfig) -> str:
    """Return the address at which a listener is reached on this host."""
    address = ipaddress.ip_address(listener.host)
    if not address.is_unspecified:
        return listener.host
    return "127.0.0.1" if address.version == 4 else "::1"


def _way_to(listener: ListenConfig) -> EgressConfig:
    """Return the right to connect to one listener, and to nothing else."""
    rule = EgressRule("tcp", ipaddress.ip_network(host_of(listener)), listener.port, listener.port)
    return EgressConfig((rule,), f"health: it looks whether {listener.name} answers")
