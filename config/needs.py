"""What a component or loop needs beyond what every process has: paths, hosts, system calls, limits.

An operator writes it in the configuration, a package in its manifest, in the same words and under the same judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tlsrt.config.alerts import ALERTS_MAX, AlertConfig
from tlsrt.config.budgets import BudgetConfig
from tlsrt.config.buses import BusConfig
from tlsrt.config.devices import DeviceConfig, refusal_of_device
from tlsrt.config.egress import SAYS
from tlsrt.config.host_events import HostEventsConfig, refusal_of_events
from tlsrt.config.host_settings import SettingConfig, refusal_of_setting
from tlsrt.config.listeners import ListenConfig
from tlsrt.config.name_rules import NameRule, Rule, parse_network, parse_rule
from tlsrt.config.public_address import Network
from tlsrt.config.runtime_rights import RUNTIME_MAX, RuntimeConfig, refusal_of_runtime
from tlsrt.config.setting import NAME, NAME_SAYS, WHY, boolean, count, file_path, listing, mapping, table, text
from tlsrt.config.unix_sockets import SocketConfig

FOLDERS = listing("Folders that it may read.", file_path("A folder."), 64, example="[/srv/pictures]")


@dataclass(frozen=True, slots=True)
class EgressConfig:
    """Some hosts and ports of the network, and the reason."""

    to: tuple[Rule, ...] = field(
        metadata=listing(
            "Rules, HOST:PORT[-PORT][/udp]; HOST is a name, or ADDRESS[/PREFIX], or * for any public address.",
            text("A rule.", pattern=r"\S+:\S+", says=SAYS, parse=parse_rule, most=270),
            64,
            least=1,
            example='["192.0.2.7:443"]',
        )
    )
    why: str = field(metadata=WHY)
    within: tuple[Network, ...] = field(
        default=(),
        metadata=listing(
            "Networks, ADDRESS[/PREFIX], that hold the addresses of the names.",
            text("A network.", parse=parse_network, most=64),
            16,
            default_says="a name may have any public address, and none that is private, link-local or of this host",
            example="[192.168.1.0/24]",
        ),
    )

    budget: BudgetConfig | None = field(
        default=None, metadata=table(BudgetConfig, example="{per_minute: 60, at_once: 8}")
    )

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return its rules, each rule of a name with the networks that hold its addresses."""
        return tuple(replace(one, within=self.within) if isinstance(one, NameRule) else one for one in self.to)


def refusal_of_egress(entry: Mapping[str, Any]) -> str:
    """Return what is wrong with an entry as a whole, "" if nothing is. Pure."""
    budget = entry.get("budget") or {}
    if any(one.endswith("_per_day") for one in budget) and any(one.endswith("/udp") for one in entry["to"]):
        return "bytes of UDP are not counted: put its UDP rules into an entry of their own"
    return ""


EGRESS = listing(
    "Hosts and ports that may be reached; nothing else can be. An empty list is the default.",
    table(EgressConfig, check=refusal_of_egress),
    64,
    example='[{to: ["192.0.2.7:443"], why: the archive}]',
)


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """Reaching hosts for its callers, each by that caller's own egress rules."""

    why: str = field(metadata=WHY)
    clients: Mapping[str, tuple[EgressConfig, ...]] = field(
        default_factory=dict[str, tuple[EgressConfig, ...]],
        metadata=mapping(
            "Egress rules of clients, which have none of their own; components have theirs under their `needs`.",
            listing("Egress rules.", table(EgressConfig, check=refusal_of_egress), 16, least=1),
            64,
            r"client/[a-z][a-z0-9_-]{0,31}",
            "client/NAME",
            example='{client/admin: [{to: ["api.example.org:443"], why: the weather}]}',
        ),
    )
    reaches: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict[str, tuple[Rule, ...]])  # see relays.py


@dataclass(frozen=True, slots=True)
class ReadConfig:
    """A folder or file of the host, at the same path inside, and the reason."""

    path: Path = field(metadata=file_path("The path.", example="/srv/pictures"))
    why: str = field(default="", metadata=WHY)


@dataclass(frozen=True, slots=True)
class KernelViewConfig:
    """Files in which the kernel tells of the host, and the reason."""

    shown: bool = field(default=True, metadata=boolean("Whether the component sees them."))
    why: str = field(default="", metadata=WHY)

    def __bool__(self) -> bool:
        return self.shown


