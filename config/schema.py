"""The configuration as frozen dataclasses: each setting once, with all that is known of it.

`load.py` makes the values from YAML; nothing else does. How a setting is written here is told in `setting.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlsrt.config.access import METHOD, POLICY_LINE, ClientConfig, PolicyRule
from tlsrt.config.acme import AcmeConfig
from tlsrt.config.acme import check_table as check_acme
from tlsrt.config.audit import AuditConfig
from tlsrt.config.collectors import Collector, TracesConfig, check_traces
from tlsrt.config.components import ComponentConfig, LoopConfig
from tlsrt.config.deception import DeceptionConfig
from tlsrt.config.detection import LEARNED, DetectionConfig, Mode, detector_of
from tlsrt.config.devices import DeviceConfig
from tlsrt.config.door import DoorConfig
from tlsrt.config.door_places import OPERATORS, SESSIONS
from tlsrt.config.failed import FailedComponent
from tlsrt.config.host_events import HostEventsConfig
from tlsrt.config.host_settings import SettingConfig
from tlsrt.config.listeners import Listener
from tlsrt.config.log import LogConfig
from tlsrt.config.metrics import MetricsConfig
from tlsrt.config.name_rules import NameRule, name_rules
from tlsrt.config.program_kind import checked_listener
from tlsrt.config.release import KEY, PACKAGE
from tlsrt.config.resolver import ResolverConfig
from tlsrt.config.scheduling import SchedulingConfig
from tlsrt.config.setting import (
    ADDRESS,
    ADDRESS_SAYS,
    PROCESS,
    PROCESS_SAYS,
    VARIABLE_NAME,
    VARIABLE_SAYS,
    WHY,
    count,
    file_path,
    listing,
    mapping,
    seconds,
    table,
    text,
)
from tlsrt.config.supervision import SupervisionConfig

Engine = Literal["native", "libzmq"]
DEFAULT_LOOPS = ("primary", "secondary", "third", "forth", "external")


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where master_key, the root of every key of this host, comes from."""

    provider: Literal["file", "credential"] = field(
        metadata=text(
            "The source. file: a file of mode 0600; credential: a systemd credential ($CREDENTIALS_DIRECTORY).",
            choices=("file", "credential"),
        )
    )
    path: Path | None = field(
        default=None, metadata=file_path("The key file, for provider file.", example="master.key")
    )
    name: str | None = field(
        default=None,
        metadata=text(
            "The credential's name, for provider credential.",
            pattern=r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,127}",
            says="a credential name: letters, digits, _ . @ : -, and no slash",
            example="tlsrt-master-key",
        ),
    )


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """How loops are confined."""

    uid_base: int = field(
        default=771000, metadata=count("The first of the uids given to loops, as root.", 1000, 4000000000)
    )
    waive: Mapping[str, str] = field(
        default_factory=dict[str, str],
        metadata=mapping(
            "Sandbox layers that you accept to lose on this host, each with your reason.",
            text("The reason.", least=3, most=1000),
            32,
            says="the name of a sandbox layer",
            on_reload=True,
            example="{net_namespace: this container forbids network namespaces}",
        ),
    )


