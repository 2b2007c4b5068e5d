"""Configuration of loops and components: what each needs, may reach and may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlsrt.config.bus_proxies import proxies_of
from tlsrt.config.needs import EGRESS, FOLDERS, EgressConfig, NeedsConfig
from tlsrt.config.processes import Placement, is_part, process_name
from tlsrt.config.program_kind import ProgramCheck, ProgramKind
from tlsrt.config.programs import PROGRAMS, ProgramConfig
from tlsrt.config.setting import (
    IDENTIFIER,
    Where,
    anything,
    boolean,
    count,
    listing,
    mapping,
    seconds,
    table,
    text,
)

Then = Literal["none", "restart"]


@dataclass(frozen=True, slots=True)
class HealthConfig:
    """How a component that has a `healthy` is asked for its health, and what follows."""

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
    tcp: int | None = field(
        default=None,
        metadata=count(
            "Of a program: a TCP port of its `listen`; it is well if it takes a connection there.",
            1,
            65535,
            default_says="none is looked at",
            example="1883",
        ),
    )
    http: str | None = field(
        default=None,
        metadata=text(
            "Of a program: PORT/PATH, a TCP port of its `listen`; it is well if it answers GET with a status of 200 to "
            "299.",
            pattern=r"[1-9][0-9]{0,4}/[!-~]{0,200}",
            says="PORT/PATH, such as 8080/health",
            default_says="none is asked for",
            example="8080/health",
        ),
    )
    exec: ProgramCheck | None = field(default=None, metadata=table(ProgramCheck, default_says="none is run"))
    start_s: float = field(
        default=60.0, metadata=seconds("Of a program: time to become ready, before it counts as not well.", 1, 3600)
    )


@dataclass(frozen=True, slots=True)
class ComponentConfig(ProgramKind):
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
    imports: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Modules that are imported with the class, as a sealed process imports nothing. A package with a dot and "
            "an asterisk is every module of it, 1024 at most; those that cannot be imported are left out, and the "
            "log names them.",
            text(
                "A module, or a package with a dot and an asterisk.",
                pattern=rf"{IDENTIFIER}(?:\.{IDENTIFIER})*(?:\.\*)?",
                says="a module, such as numpy.fft, or all of a package, such as PIL.*",
                most=256,
            ),
            64,
            on_reload=True,
            example="[numpy.fft, PIL.*]",
        ),
    )
    data: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Files of its own package that it may read when it runs: patterns relative to the package.",
            text(
                "A pattern.",
                pattern=r"(?!.*(?:^|/)\.\.?(?:/|$))[^/\\\x00-\x1f][^\\\x00-\x1f]*",
                says="a pattern below the package, such as models/*.onnx",
                most=256,
            ),
            64,
            on_reload=True,
            example='["models/*.onnx"]',
        ),
    )
    page: str = field(
        default="",
        metadata=text(
            "A page of its own for the console: a file of JavaScript of its own package, relative to the package.",
            on_reload=True,
            pattern=r"(?!.*(?:^|/)\.\.?(?:/|$))[^/\\\x00-\x1f*?\[][^\\\x00-\x1f*?\[]*\.js",
            says="a file of JavaScript below the package, such as page.js",
            most=256,
            default_says="it has none",
            example="page.js",
        ),
    )
    builtin: bool = False
    needs: NeedsConfig = field(default=NeedsConfig(), metadata=table(NeedsConfig, on_reload=True))
    programs: tuple[ProgramConfig, ...] = field(default=(), metadata=PROGRAMS)
    health: HealthConfig = field(default=HealthConfig(), metadata=table(HealthConfig, on_reload=True))
    part: str = ""  # of its loop, that it runs in: see processes.py
    title: str = field(default="", compare=False)  # of its manifest, if a drop-in adds it
    packages: Path | None = None  # the folder of those of its own, in place of the environment's: see isolation.py
    origin: str = field(default="", compare=False)  # the package that a drop-in adds it from
    places: Mapping[Where, str] = field(  # of its options in the file, FILE:LINE:COL, by the keys below `options`
        default_factory=dict[Where, str], compare=False, repr=False
    )

    @property
    def package(self) -> str:
        """Return the top-level package of its class."""
        return self.class_path.partition(":")[0].partition(".")[0]

    @property
    def is_foreign(self) -> bool:
        """Tell whether its code is of another package than tlsrt."""
        return not self.builtin and self.package != "tlsrt"

    @property
    def process(self) -> str:
        """Return the name of the process that it runs in."""
        return process_name(self.loop, self.part)

    @property
    def address(self) -> str:
        return f"{self.loop}/{self.name}"

    @property
    def all_programs(self) -> tuple[ProgramConfig, ...]:
        """Return the programs that it may have run, and behind them those that run for its grants."""
        return (*self.programs, *proxies_of(self.needs.buses))

    def place(self, where: Where) -> str:
        """Return where an option stands, or the nearest thing around it, as FILE:LINE:COL; empty if in no file."""
        for end in range(len(where), -1, -1):
            if where[:end] in self.places:
                return self.places[where[:end]]
        return ""


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """One process of a loop: what it may reach, and how much it may use."""

    name: str
    network: bool | None = field(
        default=None,
        metadata=boolean(
            "Keep the host's network namespace; egress rules do without it.",
            default_says="only if a component asks for it",
        ),
    )
    egress: tuple[EgressConfig, ...] = field(default=(), metadata=EGRESS)
    read: tuple[Path, ...] = field(default=(), metadata=FOLDERS)
    memory_mb: int = field(default=512, metadata=count("Memory.", 64, 1048576, unit="MiB"))
    open_files: int = field(default=256, metadata=count("Open descriptors.", 32, 65536))
    file_size_mb: int = field(default=256, metadata=count("Size of one file that it writes.", 0, 1048576, unit="MiB"))
    processes: int = field(default=64, metadata=count("Threads and processes.", 8, 65536))

    @property
    def is_part(self) -> bool:
        """Tell whether this is a further process of its loop."""
        return is_part(self.name)
