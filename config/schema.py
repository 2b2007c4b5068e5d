"""What a configuration says, as frozen values. `load.py` makes them from YAML; nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlsrt.config.deception import DeceptionConfig
from tlsrt.config.detection import DetectionConfig
from tlsrt.config.egress import EgressRule
from tlsrt.config.supervision import SupervisionConfig

Engine = Literal["libzmq", "native"]
Then = Literal["none", "restart"]
DEFAULT_LOOPS = ("primary", "secondary", "third", "forth", "external")


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where master_key comes from: a file, or a systemd credential of that name."""

    provider: Literal["file", "credential"]
    path: Path | None = None  # provider file
    name: str | None = None  # provider credential


@dataclass(frozen=True, slots=True)
class DoorConfig:
    """The TLS server: the one way in from outside."""

    host: str
    port: int
    certificate: Path
    key: Path
    client_ca: Path
    crl: Path | None = None  # revocation lists of the client CAs
    client_ca_key: Path | None = None  # without it nobody can be enrolled while the host runs
    watch: bool = False  # reload when one of certificate, key, client CA and crl has changed
    max_connections: int = 1024
    max_unauthenticated: int = 256
    max_unauthenticated_per_address: int = 16
    handshake_timeout_s: float = 5.0
    require_post_quantum: bool = False  # refuse who does not offer X25519MLKEM768
    http: bool = False  # serve HTTP, even if no client in this file is to use it
    proxies: tuple[str, ...] = ()  # peers whose connections begin with a PROXY header
    connections_per_address_s: float = 50.0  # in the long run; ten times as many at once


@dataclass(frozen=True, slots=True)
class EgressConfig:
    """Hosts and ports of the network that may be reached, and the operator's reason."""

    to: tuple[EgressRule, ...]
    why: str


@dataclass(frozen=True, slots=True)
class WriteConfig:
    """A folder of the host that may be written, at the same path inside, and the operator's reason."""

    path: Path
    why: str
    where: str = field(default="", compare=False)  # FILE:LINE:COL, for what only the sandbox can judge


@dataclass(frozen=True, slots=True)
class CallsConfig:
    """More system calls, perhaps only with some arguments (see `sandbox/profile/policy.py`), and the operator's
    reason."""

    calls: tuple[str, ...]
    why: str
    when: tuple[str, ...] = ()
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class NeedsConfig:
    """What a component needs beyond what every loop has; limits are added to those of its loop."""

    read: tuple[Path, ...] = ()
    proc: bool = False
    sys: bool = False
    write: tuple[WriteConfig, ...] = ()
    egress: tuple[EgressConfig, ...] = ()
    calls: tuple[CallsConfig, ...] = ()
    memory_mb: int = 0
    open_files: int = 0
    file_size_mb: int = 0  # of one file: the largest wish counts
    processes: int = 0


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """How a component that has a `check` is asked how it is, and what follows."""

    every_s: float = 10.0
    timeout_s: float = 2.0
    fails: int = 3  # so many in a row, and `then` follows
    then: Then = "restart"  # of its loop; "none": it is only shown


@dataclass(frozen=True, slots=True)
class ComponentConfig:
    """One component: its address loop/name, the class module:Class, its options, what it needs, and its health."""

    loop: str
    name: str
    class_path: str  # "package.module:Class"
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    builtin: bool = False
    needs: NeedsConfig = NeedsConfig()
    health: HealthConfig = HealthConfig()

    @property
    def address(self) -> str:
        return f"{self.loop}/{self.name}"


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """One loop process: what it may touch and how much."""

    name: str
    network: bool | None = None  # keep the host's network namespace; None: if egress rules or components need it
    egress: tuple[EgressConfig, ...] = ()
    read: tuple[Path, ...] = ()  # more folders, bound read-only
    memory_mb: int = 512
    open_files: int = 256
    file_size_mb: int = 256
    processes: int = 64  # threads too


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """`source -> target: [methods]`. `*` stands for a whole name, never for a part of one."""

    source: str  # "third/console", "client/admin", "third/*", "client/*"
    target: str  # "secondary/store", "secondary/*", "*/*"
    methods: tuple[str, ...]  # ("*",) means all


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """One external client that may open sessions."""

    name: str
    fingerprint: bytes  # SHA-256 of the certificate, DER
    http: bool = False  # may use HTTP: Primary holds its session
    may: tuple[str, ...] = ()  # "lock", "unlock": the whole host; never together with http


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """How loops are confined; `waive` names layers that the operator accepts to lose, with a reason each."""

    uid_base: int = 771000
    waive: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class ChannelsConfig:
    """How the loops speak to Primary, which itself always speaks natively: through libzmq, or our own engine."""

    engine: Engine = "libzmq"


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """Life and flow limits."""

    ready_timeout_s: float = 10.0
    stop_timeout_s: float = 5.0
    epoch_s: float = 900.0
    queue_frames: int = 1024  # per channel, unsent frames before `busy`
    calls_per_session: int = 1024  # open calls before `busy`
    frames_per_s: int = 50_000  # of one client, with all of its connections together, before `busy`
    frames_per_s_of: Mapping[str, int] = field(default_factory=dict[str, int])  # the same for some, by their names


@dataclass(frozen=True, slots=True)
class SchedulingConfig:
    """Where and how loops get the processor; by default as every process does."""

    cpus: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])  # loop: its processors
    real_time: tuple[str, ...] = ()  # loops under SCHED_RR, sched(7)
    priority: int = 10  # of these


KEEP_MB = 2048


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """How much of the audit log is kept."""

    keep_mb: int = KEEP_MB  # MiB of all its files; the oldest go


_NO_DECOYS = DeceptionConfig()
_ALONE = SupervisionConfig()  # every loop is supervised on its own
_WATCHED = DetectionConfig()


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration; every path is absolute."""

    path: Path  # of the YAML file
    install_id: bytes  # 16 bytes
    master_key: KeySource
    boot_token: Path
    measure: Literal["strict", "warn"]
    state_dir: Path
    run_dir: Path
    log_dir: Path
    door: DoorConfig
    loops: tuple[LoopConfig, ...]
    components: tuple[ComponentConfig, ...]
    policy: tuple[PolicyRule, ...]
    clients: tuple[ClientConfig, ...]
    sandbox: SandboxConfig = SandboxConfig()
    channels: ChannelsConfig = ChannelsConfig()
    limits: LimitsConfig = LimitsConfig()
    scheduling: SchedulingConfig = SchedulingConfig()
    supervision: SupervisionConfig = _ALONE
    detection: DetectionConfig = _WATCHED
    deception: DeceptionConfig = _NO_DECOYS
    audit: AuditConfig = AuditConfig()

    @property
    def serves_http(self) -> bool:
        """Tell whether the door speaks HTTP with clients that may use it."""
        return self.door.http or any(client.http for client in self.clients)

    def loop(self, name: str) -> LoopConfig:
        return next(loop for loop in self.loops if loop.name == name)

    def components_of(self, loop: str) -> tuple[ComponentConfig, ...]:
        return tuple(component for component in self.components if component.loop == loop)
