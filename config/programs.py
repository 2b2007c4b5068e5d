"""Programs: what a component may have run, each in a process of its own that the supervisor makes.

Such a process has no key, no network, no channel and no file but those that stand here; its arguments must fit one of
the forms in `args` (`argument_patterns.py`). A worker is such a program, too: the interpreter with one module, which
answers calls of its component.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlsrt.config.argument_patterns import NO_ARGUMENTS, ArgumentForm, parse_form
from tlsrt.config.capabilities import refusal_of_capability
from tlsrt.config.listeners import ListenConfig
from tlsrt.config.needs import EGRESS, FOLDERS, EgressConfig
from tlsrt.config.setting import (
    IDENTIFIER,
    REQUIRED_WHY,
    WHY,
    boolean,
    count,
    file_path,
    listing,
    mapping,
    seconds,
    table,
    text,
)
from tlsrt.config.standard_library import interpreter

Life = Literal["call", "kept"]
StopSignal = Literal["TERM", "INT", "QUIT", "HUP", "USR1", "USR2"]
FILES_BYTES_MOST = 64 << 10  # they lie in the root itself, which is small
_TAKEN = ("/proc/", "/sys/", "/dev/", "/tmp/", "/state/", "/secrets/", "/channel/", "/etc/tlsrt/", "/run/tlsrt/")  # noqa: S108
_TAKEN_SAYS = " ".join(one.rstrip("/") for one in _TAKEN)
SECRETS_MOST = 16  # of the longest ones together just what follows a request, see `program_request.py`
CALL_S, CALL_AT_ONCE = 60.0, 2
STOP_S = 1.5
_OWN_FILES = 8  # descriptors that a program needs to begin
LET_GO_S = 0.4  # for a component to hear of the end of a program, beyond the time that this has

_EXECUTABLE = {
    "pattern": r"/[^/].*",
    "says": "an absolute path, such as /usr/bin/gzip",
    "least": None,
}


@dataclass(frozen=True, slots=True)
class ProgramConfig:
    """A program that the component may have run, and the reason."""

    name: str
    run: Path = field(  # of a worker, the interpreter
        default=Path(),
        metadata=file_path(
            "The executable, or a script with a #! line.", **_EXECUTABLE, required=False, default_says="none",
            example="/usr/bin/gzip",
        ),
    )  # fmt: skip
    why: str = field(default="", metadata=REQUIRED_WHY)
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
    life: Life = field(
        default="call",
        metadata=text(
            "call: each run has an end and a deadline; kept: one run, without a deadline, that `keep_running` begins "
            "again after each end.",
            choices=("call", "kept"),
        ),
    )
    talks: bool = field(
        default=False, metadata=boolean("Give it a socket to its component, as descriptor 3: `run.talk`.")
    )
    notifies: bool = field(
        default=False,
        metadata=boolean("Let it say in NOTIFY_SOCKET how it is, as sd_notify(3) does: `run.notices()`."),
    )
    listen: tuple[ListenConfig, ...] = field(
        default=(),
        metadata=listing(
            "Sockets that it may bind: the supervisor has bound them, and keeps them over its runs.",
            table(ListenConfig, placed_by="where"),
            16,
            example="[{name: mqtt, port: 1883, why: sensors send there}]",
        ),
    )
    egress: tuple[EgressConfig, ...] = field(default=(), metadata=EGRESS)
    read: tuple[Path, ...] = field(default=(), metadata=FOLDERS)
    files: Mapping[str, str] = field(
        default_factory=dict[str, str],
        metadata=mapping(
            "Small files that are made for it, read-only, with this text: its configuration.",
            text("The text.", least=0, most=32768),
            16,
            r"(?:/(?!\.\.?(?:/|$))[^/\x00-\x1f]{1,255}){1,16}",
            "an absolute path, such as /etc/mosquitto.conf",
            example='{/etc/mosquitto.conf: "listener 1883 127.0.0.1"}',
        ),
    )
    also_runs: tuple[Path, ...] = field(
        default=(),
        metadata=listing(
            "Further executables that it may run itself; without any, it can run none.",
            file_path("An executable.", **_EXECUTABLE),
            32,
            example="[/usr/bin/cat]",
        ),
    )
    worker: str = field(
        default="",
        metadata=text(
            "In place of `run`: a module whose functions the component calls, in a process that lives as long as they "
            "are called; all that Python needs is found.",
            pattern=rf"{IDENTIFIER}(?:\.{IDENTIFIER})*",
            says="a module, such as speech.model",
            most=256,
            default_says="none",
            example="speech.model",
        ),
    )
    imports: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Packages of the environment that a worker imports besides what its component's own package requires, such "
            "as those of an extra. One that is not installed is left out, and its import fails in the worker.",
            text("The name that is imported.", pattern=IDENTIFIER, says="a package, such as magika", most=128),
            32,
            example="[magika]",
        ),
    )
    threads: int = field(
        default=1,
        metadata=count("Processors that a worker sees: its libraries compute with as many threads.", 1, 1024),
    )
    stop_seconds: float = field(
        default=STOP_S,
        metadata=seconds(
            "Time that a kept program has to end by itself, after `stop_signal`. A stop of its component, and of the "
            "host, takes so much longer at most.",
            0.1,
            90,
        ),
    )
    seconds: float | None = field(
        default=None,
        metadata=seconds(
            "Time that one run may take, of a worker one call.",
            0.1,
            86400,
            default_says="60; a kept program has no deadline",
            example="10",
        ),
    )
    memory_mb: int = field(default=256, metadata=count("Memory of one run.", 8, 1048576, unit="MiB"))
    state_mb: int = field(
        default=0,
        metadata=count(
            "Room in a folder /state of its own, which lives on; only of a kept program. No file may be larger at any "
            "time; all together are looked at each second, with at least 4 KiB for each, and too much ends the run.",
            0, 1048576, unit="MiB",
        ),
    )  # fmt: skip
    secrets: Mapping[str, str] = field(
        default_factory=dict[str, str],
        metadata=mapping(
            "Secrets of its component that it gets as files /secrets/NAME, each with the reason.",
            REQUIRED_WHY,
            SECRETS_MOST,
            example="{broker: it logs in there}",
        ),
    )
    scratch_mb: int = field(
        default=0, metadata=count("Room for files in a /tmp of its own, which ends with the run.", 0, 65536, unit="MiB")
    )
    processes: int = field(
        default=16, metadata=count("Processes and threads of one run, a worker's `threads` not counted.", 1, 4096)
    )
    open_files: int = field(default=256, metadata=count("Open descriptors of each of its processes.", 16, 65536))
    at_once: int | None = field(
        default=None,
        metadata=count(
            "Runs at the same time; of a worker, processes, each for one call at a time.", 1, 32,
            default_says="2; a worker 1; a kept program runs once", example="4",
        ),
    )  # fmt: skip
    stop_signal: StopSignal = field(
        default="TERM",
        metadata=text(
            "The signal by which a kept program is asked to end, `stop_seconds` before it is killed.",
            choices=("TERM", "INT", "QUIT", "HUP", "USR1", "USR2"),
        ),
    )
    executable_memory: bool = field(
        default=False, metadata=boolean("Let it make memory that it can execute, as compilers at run time need it.")
    )
    shared_memory: bool = field(
        default=False,
        metadata=boolean(
            "Let it make memory that it shares with its own children, as nginx needs it. The address space of each "
            "process is then 256 MiB beyond `memory_mb`. Only a control group with a memory controller holds all of it."
        ),
    )
    capabilities: Mapping[str, str] = field(
        default_factory=dict[str, str],
        metadata=mapping(
            "Capabilities that it keeps, each with the reason; it takes a supervisor that is root and has them.",
            WHY,
            4,
            "CAP_[A-Z_]{1,32}",
            "the name of a capability, such as CAP_IPC_LOCK",
            default={},
            example="{CAP_IPC_LOCK: its keys must never be swapped}",
        ),
    )
    netlink: Mapping[str, str] = field(
        default_factory=dict[str, str],
        metadata=mapping(
            "Parts of the host's network that it changes by netlink(7), with CAP_NET_ADMIN, each with the reason: "
            "`netfilter` is all of nftables, `route` all links, addresses and routes. It takes a supervisor that is "
            "root.",
            REQUIRED_WHY,
            2,
            "netfilter|route",
            "netfilter or route",
            default={},
            example="{netfilter: it loads the rules of the packet filter}",
        ),
    )
    undo_s: int = field(
        default=0,
        metadata=count(
            "Time for which the undo of what it changes may be kept outside of the host, by a process that does it "
            "when the component, or all of the host, has died: `run.keep_undo`. Only with `netlink: {route: ...}`.",
            0, 7200, unit="s",
        ),
    )  # fmt: skip
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
    bus: Path | None = None  # whose proxy it is; then no component asks for it: see `bus_proxies.py`
    where: str = field(default="", compare=False)  # FILE:LINE:COL, for what only the host can tell

    def __post_init__(self) -> None:
        """Fill in what a worker is run by."""
        if self.worker and self.run == Path():
            object.__setattr__(self, "run", interpreter())

    @property
    def is_kept(self) -> bool:
        """Tell whether it stays."""
        return self.life == "kept"

    @property
    def deadline_s(self) -> float | None:
        """Return how long a run may take; None: as long as it likes."""
        return None if self.is_kept or self.worker else self.seconds or CALL_S

    @property
    def call_s(self) -> float:
        """Return how long a call of a worker may take."""
        return self.seconds or CALL_S

    @property
    def runs_most(self) -> int:
        """Return how many runs there are at the same time."""
        return 1 if self.is_kept else self.at_once or (1 if self.worker else CALL_AT_ONCE)

    @property
    def tasks(self) -> int:
        """Return how many processes and threads one run may have."""
        return self.processes + (2 * self.threads if self.worker else 0)  # libraries have a pool of threads each

    @property
    def passed(self) -> tuple[ListenConfig, ...]:
        """Return the listeners that it has from the beginning."""
        return tuple(one for one in self.listen if one.passed)

    @property
    def problem(self) -> str:
        """Return what of it does not go together; empty if all does."""
        if self.is_kept and (self.seconds is not None or self.at_once is not None):
            name = "seconds" if self.seconds is not None else "at_once"
            return f"a kept program has no `{name}`: it is one run without a deadline; remove it"
        if self.state_mb and not self.is_kept and not self.worker:
            return "only a kept program has a folder that lives on: say `life: kept`, or remove `state_mb`"
        if (self.stop_signal != "TERM" or self.stop_seconds != STOP_S) and not self.is_kept:
            name = "stop_signal" if self.stop_signal != "TERM" else "stop_seconds"
            return f"only a kept program is asked to end: remove `{name}`"
        if taken := [path for path in self.files if _is_taken(path)]:
            return f"files: {taken[0]} cannot be made there: {_TAKEN_SAYS} are of the runtime; choose another folder"
        folders = {str(one) for path in self.files for one in Path(path).parents}
        if both := folders & self.files.keys():
            return f"files: {min(both)} cannot be a file and a folder: choose another name"
        if sum(len(one.encode()) for one in self.files.values()) > FILES_BYTES_MOST:
            return f"files: together they have more than {FILES_BYTES_MOST} bytes; put them into a folder under `read`"
        if refused := next((why for one in self.capabilities if (why := refusal_of_capability(one))), ""):
            return refused
        if self.netlink and (others := self._beside_netlink):
            return f"a program with `netlink` has no other way to reach anything: remove `{others}`"
        if self.undo_s and "route" not in self.netlink:
            return "only a program with `netlink: {route: ...}` changes what is undone: remove `undo_s`"
        if self.worker:
            return self._problem_of_worker
        if self.passed and self.talks:
            return (
                f"{self.passed[0].name} has `pass`, and descriptor 3, where passed sockets begin, is where it talks "
                "(`talks`, `offers`, `topics`): remove one of them; without `pass` it binds the socket by itself"
            )
        if len(self.passed) + _OWN_FILES > self.open_files:
            return f"`open_files` of {self.open_files} is too little for {len(self.passed)} passed sockets: raise it"
        if self.run == Path():
            return "it has neither `run` nor `worker`: name an executable, or a module"
        if self.imports:
            return "`imports` are a worker's: show a program that is a Python script its packages under `read`"
        return "`threads` are a worker's: `processes` bounds those of a program" if self.threads != 1 else ""

    @property
    def kept_capabilities(self) -> tuple[str, ...]:
        """Return the capabilities that it keeps, also those that go with what else it asks for."""
        return tuple(sorted({*self.capabilities, *(["CAP_NET_ADMIN"] if self.netlink else [])}))

    @property
    def _beside_netlink(self) -> str:
        """Return what does not go together with `netlink`: its filter lets it send to addresses of its own choice."""
        names = ("worker", "listen", "egress", "notifies", "talks", "also_runs", "executable_memory")
        return next((name for name in names if getattr(self, name)), "")

    @property
    def _problem_of_worker(self) -> str:
        if self.run != interpreter():
            return "it has `run` and `worker`: only one is possible"
        if self.args != (NO_ARGUMENTS,):
            return "a worker takes no `args`: its functions have parameters"
        wrong = next(
            (name for name in ("talks", "notifies", "listen", "egress", "state_mb") if getattr(self, name)),
            "life" if self.is_kept else "",
        )
        return f"a worker lives as long as it is called: remove `{wrong}`" if wrong else ""


def end_s_of(programs: Iterable[ProgramConfig]) -> float:
    """Return how long the kept programs of a component may take to end, as its stop has them end together."""
    return max((one.stop_seconds + LET_GO_S for one in programs if one.is_kept), default=0.0)


def _is_taken(path: str) -> bool:
    """Tell whether a file there would lie in a place of the runtime, or stand in the way of one."""
    return f"{path}/".startswith(_TAKEN) or any(one.startswith(f"{path}/") for one in _TAKEN)


PROGRAMS = mapping(
    "Programs that it may have run, by the name that it uses.",
    table(ProgramConfig, named_by="name", placed_by="where"),
    32,
    default={},
    on_reload=True,
    example="{gzip: {run: /usr/bin/gzip, args: ['-c'], why: it packs what it keeps}}",
)
