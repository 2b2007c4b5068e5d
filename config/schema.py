"""The configuration as frozen dataclasses: each setting once, with all that is known of it.

`load.py` makes the values from YAML; nothing else does. How a setting is written here is told in `setting.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlsrt.config.deception import DeceptionConfig
from tlsrt.config.detection import DetectionConfig
from tlsrt.config.egress import FORM, SAYS, EgressRule, parse_egress
from tlsrt.config.processes import is_part, process_name
from tlsrt.config.setting import (
    ADDRESS,
    ADDRESS_SAYS,
    IDENTIFIER,
    NAME,
    PROCESS,
    PROCESS_SAYS,
    anything,
    boolean,
    count,
    file_path,
    listing,
    mapping,
    number,
    seconds,
    table,
    text,
)
from tlsrt.config.supervision import SupervisionConfig

Engine = Literal["libzmq", "native"]
Then = Literal["none", "restart"]
DEFAULT_LOOPS = ("primary", "secondary", "third", "forth", "external")

_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IP_ADDRESS = rf"{_BYTE}(?:\.{_BYTE}){{3}}|[0-9A-Fa-f]{{0,4}}:[0-9A-Fa-f:.]{{1,40}}"
_SIDE = rf"(?:\*|{NAME})/(?:\*|{NAME})"
_METHOD = text("A method.", pattern=IDENTIFIER, says="a method name", most=64)
_WHY = text("The reason, for the next reader.", least=3, most=1000, example="it sends the reports there")
_FOLDERS = listing("Folders that it may read.", file_path("A folder."), 64, example="[/srv/pictures]")


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
class DoorConfig:
    """The TLS server: the one way in from outside."""

    host: str = field(
        metadata=text(
            "The address to listen on; no name, since no resolver is asked here.",
            default="127.0.0.1",
            pattern=_IP_ADDRESS,
            says="an IP address, such as 127.0.0.1, or 0.0.0.0 for all",
        )
    )
    port: int = field(metadata=count("The TCP port; 0 picks a free one.", 0, 65535, default=7443))
    certificate: Path = field(
        metadata=file_path("The server's certificate chain, PEM.", example="server.crt", on_reload=True)
    )
    key: Path = field(metadata=file_path("The server's private key, PEM.", example="server.key", on_reload=True))
    client_ca: Path = field(
        metadata=file_path("The CA that signs the clients' certificates, PEM.", example="ca.crt", on_reload=True)
    )
    crl: Path | None = field(
        default=None,
        metadata=file_path(
            "Revocation lists of all client CAs, PEM or DER; without it none is read.", example="ca.crl", on_reload=True
        ),
    )
    client_ca_key: Path | None = field(
        default=None,
        metadata=file_path(
            "The private key of client_ca, PEM, mode 0600: `client add` enrols with it. Only the authority reads it.",
            example="ca.key",
        ),
    )
    watch: bool = field(
        default=False,
        metadata=boolean("Reload when certificate, key, client_ca or crl has changed. They must be on a local disk."),
    )
    max_connections: int = field(default=1024, metadata=count("Connections at a time.", 1, 65536))
    max_unauthenticated: int = field(
        default=256, metadata=count("Connections at a time that have not finished their handshake.", 1, 65536)
    )
    max_unauthenticated_per_address: int = field(
        default=16, metadata=count("Those of one address that have sent nothing; one more cuts the oldest.", 1, 65536)
    )
    max_connections_per_client: int = field(
        default=256, metadata=count("Connections of one client at a time; one more ends its idlest.", 1, 65536)
    )
    handshake_timeout_s: float = field(default=5.0, metadata=seconds("Time for a whole handshake.", 0.1, 60))
    first_flight_timeout_s: float = field(
        default=1.0, metadata=seconds("Time for the first message of a handshake, the ClientHello.", 0.1, 60)
    )
    require_post_quantum: bool = field(
        default=False,
        metadata=boolean(
            "Refuse clients that do not offer X25519MLKEM768, which is what is used with all others anyway."
        ),
    )
    http: bool = field(
        default=False,
        metadata=boolean(
            "Serve HTTP, for clients that are enrolled with --http; a client here with `http: true` does too."
        ),
    )
    proxies: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Addresses of proxies, whose connections begin with a PROXY header (version 2), and no others'.",
            text("An address.", pattern=_IP_ADDRESS, says="an IP address, such as 192.0.2.7"),
            64,
            example="[192.0.2.7]",
        ),
    )
    connections_per_address_s: float = field(
        default=50.0,
        metadata=number(
            "New connections a second of one certificate, and of one address whose handshakes fail, in the long run; "
            "ten times as many may come at once.",
            0.1,
            1e6,
            unit="1/s",
        ),
    )


@dataclass(frozen=True, slots=True)
class EgressConfig:
    """Some hosts and ports of the network, and the reason."""

    to: tuple[EgressRule, ...] = field(
        metadata=listing(
            "Rules, ADDRESS[/PREFIX]:PORT[-PORT][/udp]; addresses and not names, * for any.",
            text("A rule.", pattern=FORM.pattern, says=SAYS, parse=parse_egress, most=64),
            64,
            least=1,
            example='["192.0.2.7:443"]',
        )
    )
    why: str = field(metadata=_WHY)


_EGRESS = listing(
    "Hosts and ports that may be reached; nothing else can be. An empty list is the default.",
    table(EgressConfig),
    64,
    example='[{to: ["192.0.2.7:443"], why: the archive}]',
)


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
    why: str = field(metadata=_WHY)
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
    why: str = field(metadata=_WHY)
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
class NeedsConfig:
    """What the component needs beyond what every loop has; its limits are added to its loop's."""

    read: tuple[Path, ...] = field(default=(), metadata=_FOLDERS)
    proc: bool = field(default=False, metadata=boolean("A /proc of its loop's own processes, read-only."))
    sys: bool = field(default=False, metadata=boolean("The host's /sys, read-only."))
    write: tuple[WriteConfig, ...] = field(
        default=(),
        metadata=listing(
            "Folders of the host that it may write, by its loop's uid; no other loop may have them.",
            table(WriteConfig, placed_by="where"),
            16,
            example="[{path: /srv/pictures, why: it puts them there}]",
        ),
    )
    egress: tuple[EgressConfig, ...] = field(default=(), metadata=_EGRESS)
    calls: tuple[CallsConfig, ...] = field(
        default=(),
        metadata=listing(
            "More system calls. What would undo the sandbox cannot be asked for.",
            table(CallsConfig, placed_by="where"),
            64,
            example="[{calls: [fcntl], when: [arg1 in F_GETLK F_SETLK], why: it locks its files}]",
        ),
    )
    memory_mb: int = field(default=0, metadata=count("Memory on top of its loop's.", 0, 1048576, unit="MiB"))
    open_files: int = field(default=0, metadata=count("Open descriptors on top of its loop's.", 0, 65536))
    file_size_mb: int = field(
        default=0,
        metadata=count("Size of one file that it writes; the largest of its loop counts.", 0, 1048576, unit="MiB"),
    )
    processes: int = field(default=0, metadata=count("Threads on top of its loop's.", 0, 65536))


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """How a component that has a `check` is asked for its health, and what follows."""

    every_s: float = field(default=10.0, metadata=seconds("Time from one check to the next.", 0.5, 86400))
    timeout_s: float = field(default=2.0, metadata=seconds("Time that a check may take.", 0.5, 600))
    fails: int = field(default=3, metadata=count("Checks in a row that fail before anything follows.", 1, 1000))
    then: Then = field(
        default="restart",
        metadata=text(
            "What follows. restart: its loop is started again; none: it is only shown.",
            choices=("none", "restart"),
            default_says="restart, for a built-in component none",
        ),
    )