@dataclass(frozen=True, slots=True)
class ChannelsConfig:
    """How the loops speak to Primary, which itself always speaks natively."""

    engine: Engine = field(
        default="native",
        metadata=text(
            "The engine of their links. native: our own, without threads; libzmq: through pyzmq, more CPU for a call.",
            choices=("native", "libzmq"),
        ),
    )


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """Life and flow limits."""

    ready_timeout_s: float = field(default=10.0, metadata=seconds("Time that a loop has to become active.", 0.5, 600))
    stop_timeout_s: float = field(default=5.0, metadata=seconds("Time between TERM and KILL.", 0.1, 600))
    epoch_s: float = field(default=900.0, metadata=seconds("Time until all keys change.", 5, 86400))
    queue_frames: int = field(default=1024, metadata=count("Unsent frames per channel before `busy`.", 1, 1048576))
    calls_per_session: int = field(default=1024, metadata=count("Open calls per session before `busy`.", 1, 1048576))
    sessions_per_client: int = field(
        default=64, metadata=count("Sessions of one client at once, before `busy`; one a connection.", 1, 4096)
    )
    openings_per_s: int = field(
        default=4, metadata=count("New sessions a second of one client, before `busy`.", 1, 1000, unit="1/s")
    )
    openings_burst: int = field(
        default=128, metadata=count("New sessions of one client at once, after a time without any.", 1, 10000)
    )
    frames_per_s: int = field(
        default=50_000,
        metadata=count(
            "Frames a second of one client, with all of its connections, before `busy`.", 1, 1000000, unit="1/s"
        ),
    )
    frames_per_s_of: Mapping[str, int] = field(
        default_factory=dict[str, int],
        metadata=mapping(
            "The same for single clients, by name: enrolled ones too.",
            count("Frames a second.", 1, 1000000, unit="1/s"),
            4096,
            example="{backup: 200000}",
        ),
    )


