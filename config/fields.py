"""The one table of what a configuration file may say.

`validation.py` reads it to judge a file, `json_schema.py` to tell editors the same. Defaults come from `schema.py`, so
that each is written once.
"""

from __future__ import annotations

from tlsrt.config.deception_check import DECEPTION
from tlsrt.config.detection_check import DETECTION
from tlsrt.config.egress import FORM, SAYS, parse_egress
from tlsrt.config.field import NAME, NAME_SAYS, Field, count, defaults_of, path, seconds
from tlsrt.config.schema import (
    AuditConfig,
    ChannelsConfig,
    DoorConfig,
    HealthConfig,
    LimitsConfig,
    LoopConfig,
    SandboxConfig,
    SchedulingConfig,
)
from tlsrt.config.supervision_check import SUPERVISION

_SIDE = rf"(?:\*|{NAME})/(?:\*|{NAME})"
_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"

_DOOR, _LOOP = defaults_of(DoorConfig), defaults_of(LoopConfig)
_SANDBOX, _LIMITS, _SCHEDULING = defaults_of(SandboxConfig), defaults_of(LimitsConfig), defaults_of(SchedulingConfig)
_CHANNELS, _HEALTH, _AUDIT = defaults_of(ChannelsConfig), defaults_of(HealthConfig), defaults_of(AuditConfig)

MASTER_KEY = Field(
    kind="table",
    about="Where master_key, the root of every key of this host, comes from.",
    required=True,
    absent="there is no master_key, so nothing starts: add `master_key: {provider: file, path: FILE}` "
    "with a FILE of 32 random bytes and mode 0600",
    switch="provider",
    needs={"file": "path", "credential": "name"},
    fields={
        "provider": Field(
            kind="text",
            about="file: a file of mode 0600; credential: a systemd credential ($CREDENTIALS_DIRECTORY).",
            required=True,
            choices=("file", "credential"),
        ),
        "path": path("The key file, for provider file."),
        "name": Field(
            kind="text",
            about="The credential's name, for provider credential.",
            pattern=r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,127}",
            says="a credential name: letters, digits, _ . @ : -, and no slash",
        ),
    },
)

_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_ADDRESS = rf"{_BYTE}(?:\.{_BYTE}){{3}}|[0-9A-Fa-f]{{0,4}}:[0-9A-Fa-f:.]{{1,40}}"
DOOR = Field(
    kind="table",
    about="The TLS server: the one way in from outside.",
    required=True,
    fields={
        "host": Field(
            kind="text",
            about="The address to listen on; no name, since nobody here asks a resolver.",
            default="127.0.0.1",
            pattern=_ADDRESS,
            says="an IP address, such as 127.0.0.1, or 0.0.0.0 for all",
        ),
        "port": count("The TCP port; 0 picks a free one.", 7443, 0, 65535),
        "certificate": path("The server's certificate chain, PEM.", required=True),
        "key": path("The server's private key, PEM.", required=True),
        "client_ca": path("The CA that signs the clients' certificates, PEM.", required=True),
        "crl": path("Revocation lists of all client CAs, PEM or DER; without it none is looked at."),
        "client_ca_key": path(
            "The private key of client_ca, PEM, mode 0600: `client add` enrols with it. Only the authority reads it."
        ),
        "watch": Field(
            kind="boolean",
            about="Reload when certificate, key, client_ca or crl has changed. They must be on a local disk.",
            default=False,
        ),
        "max_connections": count("Connections at a time.", _DOOR["max_connections"], 1, 65536),
        "max_unauthenticated": count(
            "Connections at a time that have not finished their handshake.", _DOOR["max_unauthenticated"], 1, 65536
        ),
        "max_unauthenticated_per_address": count(
            "The same for one address.", _DOOR["max_unauthenticated_per_address"], 1, 65536
        ),
        "handshake_timeout_s": seconds("Seconds for a whole handshake.", _DOOR["handshake_timeout_s"], 0.1, 60),
        "require_post_quantum": Field(
            kind="boolean",
            about="Refuse clients that do not offer X25519MLKEM768, which is what is used with all others anyway.",
            default=False,
        ),
        "http": Field(
            kind="boolean",
            about="Serve HTTP, for clients that are enrolled with --http; a client here with `http: true` does too.",
            default=False,
        ),
        "proxies": Field(
            kind="list",
            about="Addresses of proxies, whose connections begin with a PROXY header (version 2), and no others'.",
            default=[],
            most=64,
            item=Field(kind="text", about="An address.", pattern=_ADDRESS, says="an IP address, such as 192.0.2.7"),
        ),
        "connections_per_address_s": Field(
            kind="number",
            about="New connections a second of one address, in the long run; ten times as many may come at once.",
            default=_DOOR["connections_per_address_s"],
            least=0.1,
            most=1e6,
        ),
    },
)