@dataclass(frozen=True, slots=True)
class ComponentConfig:
    """A component; null switches a built-in one off."""

    loop: str
    name: str
    class_path: str = field(  # "package.module:Class"
        metadata=text(
            'Its class, "package.module:Class". A built-in component may leave it out.',
            key="class",
            required=False,
            pattern=rf"{IDENTIFIER}(?:\.{IDENTIFIER})*:{IDENTIFIER}",
            says='a class path, "package.module:Class"',
            most=256,
            example='"notes:Notes"',
        )
    )
    options: Mapping[str, object] = field(
        default_factory=dict[str, object],
        metadata=mapping(
            "Options for the class, which says what there are.",
            anything("Any plain value."),
            256,
            IDENTIFIER,
            "an option name",
            example="{title: My notes}",
        ),
    )
    builtin: bool = False
    needs: NeedsConfig = field(default=NeedsConfig(), metadata=table(NeedsConfig, on_reload=True))
    health: HealthConfig = field(default=HealthConfig(), metadata=table(HealthConfig))
    part: str = ""  # of its loop, that it runs in: see processes.py

    @property
    def process(self) -> str:
        """Return the name of the process that it runs in."""
        return process_name(self.loop, self.part)

    @property
    def address(self) -> str:
        return f"{self.loop}/{self.name}"


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """One process of a loop: what it may reach, and how much it may use."""

    name: str
    network: bool | None = field(
        default=None,
        metadata=boolean(
            "Keep the host's network namespace.", default_says="only if an egress rule or a component needs it"
        ),
    )
    egress: tuple[EgressConfig, ...] = field(default=(), metadata=_EGRESS)
    read: tuple[Path, ...] = field(default=(), metadata=_FOLDERS)
    memory_mb: int = field(default=512, metadata=count("Memory.", 64, 1048576, unit="MiB"))
    open_files: int = field(default=256, metadata=count("Open descriptors.", 32, 65536))
    file_size_mb: int = field(default=256, metadata=count("Size of one file that it writes.", 0, 1048576, unit="MiB"))
    processes: int = field(default=64, metadata=count("Threads and processes.", 8, 65536))

    @property
    def is_part(self) -> bool:
        """Tell whether this is a further process of its loop."""
        return is_part(self.name)


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """`source -> target: [methods]`. `*` stands for a whole name, never for a part of one."""

    source: str  # "third/console", "client/admin", "third/*", "client/*"
    target: str  # "secondary/store", "secondary/*", "*/*"
    methods: tuple[str, ...]  # ("*",) means all


