"""Programs: what a component may have run, each in a process of its own that the supervisor makes.

Such a process has no key, no network, no channel and no file but those that stand here; its arguments must fit one of
the forms in `args` (`argument_patterns.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tlsrt.config.argument_patterns import NO_ARGUMENTS, ArgumentForm, parse_form
from tlsrt.config.needs import FOLDERS
from tlsrt.config.setting import WHY, boolean, count, file_path, listing, mapping, seconds, table, text

_EXECUTABLE = {
    "pattern": r"/[^/].*",
    "says": "an absolute path, such as /usr/bin/gzip",
    "least": None,
}


@dataclass(frozen=True, slots=True)
class ProgramConfig:
    """A program that the component may have run, and the reason."""

    name: str
    run: Path = field(
        metadata=file_path("The executable, or a script with a #! line.", **_EXECUTABLE, example="/usr/bin/gzip")
    )
    why: str = field(metadata=WHY)
    args: tuple[ArgumentForm, ...] = field(
        default=(NO_ARGUMENTS,),
        metadata=listing(
            "The forms that its arguments may have: words, with {name}, {name:text}, {name:1-100} or {name:/REGEX/} "
            "for what the caller chooses, and `...` behind a word that may be repeated.",
            text("One form; an empty one is for no arguments.", parse=parse_form, least=0, most=4096),
            64,
            least=1,
            default_says="no arguments",
            example='["-c", "-d --stdout", "-{level:1-9} -c"]',
        ),
    )
    read: tuple[Path, ...] = field(default=(), metadata=FOLDERS)
    also_runs: tuple[Path, ...] = field(
        default=(),
        metadata=listing(
            "Further executables that it may run itself; without any, it can run none.",
            file_path("An executable.", **_EXECUTABLE),
            32,
            example="[/usr/bin/cat]",
        ),
    )
    seconds: float = field(default=60.0, metadata=seconds("Time that one run may take.", 0.1, 86400))
    memory_mb: int = field(default=256, metadata=count("Memory of one run.", 8, 1048576, unit="MiB"))
    scratch_mb: int = field(
        default=0, metadata=count("Room for files in a /tmp of its own, which ends with the run.", 0, 65536, unit="MiB")
    )
    processes: int = field(default=16, metadata=count("Processes and threads of one run.", 1, 4096))
    open_files: int = field(default=256, metadata=count("Open descriptors of each of its processes.", 16, 65536))
    at_once: int = field(default=2, metadata=count("Runs at the same time.", 1, 32))
    executable_memory: bool = field(
        default=False, metadata=boolean("Let it make memory that it can execute, as compilers at run time need it.")
    )
    environment: Mapping[str, str] = field(
        default_factory=dict[str, str],
        metadata=mapping(
            "Its environment, besides PATH, HOME and LANG.",
            text("A value.", least=0, most=4096),
            64,
            "[A-Za-z_][A-Za-z0-9_]{0,127}",
            "the name of a variable",
            example="{OMP_NUM_THREADS: '2'}",
        ),
    )
    where: str = field(default="", compare=False)  # FILE:LINE:COL, for what only the host can tell


PROGRAMS = mapping(
    "Programs that it may have run, by the name that it uses.",
    table(ProgramConfig, named_by="name", placed_by="where"),
    32,
    default={},
    on_reload=True,
    example="{gzip: {run: /usr/bin/gzip, args: ['-c'], why: it packs what it keeps}}",
)