WHY = Field(kind="text", about="Why, for whoever reads this next.", required=True, least=3, most=1000)
EGRESS = Field(
    kind="list",
    about="Hosts and ports that may be reached; nothing else can be. An empty list is the default.",
    default=[],
    most=64,
    item=Field(
        kind="table",
        about="Some hosts and ports, and the reason.",
        fields={
            "to": Field(
                kind="list",
                about="Rules, ADDRESS[/PREFIX]:PORT[-PORT][/udp]; addresses and not names, * for any.",
                required=True,
                least=1,
                most=64,
                item=Field(kind="text", about="A rule.", pattern=FORM.pattern, says=SAYS, parse=parse_egress, most=64),
            ),
            "why": WHY,
        },
    ),
)

LOOP = Field(
    kind="table",
    about="What one loop may touch and how much.",
    nullable=True,
    fields={
        "network": Field(
            kind="boolean",
            about="Keep the host's network namespace. Without a word: if an egress rule or a component needs it.",
            default=None,
        ),
        "egress": EGRESS,
        "read": Field(kind="list", about="More folders that it may read.", default=[], most=64, item=path("A folder.")),
        "memory_mb": count("Memory, MiB.", _LOOP["memory_mb"], 64, 1048576),
        "open_files": count("Open descriptors.", _LOOP["open_files"], 32, 65536),
        "file_size_mb": count("Size of one file it writes, MiB.", _LOOP["file_size_mb"], 0, 1048576),
        "processes": count("Threads and processes.", _LOOP["processes"], 8, 65536),
    },
)

NEEDS = Field(
    kind="table",
    about="What the component needs beyond what every loop has.",
    fields={
        "read": Field(kind="list", about="Folders that it may read.", default=[], most=64, item=path("A folder.")),
        "proc": Field(kind="boolean", about="A /proc of its loop's own processes, read-only.", default=False),
        "sys": Field(kind="boolean", about="The host's /sys, read-only.", default=False),
        "write": Field(
            kind="list",
            about="Folders of the host that it may write, by its loop's uid; no other loop may have them.",
            default=[],
            most=16,
            item=Field(
                kind="table",
                about="A folder, and the reason.",
                fields={
                    "path": Field(
                        kind="path",
                        about="The folder, absolute.",
                        required=True,
                        pattern=r"/[^/].*",
                        says="an absolute path, such as /srv/pictures",
                        most=1024,
                    ),
                    "why": WHY,
                },
            ),
        ),
        "egress": EGRESS,
        "calls": Field(
            kind="list",
            about="More system calls. What would undo the sandbox cannot be asked for.",
            default=[],
            most=64,
            item=Field(
                kind="table",
                about="Some system calls, and the reason.",
                fields={
                    "calls": Field(
                        kind="list",
                        about="Their names.",
                        required=True,
                        least=1,
                        most=64,
                        item=Field(kind="text", about="A name.", pattern="[a-z0-9_]{1,40}", says="a system call"),
                    ),
                    "when": Field(
                        kind="list",
                        about="Conditions on arguments that must all hold, such as `arg1 in F_GETLK F_SETLK`.",
                        default=[],
                        most=6,
                        item=Field(kind="text", about="A condition.", least=8, most=400),
                    ),
                    "why": WHY,
                },
            ),
        ),
        "memory_mb": count("Memory on top of its loop's, MiB.", 0, 0, 1048576),
        "open_files": count("Open descriptors on top of its loop's.", 0, 0, 65536),
        "file_size_mb": count("Size of one file it writes, MiB; the largest of its loop counts.", 0, 0, 1048576),
        "processes": count("Threads on top of its loop's.", 0, 0, 65536),
    },
)

