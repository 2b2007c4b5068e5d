"""The one table of what a configuration file may say.

`check.py` reads it to judge a file, `json_schema.py` to tell editors the same. Defaults come from `schema.py`, so
that each is written once. A Field says the kind of a value, its bounds, and a sentence for people.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tlsrt.config.egress import FORM, SAYS, parse_egress
from tlsrt.config.schema import (
    ChannelsConfig,
    DoorConfig,
    LimitsConfig,
    LoopConfig,
    SandboxConfig,
    SchedulingConfig,
)

Kind = Literal["text", "integer", "number", "boolean", "path", "list", "map", "table", "free"]

NAME = "[a-z][a-z0-9_]{0,30}"
NAME_SAYS = "a name of a-z, 0-9 and _, starting with a letter, at most 31 characters"
_SIDE = rf"(?:\*|{NAME})/(?:\*|{NAME})"
_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One value: `least` and `most` bound a number, the length of a text, or the count of a list or map."""

    kind: Kind
    about: str
    required: bool = False
    absent: str = ""  # what to say instead when it is missing or null
    nullable: bool = False
    default: object = None
    least: float | None = None
    most: float | None = None
    pattern: str = ""  # of a text, or of the keys of a map
    says: str = ""  # the pattern in words
    parse: Callable[[str], object] | None = None  # of a text: raises ValueError with a sentence for what it cannot be
    choices: tuple[str | int, ...] = ()
    word: str = ""  # a list may be this one word instead
    item: Field | None = None  # of a list or map
    fields: Mapping[str, Field] = field(default_factory=dict[str, "Field"])  # of a table
    switch: str = ""  # a table's text field whose value decides which of `needs` goes with it
    needs: Mapping[str, str] = field(default_factory=dict[str, str])


def _defaults(kind: type[Any]) -> dict[str, Any]:
    return {one.name: one.default for one in dataclasses.fields(kind)}


_DOOR, _LOOP = _defaults(DoorConfig), _defaults(LoopConfig)
_SANDBOX, _LIMITS, _SCHEDULING = _defaults(SandboxConfig), _defaults(LimitsConfig), _defaults(SchedulingConfig)
_CHANNELS = _defaults(ChannelsConfig)


def _path(about: str, *, required: bool = False, default: str | None = None) -> Field:
    return Field(kind="path", about=about, required=required, default=default, least=1, most=1024)


def _count(about: str, default: object, least: int, most: int) -> Field:
    return Field(kind="integer", about=about, default=default, least=least, most=most)


def _seconds(about: str, default: object, least: float, most: float) -> Field:
    return Field(kind="number", about=about, default=default, least=least, most=most)


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
        "path": _path("The key file, for provider file."),
        "name": Field(
            kind="text",
            about="The credential's name, for provider credential.",
            pattern=r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,127}",
            says="a credential name: letters, digits, _ . @ : -, and no slash",
        ),
    },
)

_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
DOOR = Field(
    kind="table",
    about="The TLS server: the one way in from outside.",
    required=True,
    fields={
        "host": Field(
            kind="text",
            about="The address to listen on; no name, since nobody here asks a resolver.",
            default="127.0.0.1",
            pattern=rf"{_BYTE}(?:\.{_BYTE}){{3}}|[0-9A-Fa-f]{{0,4}}:[0-9A-Fa-f:.]{{1,40}}",
            says="an IP address, such as 127.0.0.1, or 0.0.0.0 for all",
        ),
        "port": _count("The TCP port; 0 picks a free one.", 7443, 0, 65535),
        "certificate": _path("The server's certificate chain, PEM.", required=True),
        "key": _path("The server's private key, PEM.", required=True),
        "client_ca": _path("The CA that signs the clients' certificates, PEM.", required=True),
        "max_connections": _count("Connections at a time.", _DOOR["max_connections"], 1, 65536),
        "max_unauthenticated": _count(
            "Connections at a time that have not finished their handshake.", _DOOR["max_unauthenticated"], 1, 65536
        ),
        "max_unauthenticated_per_address": _count(
            "The same for one address.", _DOOR["max_unauthenticated_per_address"], 1, 65536
        ),
        "handshake_timeout_s": _seconds("Seconds for a whole handshake.", _DOOR["handshake_timeout_s"], 0.1, 60),
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
        "read": Field(
            kind="list", about="More folders that it may read.", default=[], most=64, item=_path("A folder.")
        ),
        "memory_mb": _count("Memory, MiB.", _LOOP["memory_mb"], 64, 1048576),
        "open_files": _count("Open descriptors.", _LOOP["open_files"], 32, 65536),
        "file_size_mb": _count("Size of one file it writes, MiB.", _LOOP["file_size_mb"], 0, 1048576),
        "processes": _count("Threads and processes.", _LOOP["processes"], 8, 65536),
    },
)

NEEDS = Field(
    kind="table",
    about="What the component needs beyond what every loop has.",
    fields={
        "read": Field(kind="list", about="Folders that it may read.", default=[], most=64, item=_path("A folder.")),
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
        "memory_mb": _count("Memory on top of its loop's, MiB.", 0, 0, 1048576),
        "open_files": _count("Open descriptors on top of its loop's.", 0, 0, 65536),
        "file_size_mb": _count("Size of one file it writes, MiB; the largest of its loop counts.", 0, 0, 1048576),
        "processes": _count("Threads on top of its loop's.", 0, 0, 65536),
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
        )
    },
)

SANDBOX = Field(
    kind="table",
    about="How loops are confined.",
    fields={
        "uid_base": _count("The first of the uids given to loops, as root.", _SANDBOX["uid_base"], 1000, 4000000000),
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
        "ready_timeout_s": _seconds("Seconds a loop has to become active.", _LIMITS["ready_timeout_s"], 0.5, 600),
        "stop_timeout_s": _seconds("Seconds between TERM and KILL.", _LIMITS["stop_timeout_s"], 0.1, 600),
        "epoch_s": _seconds("Seconds until all keys change.", _LIMITS["epoch_s"], 5, 86400),
        "queue_frames": _count("Unsent frames per channel before `busy`.", _LIMITS["queue_frames"], 1, 1048576),
        "calls_per_session": _count("Open calls per session before `busy`.", _LIMITS["calls_per_session"], 1, 1048576),
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
        "priority": _count("Priority of these loops.", _SCHEDULING["priority"], 1, 50),
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
        "boot_token": _path("The boot token, written by `tlsrt-supervisor init` and `seal`.", required=True),
        "measure": Field(
            kind="text",
            about="strict: what differs from the boot token refuses to start; warn: it starts and says so.",
            default="strict",
            choices=("strict", "warn"),
        ),
        "state_dir": _path("Where state is kept.", default="state"),
        "run_dir": _path("Where sockets and the lock are.", default="run"),
        "log_dir": _path("Where logs are written.", default="log"),
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
    },
)