@dataclass(frozen=True, slots=True)
class HostNetworkConfig:
    """The host's own network namespace, and the reason."""

    why: str = field(metadata=WHY)


@dataclass(frozen=True, slots=True)
class WriteConfig:
    """A folder of the host, at the same path inside, and the reason."""

    path: Path = field(
        metadata=file_path(
            "The folder, absolute.",
            pattern=r"/[^/].*",
            says="an absolute path, such as /srv/pictures",
            least=None,
            example="/srv/pictures",
        )
    )
    why: str = field(metadata=WHY)
    where: str = field(default="", compare=False)  # FILE:LINE:COL, for what only the sandbox can check


@dataclass(frozen=True, slots=True)
class CallsConfig:
    """Some system calls, perhaps only with some arguments, and the reason.

    `sandbox/profile/policy.py` reads the conditions.
    """

    calls: tuple[str, ...] = field(
        metadata=listing(
            "The names of the calls.",
            text("A name.", pattern="[a-z0-9_]{1,40}", says="a system call"),
            64,
            least=1,
            example="[fcntl]",
        )
    )
    why: str = field(metadata=WHY)
    when: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Conditions on arguments that must all hold, such as `arg1 in F_GETLK F_SETLK`.",
            text("A condition.", least=8, most=400),
            6,
            example="[arg1 in F_GETLK F_SETLK]",
        ),
    )
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class SecretConfig:
    """A secret that the operator sets with `tlsrt-supervisor secret set`, and the reason."""

    name: str = field(
        metadata=text("Its name.", pattern=NAME, says=NAME_SAYS, example="broker"),
    )
    why: str = field(metadata=WHY)
    optional: bool = field(default=False, metadata=boolean("Whether the component starts without it."))