HEALTH = Field(
    kind="table",
    about="How a component that has a `check` is asked how it is, and what follows.",
    fields={
        "every_s": seconds("Seconds from one check to the next.", _HEALTH["every_s"], 0.5, 86400),
        "timeout_s": seconds("Seconds that a check may take.", _HEALTH["timeout_s"], 0.5, 600),
        "fails": count("Checks in a row that fail before anything follows.", _HEALTH["fails"], 1, 1000),
        "then": Field(
            kind="text",
            about="restart: its loop is started again, the default; none: it is only shown, as what is built in is.",
            choices=("none", "restart"),
        ),
    },
)

COMPONENT = Field(
    kind="table",
    about="A component; null switches a built-in one off.",
    nullable=True,
    fields={
        "class": Field(
            kind="text",
            about='Its class, "package.module:Class". A built-in component may leave it out.',
            pattern=rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})*:{_IDENTIFIER}",
            says='a class path, "package.module:Class"',
            most=256,
        ),
        "options": Field(
            kind="map",
            about="Options for the class; it says which.",
            default={},
            most=256,
            pattern=_IDENTIFIER,
            says="an option name",
            item=Field(kind="free", about="Any plain value."),
        ),
        "needs": NEEDS,
        "health": HEALTH,
    },
)

_METHODS = Field(
    kind="list",
    about='The methods that may be called, or "*" for all.',
    word="*",
    least=1,
    most=256,
    item=Field(kind="text", about="A method.", pattern=_IDENTIFIER, says="a method name", most=64),
)

CLIENT = Field(
    kind="table",
    about="A client outside that may open sessions.",
    fields={
        "fingerprint": Field(
            kind="text",
            about="SHA-256 of its certificate (DER), in hex.",
            required=True,
            pattern=r"[0-9a-fA-F]{2}(?::?[0-9a-fA-F]{2}){31}",
            says="64 hex digits in quotes (SHA-256 of the certificate)",
        ),
        "http": Field(
            kind="boolean",
            about="It may use HTTP. Primary then holds its session's keys: a captured Primary can act as this client.",
            default=False,
        ),
        "may": Field(
            kind="list",
            about="What it may do with the whole host, by a signed challenge. Not together with http.",
            default=[],
            most=2,
            item=Field(kind="text", about="`tlsrt lock` or `tlsrt unlock`.", choices=("lock", "unlock")),
        ),
    },
)

SANDBOX = Field(
    kind="table",
    about="How loops are confined.",
    fields={
        "uid_base": count("The first of the uids given to loops, as root.", _SANDBOX["uid_base"], 1000, 4000000000),
        "waive": Field(
            kind="map",
            about="Sandbox layers that you accept to lose on this host, each with your reason.",
            default={},
            most=32,
            pattern=NAME,
            says="the name of a sandbox layer",
            item=Field(kind="text", about="Why.", least=3, most=1000),
        ),
    },
)

CHANNELS = Field(
    kind="table",
    about="How the loops speak to Primary, which itself always speaks natively.",
    fields={
        "engine": Field(
            kind="text",
            about="libzmq: through pyzmq; native: our own engine, faster, and without threads in a loop.",
            default=_CHANNELS["engine"],
            choices=("libzmq", "native"),
        ),
    },
)