_NO_DECOYS = DeceptionConfig()
_ALONE = SupervisionConfig()  # every loop is supervised on its own
_WATCHED = DetectionConfig()


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration of one tlsrt host. Relative paths start at the folder of this file."""

    version: int = field(
        default=2,
        kw_only=True,
        metadata=count("The version of this format.", 1, 2, choices=(1, 2), required=True, on_reload=True),
    )
    path: Path  # of the YAML file
    install_id: bytes = field(  # 16 bytes
        metadata=text(
            "The id of this installation. Never change it: every key is derived from it too.",
            key="install",
            pattern="[0-9a-f]{32}",
            says="32 lower-case hex digits in quotes",
            parse=bytes.fromhex,
            example='"00112233445566778899aabbccddeeff"',
        )
    )
    master_key: KeySource = field(
        metadata=table(
            KeySource,
            absent="there is no master_key, so nothing starts: add `master_key: {provider: file, path: FILE}` "
            "with a FILE of 32 random bytes and mode 0600",
            switch="provider",
            needs={"file": "path", "credential": "name"},
        )
    )
    boot_token: Path = field(
        metadata=file_path("The boot token, written by `tlsrt-supervisor init` and `seal`.", example="boot.token")
    )
    measure: Literal["strict", "warn"] = field(
        metadata=text(
            "What follows if files differ from the boot token. strict: no start; warn: a start that says so.",
            default="strict",
            choices=("strict", "warn"),
        )
    )
    state_dir: Path = field(metadata=file_path("The folder of the state.", default="state"))
    run_dir: Path = field(metadata=file_path("The folder of the sockets and the lock.", default="run"))
    log_dir: Path = field(metadata=file_path("The folder of the logs.", default="log"))
    door: DoorConfig = field(metadata=table(DoorConfig))
    loops: tuple[LoopConfig, ...] = field(
        metadata=mapping(
            "Settings of the five default loops, and more loops; primary.facts is the process of Primary's components.",
            table(LoopConfig, nullable=True, named_by="name"),
            32,
            PROCESS,
            PROCESS_SAYS,
            default={},
            on_reload=True,
            example="{third: {memory_mb: 256}, reports: {}}",
        )
    )
    components: tuple[ComponentConfig, ...] = field(
        metadata=mapping(
            "Components by address, loop/name.",
            table(ComponentConfig, nullable=True),
            256,
            ADDRESS,
            ADDRESS_SAYS,
            default={},
            on_reload=True,
            example='{third/notes: {class: "notes:Notes"}, external/network: null}',
        )
    )
    policy: tuple[PolicyRule, ...] = field(
        metadata=mapping(
            'Who may call what: "from -> to": [methods]. What is not listed is denied.',
            listing('The methods that may be called, or "*" for all.', METHOD, 256, least=1, word="*"),
            4096,
            POLICY_LINE,
            'a policy line, "from -> to", each loop/component or client/name, with * for a whole name',
            default={},
            on_reload=True,
            example='{client/admin -> third/io: "*", third/notes -> secondary/store: [put, get]}',
        )
    )
    clients: tuple[ClientConfig, ...] = field(
        metadata=mapping(
            "Clients outside, by name.",
            table(ClientConfig, named_by="name"),
            4096,
            default={},
            example=f'{{admin: {{fingerprint: "{"0f" * 32}"}}}}',
        )
    )
    environment: Mapping[str, str] = field(
        default_factory=dict[str, str],
        metadata=mapping(
            "Variables of the environment that stand in this configuration as `${NAME}`, each with its reason. Another "
            "value is another configuration, to be sealed; a secret is not for here.",
            WHY,
            64,
            VARIABLE_NAME,
            VARIABLE_SAYS,
            on_reload=True,
            example="{TLSRT_DOOR_PORT: the port that the container publishes}",
        ),
    )
    sandbox: SandboxConfig = field(default=SandboxConfig(), metadata=table(SandboxConfig))
    channels: ChannelsConfig = field(default=ChannelsConfig(), metadata=table(ChannelsConfig))
    limits: LimitsConfig = field(default=LimitsConfig(), metadata=table(LimitsConfig))
    scheduling: SchedulingConfig = field(default=SchedulingConfig(), metadata=table(SchedulingConfig))
    supervision: SupervisionConfig = field(default=_ALONE, metadata=table(SupervisionConfig))
    detection: DetectionConfig = field(default=_WATCHED, metadata=table(DetectionConfig))
    deception: DeceptionConfig = field(default=_NO_DECOYS, metadata=table(DeceptionConfig))
    audit: AuditConfig = field(default=AuditConfig(), metadata=table(AuditConfig))
    log: LogConfig = field(default=LogConfig(), metadata=table(LogConfig))
    traces: TracesConfig = field(default=TracesConfig(), metadata=table(TracesConfig, check=check_traces))
    resolver: ResolverConfig = field(default=ResolverConfig(), metadata=table(ResolverConfig, on_reload=True))
    metrics: MetricsConfig = field(default=MetricsConfig(), metadata=table(MetricsConfig))
    publishers: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict[str, tuple[str, ...]],
        metadata=mapping(
            "Packages of Python and whose signature of a release `seal --accept` takes; a plain `seal` accepts no "
            "change of them any more.",
            listing(
                "Public keys.",
                text("A key, as `release key` prints it.", pattern=KEY, says="64 lower-case hex digits in quotes"),
                8, least=1,
            ),
            64,
            PACKAGE,
            "a package's name as PEP 503 writes it: a-z, 0-9 and -",
            example=f'{{tlsrt: ["{"0f" * 32}"]}}',
        ),
    )  # fmt: skip
    acme: AcmeConfig = field(default=AcmeConfig(), metadata=table(AcmeConfig, check=check_acme, on_reload=True))
    failed: tuple[FailedComponent, ...] = ()  # those that drop-ins should have added
    remarks: tuple[str, ...] = ()  # what was left out of what drop-ins say, and what is old
    variables: Mapping[str, str] = field(default_factory=dict[str, str])  # those of `environment`, with their values

    @property
    def serves_http(self) -> bool:
        """Tell whether the door speaks HTTP with clients that may use it."""
        return self.door.http or any(client.http for client in self.clients)

    @property
    def sessions_remembered(self) -> int:
        """Return for how many sessions a process remembers what it has verified: all that the door admits."""
        return min(SESSIONS, max(2048, self.door.max_connections + OPERATORS + len(self.components)))

    @property
    def collectors(self) -> tuple[Collector, ...]:
        """Return where the log goes, in the order in which the process that sends it counts."""
        return (*self.log.collectors, *self.traces.collectors)

    def loop(self, name: str) -> LoopConfig:
        return next(loop for loop in self.loops if loop.name == name)

    def components_of(self, process: str) -> tuple[ComponentConfig, ...]:
        """Return the components that run in a process."""
        return tuple(component for component in self.components if component.process == process)

    @property
    def needs_helper(self) -> bool:
        """Say whether a component needs something that only the helper does."""
        needs = [component.needs for component in self.components]
        settings = [setting for one in needs for setting in one.settings if not setting.is_network]
        return bool(settings) or any(one.devices or any(each.takes_helper for each in one.events) for one in needs)

    @property
    def needs_network_helper(self) -> bool:
        """Say whether a component needs something that takes CAP_NET_ADMIN."""
        return any(setting.is_network for one in self.components for setting in one.needs.settings)

    @property
    def own_names(self) -> tuple[NameRule, ...]:
        """Return the names that the supervisor connects to itself: of the CA of ACME, and of collectors."""
        rules = (self.acme.rule, *(one.rule for one in self.collectors))
        return tuple(one for one in rules if one is not None)

    @property
    def needs_resolver(self) -> bool:
        """Say whether a name has to be looked up: its own, or one of an egress rule."""
        return bool(self.own_names) or any(self.names_of(loop.name) for loop in self.loops)

    @property
    def needs_learner(self) -> bool:
        """Say whether anything follows from what is only unusual."""
        modes = self.detection.mode, self.detection.mode_of(detector_of(LEARNED))
        return Mode.IGNORE not in modes

    def names_of(self, process: str) -> tuple[NameRule, ...]:
        """Return the egress rules of a process and its programs that have a name, each once."""
        own = [one for loop in self.loops if loop.name == process for one in loop.egress]
        for component in self.components_of(process):
            own += [*component.needs.egress, *(one for program in component.programs for one in program.egress)]
        return name_rules(rule for one in own for rule in one.rules)

    def devices_of(self, process: str) -> tuple[tuple[ComponentConfig, DeviceConfig], ...]:
        """Return the devices of a process and whose they are, in the order in which its life channel counts them."""
        return tuple((one, device) for one in self.components_of(process) for device in one.needs.devices)

    def host_settings_of(self, process: str) -> tuple[tuple[ComponentConfig, SettingConfig], ...]:
        """Return the settings of the kernel of a process, in the order in which its life channel counts them."""
        return tuple((one, setting) for one in self.components_of(process) for setting in one.needs.settings)

    def host_events_of(self, process: str) -> tuple[tuple[ComponentConfig, HostEventsConfig], ...]:
        """Return the event grants of a process and whose they are, in the order in which its life channel counts."""
        return tuple((one, events) for one in self.components_of(process) for events in one.needs.events)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Return the listening sockets of all components and their programs, in the order of the file."""
        found: list[Listener] = []
        for each in self.components:
            found += [Listener(each.process, each.address, one) for one in each.needs.listen]
            pairs = [(program.name, one) for program in each.programs for one in program.listen]
            watched = checked_listener(each)
            found += [Listener(each.process, each.address, one, name, one is watched) for name, one in pairs]
        return tuple(found)

    @property
    def grants(self) -> tuple[str, ...]:
        """Return what the supervisor opens for components, a few words each, as the audit log records it."""
        listens = [f"{one.holder} listens on {one.asked.place}" for one in self.listeners]
        connects = [f"{one.address} connects to {each.path}" for one in self.components for each in one.needs.sockets]
        buses = [f"{one.address} {each.sentence}" for one in self.components for each in one.needs.buses]
        return (*listens, *connects, *buses)

    @property
    def placed_apart(self) -> Mapping[str, str]:
        """Return address -> process, for every component that does not run in the process named like its loop."""
        return {component.address: component.process for component in self.components if component.part}


FILE = table(Config)["setting"]