@dataclass(frozen=True, slots=True)
class NeedsConfig:
    """What the component needs beyond what every loop has; its limits are added to its loop's."""

    read: tuple[ReadConfig, ...] = field(
        default=(),
        metadata=listing(
            "Folders and files that it may read.",
            table(ReadConfig, short="path"),
            64,
            example="[{path: /srv/pictures, why: it shows them}]",
        ),
    )
    proc: KernelViewConfig = field(
        default=KernelViewConfig(shown=False),
        metadata=table(
            KernelViewConfig,
            "A /proc of its loop's own processes, read-only.",
            short="shown",
            example="{why: load and pressure are files there}",
        ),
    )
    sys: KernelViewConfig = field(
        default=KernelViewConfig(shown=False),
        metadata=table(KernelViewConfig, "The host's /sys, read-only.", short="shown", example="{why: sensors}"),
    )
    network: HostNetworkConfig | None = field(
        default=None,
        metadata=table(
            HostNetworkConfig,
            "The host's network namespace, for what tells of interfaces and routes. Hosts are reached by `egress`, and "
            "without this.",
            example="{why: it shows the interfaces of the host}",
        ),
    )
    write: tuple[WriteConfig, ...] = field(
        default=(),
        metadata=listing(
            "Folders of the host that it may write, by its loop's uid; no other loop may have them.",
            table(WriteConfig, placed_by="where"),
            16,
            example="[{path: /srv/pictures, why: it puts them there}]",
        ),
    )
    egress: tuple[EgressConfig, ...] = field(default=(), metadata=EGRESS)
    relay: RelayConfig | None = field(
        default=None,
        metadata=table(RelayConfig, example="{why: it fetches for others what they may reach themselves}"),
    )
    listen: tuple[ListenConfig, ...] = field(
        default=(),
        metadata=listing(
            "Sockets that listen, bound by the supervisor; each is a further door into the host.",
            table(ListenConfig, placed_by="where"),
            16,
            example="[{name: mqtt, port: 8883, why: sensors send there}]",
        ),
    )
    sockets: tuple[SocketConfig, ...] = field(
        default=(),
        metadata=listing(
            "UNIX sockets of other programs that it may connect to, under its own uid.",
            table(SocketConfig, placed_by="where"),
            16,
            example="[{path: /run/dbus/system_bus_socket, why: asks upowerd}]",
        ),
    )
    buses: tuple[BusConfig, ...] = field(
        default=(),
        metadata=listing(
            "Buses of D-Bus, and what it may call, hear and own there.",
            table(BusConfig, placed_by="where"),
            8,
            example="[{bus: system, call: {org.freedesktop.UPower: [org.freedesktop.UPower.*]}, why: the battery}]",
        ),
    )
    calls: tuple[CallsConfig, ...] = field(
        default=(),
        metadata=listing(
            "More system calls. What would undo the sandbox cannot be asked for.",
            table(CallsConfig, placed_by="where"),
            64,
            example="[{calls: [fcntl], when: [arg1 in F_GETLK F_SETLK], why: it locks its files}]",
        ),
    )
    secrets: tuple[SecretConfig, ...] = field(
        default=(),
        metadata=listing(
            "Passwords and keys, each sealed for this component alone: `self.secret(name)`.",
            table(SecretConfig),
            32,
            example="[{name: broker, why: it logs in there}]",
        ),
    )
    memory_mb: int = field(default=0, metadata=count("Memory on top of its loop's.", 0, 1048576, unit="MiB"))
    open_files: int = field(default=0, metadata=count("Open descriptors on top of its loop's.", 0, 65536))
    file_size_mb: int = field(
        default=0,
        metadata=count("Size of one file that it writes; the largest of its loop counts.", 0, 1048576, unit="MiB"),
    )
    processes: int = field(default=0, metadata=count("Threads on top of its loop's.", 0, 65536))
    state_mb: int = field(
        default=0,
        metadata=count("Room for its `database`; without this it has none.", 0, 1048576, unit="MiB"),
    )
    disk_threads: int = field(
        default=0,
        metadata=count(
            "Threads that wait for its disk, each a `DiskThread`: they start before the seal, and no other can later.",
            0,
            16,
        ),
    )
    threads: int = field(
        default=0,
        metadata=count(
            "Threads that it may run at once, for `work`, executors and its libraries; without this it has none.",
            0,
            256,
        ),
    )
    devices: tuple[DeviceConfig, ...] = field(
        default=(),
        metadata=listing(
            "Character devices that are opened and set for it, and handed over by name.",
            table(DeviceConfig, placed_by="where", check=refusal_of_device),
            16,
            example="[{name: line, path: /dev/ttyUSB0, tty: {baud: 115200}, why: the meter}]",
        ),
    )
    settings: tuple[SettingConfig, ...] = field(
        default=(),
        metadata=listing(
            "Settings of the kernel that are written for it, within a range, after the audit log has it.",
            table(SettingConfig, placed_by="where", check=refusal_of_setting),
            16,
            example='[{name: light, path: /sys/class/backlight/*/brightness, values: "0-100", why: dims it}]',
        ),
    )

    events: tuple[HostEventsConfig, ...] = field(
        default=(),
        metadata=listing(
            "Events of the host's kernel that it hears.",
            table(HostEventsConfig, placed_by="where", check=refusal_of_events),
            16,
            example="[{kind: uevents, why: it greets a plugged device}]",
        ),
    )

    alerts: tuple[AlertConfig, ...] = field(
        default=(),
        metadata=listing(
            "Anomalies of the host that it may report; `alert_warning` and `alert_critical` say if they count.",
            table(AlertConfig, placed_by="where"),
            ALERTS_MAX,
            example="[{name: intruder, why: it hears who knocks at ports}]",
        ),
    )

    runtime: tuple[RuntimeConfig, ...] = field(
        default=(),
        metadata=listing(
            "What it may ask of the runtime itself: to pause, restart or list components that are named, to "
            "lock or end the host, to release or revoke for a caller, to read logs or the audit log.",
            table(RuntimeConfig, placed_by="where", check=refusal_of_runtime),
            RUNTIME_MAX,
            example="[{may: pause, components: [secondary/ai], why: it saves the battery}]",
        ),
    )

    @property
    def beside_profile(self) -> NeedsConfig:
        """Return only those that no profile shows: a change of one needs a new process all the same."""
        return NeedsConfig(
            secrets=self.secrets,
            devices=self.devices,
            settings=self.settings,
            events=self.events,
            buses=self.buses,
            alerts=self.alerts,
            runtime=self.runtime,
            relay=self.relay,
        )