LIMITS = Field(
    kind="table",
    about="Life and flow limits.",
    fields={
        "ready_timeout_s": seconds("Seconds a loop has to become active.", _LIMITS["ready_timeout_s"], 0.5, 600),
        "stop_timeout_s": seconds("Seconds between TERM and KILL.", _LIMITS["stop_timeout_s"], 0.1, 600),
        "epoch_s": seconds("Seconds until all keys change.", _LIMITS["epoch_s"], 5, 86400),
        "queue_frames": count("Unsent frames per channel before `busy`.", _LIMITS["queue_frames"], 1, 1048576),
        "calls_per_session": count("Open calls per session before `busy`.", _LIMITS["calls_per_session"], 1, 1048576),
        "frames_per_s": count(
            "Frames a second of one client, with all of its connections, before `busy`.",
            _LIMITS["frames_per_s"],
            1,
            1000000,
        ),
        "frames_per_s_of": Field(
            kind="map",
            about="The same for single clients, by name: enrolled ones too.",
            default={},
            most=4096,
            pattern=NAME,
            says=NAME_SAYS,
            item=Field(kind="integer", about="Frames a second.", least=1, most=1000000),
        ),
    },
)

SCHEDULING = Field(
    kind="table",
    about="Where and how loops get the processor; by default as every process does.",
    fields={
        "cpus": Field(
            kind="map",
            about="Loops and the processors that they may use; loops that talk much answer fastest on the same one.",
            default={},
            most=32,
            pattern=NAME,
            says=NAME_SAYS,
            item=Field(
                kind="list",
                about="Numbers of processors.",
                least=1,
                most=256,
                item=Field(kind="integer", about="A number.", least=0, most=4095),
            ),
        ),
        "real_time": Field(
            kind="list",
            about="Loops that run before every ordinary process (SCHED_RR), so that a busy host delays no call. They "
            "are ended when they run for 10 s without a pause.",
            default=[],
            most=32,
            item=Field(kind="text", about="A loop.", pattern=NAME, says=NAME_SAYS),
        ),
        "priority": count("Priority of these loops.", _SCHEDULING["priority"], 1, 50),
    },
)

AUDIT = Field(
    kind="table",
    about="The audit log.",
    fields={
        "keep_mb": count(
            "MiB that its files may take together; the oldest are removed, after a signed record of that.",
            _AUDIT["keep_mb"],
            16,
            1048576,
        ),
    },
)


def _named(about: str, item: Field, most: int, pattern: str = NAME, says: str = NAME_SAYS) -> Field:
    return Field(kind="map", about=about, default={}, most=most, pattern=pattern, says=says, item=item)


FILE = Field(
    kind="table",
    about="The configuration of one tlsrt host. Relative paths start at the folder of this file.",
    fields={
        "version": Field(kind="integer", about="The version of this format.", required=True, choices=(1,)),
        "install": Field(
            kind="text",
            about="The id of this installation. Never change it: every key is derived from it too.",
            required=True,
            pattern="[0-9a-f]{32}",
            says="32 lower-case hex digits in quotes",
        ),
        "master_key": MASTER_KEY,
        "boot_token": path("The boot token, written by `tlsrt-supervisor init` and `seal`.", required=True),
        "measure": Field(
            kind="text",
            about="strict: what differs from the boot token refuses to start; warn: it starts and says so.",
            default="strict",
            choices=("strict", "warn"),
        ),
        "state_dir": path("Where state is kept.", default="state"),
        "run_dir": path("Where sockets and the lock are.", default="run"),
        "log_dir": path("Where logs are written.", default="log"),
        "door": DOOR,
        "loops": _named("More loops, or settings of the default five.", LOOP, 32),
        "components": _named(
            "Components by address, loop/name.", COMPONENT, 256, rf"{NAME}/{NAME}", "a component address, loop/name"
        ),
        "policy": _named(
            'Who may call what: "from -> to": [methods]. What is not listed is denied.',
            _METHODS,
            4096,
            rf"{_SIDE} *-> *{_SIDE}",
            'a policy line, "from -> to", each loop/component or client/name, with * for a whole name',
        ),
        "clients": _named("Clients outside, by name.", CLIENT, 4096),
        "sandbox": SANDBOX,
        "channels": CHANNELS,
        "limits": LIMITS,
        "scheduling": SCHEDULING,
        "supervision": SUPERVISION,
        "detection": DETECTION,
        "deception": DECEPTION,
        "audit": AUDIT,
    },
)
