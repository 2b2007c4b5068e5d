"""Configuration of loops and components: what each needs, may reach and may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlsrt.config.egress import FORM, SAYS, EgressRule, parse_egress
from tlsrt.config.processes import Placement, is_part, process_name
from tlsrt.config.setting import (
    IDENTIFIER,
    anything,
    boolean,
    count,
    file_path,
    listing,
    mapping,
    seconds,
    table,
    text,
)

Then = Literal["none", "restart"]
_WHY = text("The reason, for the next reader.", least=3, most=1000, example="it sends the reports there")
_FOLDERS = listing("Folders that it may read.", file_path("A folder."), 64, example="[/srv/pictures]")


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
            on_reload=True,
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
            on_reload=True,
            example="{title: My notes}",
        ),
    )
    placement: Placement = field(
        default="own",
        metadata=text(
            "Where it runs. own: in a process loop.component, with its own uid, keys, limits, log and restarts; "
            "shared: in its loop's, for what is small and needs nothing.",
            key="process",
            on_reload=True,
            choices=("own", "shared"),
            default_says="own, for a built-in component shared",
        ),
    )
    builtin: bool = False
    needs: NeedsConfig = field(default=NeedsConfig(), metadata=table(NeedsConfig, on_reload=True))
    health: HealthConfig = field(default=HealthConfig(), metadata=table(HealthConfig, on_reload=True))
    part: str = ""  # of its loop, that it runs in: see processes.py

    @property
    def package(self) -> str:
        """Return the top-level package of its class."""
        return self.class_path.partition(":")[0].partition(".")[0]

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