def _fingerprint(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


MAY = ("lock", "unlock", "operate")  # what a client may do with the whole host


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """A client outside that may open sessions."""

    name: str
    fingerprint: bytes = field(
        metadata=text(
            "SHA-256 of its certificate (DER), in hex.",
            pattern=r"[0-9a-fA-F]{2}(?::?[0-9a-fA-F]{2}){31}",
            says="64 hex digits in quotes (SHA-256 of the certificate)",
            parse=_fingerprint,
            example=f'"{"0f" * 32}"',
        )
    )
    http: bool = field(
        default=False,
        metadata=boolean(
            "It may use HTTP. Primary then holds its session's keys: a captured Primary can act as this client."
        ),
    )
    may: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "What it may do with the whole host: lock and unlock it, by a signed challenge, and operate it: then one "
            "word that only an attack uses, such as the name of a decoy, is a warning. Not together with http.",
            text("`tlsrt lock`, `tlsrt unlock`, or to operate the host.", choices=MAY),
            len(MAY),
            example="[lock, unlock, operate]",
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
        default="libzmq",
        metadata=text(
            "The engine of their links. libzmq: through pyzmq; native: our own, faster, and without threads in a loop.",
            choices=("libzmq", "native"),
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


@dataclass(frozen=True, slots=True)
class SchedulingConfig:
    """Where and how loops get the processor; by default as every process does."""

    cpus: Mapping[str, tuple[int, ...]] = field(
        default_factory=dict[str, tuple[int, ...]],
        metadata=mapping(
            "Loops and the processors that they may use; loops that talk much answer fastest on the same one. "
            "A further process of a loop, as primary.facts, is named by itself.",
            listing("Numbers of processors.", count("A number.", 0, 4095), 256, least=1),
            32,
            PROCESS,
            PROCESS_SAYS,
            example="{primary: [0], secondary: [0, 1]}",
        ),
    )
    real_time: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Loops that run before every ordinary process (SCHED_RR), so that a busy host delays no call. They "
            "are ended when they run for 10 s without a pause.",
            text("A loop.", pattern=PROCESS, says=PROCESS_SAYS),
            32,
            example="[primary]",
        ),
    )
    priority: int = field(default=10, metadata=count("Priority of these loops.", 1, 50))


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """The audit log."""

    keep_mb: int = field(
        default=2048,
        metadata=count(
            "Size of all files of the audit log; the oldest are removed, after a signed record of that.",
            16,
            1048576,
            unit="MiB",
        ),
    )


_NO_DECOYS = DeceptionConfig()
_ALONE = SupervisionConfig()  # every loop is supervised on its own
_WATCHED = DetectionConfig()


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration of one tlsrt host. Relative paths start at the folder of this file."""

    version: int = field(
        default=1, kw_only=True, metadata=count("The version of this format.", 1, 1, choices=(1,), required=True)
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
            example='{third/notes: {class: "notes:Notes"}, external/network: null}',
        )
    )
    policy: tuple[PolicyRule, ...] = field(
        metadata=mapping(
            'Who may call what: "from -> to": [methods]. What is not listed is denied.',
            listing('The methods that may be called, or "*" for all.', _METHOD, 256, least=1, word="*"),
            4096,
            rf"{_SIDE} *-> *{_SIDE}",
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
    sandbox: SandboxConfig = field(default=SandboxConfig(), metadata=table(SandboxConfig))
    channels: ChannelsConfig = field(default=ChannelsConfig(), metadata=table(ChannelsConfig))
    limits: LimitsConfig = field(default=LimitsConfig(), metadata=table(LimitsConfig))
    scheduling: SchedulingConfig = field(default=SchedulingConfig(), metadata=table(SchedulingConfig))
    supervision: SupervisionConfig = field(default=_ALONE, metadata=table(SupervisionConfig))
    detection: DetectionConfig = field(default=_WATCHED, metadata=table(DetectionConfig))
    deception: DeceptionConfig = field(default=_NO_DECOYS, metadata=table(DeceptionConfig))
    audit: AuditConfig = field(default=AuditConfig(), metadata=table(AuditConfig))

    @property
    def serves_http(self) -> bool:
        """Tell whether the door speaks HTTP with clients that may use it."""
        return self.door.http or any(client.http for client in self.clients)

    def loop(self, name: str) -> LoopConfig:
        return next(loop for loop in self.loops if loop.name == name)

    def components_of(self, process: str) -> tuple[ComponentConfig, ...]:
        """Return the components that run in a process."""
        return tuple(component for component in self.components if component.process == process)

    @property
    def placed_apart(self) -> Mapping[str, str]:
        """Return address -> process, for every component that does not run in the process named like its loop."""
        return {component.address: component.process for component in self.components if component.part}


FILE = table(Config)["setting"]
