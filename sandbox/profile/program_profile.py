"""The profile of a program that a component has run: what its process may see and use.

It sees its own files, those that its declaration lists under `read`, and, if it asks for one, a scratch folder. Only
its executable with its loader, and what `also_runs` lists, can be executed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlsrt.config.components import ComponentConfig
from tlsrt.config.name_rules import address_rules, name_rules
from tlsrt.config.package_folders import hidden_packages
from tlsrt.config.program_files import ProgramFiles
from tlsrt.config.programs import ProgramConfig
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, SandboxError
from tlsrt.sandbox.capabilities import has as has_capability
from tlsrt.sandbox.profile.compose import (
    UNCOUNTED_MB,
    checked_read,
    expand,
    limits_of,
    waived_layers,
    with_hosts,
)
from tlsrt.sandbox.profile.fragment import SPOKEN, STATE, EgressLine, Line, PolicyFragment
from tlsrt.sandbox.profile.grants import ListenLine
from tlsrt.sandbox.profile.profile import DROP_LAYERS, STAGE_1_LAYERS, WORLD_LAYERS, Profile
from tlsrt.sandbox.profile.profile_files import ProfileFiles, names_for_program
from tlsrt.sandbox.profile.requested import (
    check_held,
    check_replies,
    is_there,
    overlap,
    requested_fragment,
    unfit_to_read,
)

LAYERS = (*WORLD_LAYERS, *DROP_LAYERS, *STAGE_1_LAYERS)  # its one filter is its last: there is nothing to import
SLOT_MARK = "+"  # in the name of each process of a program, and in no other
_NAME = "program"
_SCRATCH = Path("/tmp")  # noqa: S108  # of its own root, with `scratch_mb`
_BESIDE_SHARED_MB = (
    256  # code and reserves of malloc: RLIMIT_DATA counts no shared memory, RLIMIT_AS what is mapped of it
)


@dataclass(frozen=True, slots=True)
class PlacedProgram:
    """A program and the component whose it is."""

    component: ComponentConfig
    program: ProgramConfig
    files: ProgramFiles

    @property
    def label(self) -> str:
        """Return what people call it: `third.notes/gzip`."""
        return program_label(self.component, self.program.name)

    @property
    def slots(self) -> tuple[str, ...]:
        """Return the names of its processes, of which each has a uid and a control group."""
        return slots_of(self.component, self.program)


def program_label(component: ComponentConfig, name: str) -> str:
    """Return what people call a program of a component."""
    return f"{component.loop}.{component.name}/{name}"


def slots_of(component: ComponentConfig, program: ProgramConfig) -> tuple[str, ...]:
    """Return the names of the processes that there can be of a program."""
    place = f"{component.loop}.{component.name}{SLOT_MARK}{program.name}"
    return tuple(f"{place}{SLOT_MARK}{number}" for number in range(1, program.runs_most + 1))


def slots_of_all(config: Config) -> list[str]:
    """Return the names of all processes that there can be of programs."""
    pairs = [(component, program) for component in config.components for program in component.all_programs]
    return [slot for pair in pairs for slot in slots_of(*pair)]


def slots_with_state(config: Config) -> list[str]:
    """Return the names of the processes of programs that have a folder which lives on."""
    return [slot for component in config.components for slot in slots_with_state_of(component)]


def slots_with_state_of(component: ComponentConfig) -> list[str]:
    """Return the names of the processes of a component's programs that have a folder which lives on."""
    return [slot for program in component.programs if program.state_mb for slot in slots_of(component, program)]


def fragments_of_program(config: Config, placed: PlacedProgram, files: ProfileFiles) -> tuple[PolicyFragment, ...]:
    """Return the fragments of a program. Raises SandboxError."""
    names = names_for_program(placed.program, own_pids="pid_namespace" not in config.sandbox.waive)
    return (*files.fragments(names), program_fragment(placed, files))


def program_fragment(placed: PlacedProgram, files: ProfileFiles) -> PolicyFragment:
    """Return the fragment for what a program asks for, and for its own files."""
    program = placed.program
    part = f"programs.{placed.label}"
    shown = [os.fspath(path) for path in placed.files.shown]
    kinds = (
        (shown, "what it executes, the loader, and the libraries that this loads"),
        ([os.fspath(path) for path in program.read], "listed under its `read`"),
    )
    return requested_fragment(
        files, part, f"what {placed.label} asks for",
        data=tuple(Line(tuple(paths), why, part, must_exist=True) for paths, why in kinds if paths),
        egress=tuple(EgressLine(one.rules, one.why, part) for one in program.egress),
        listen=tuple(
            ListenLine(one.name, one.place, one.sends, -1, one.why, part, one.replies) for one in program.listen
        ),
    )  # fmt: skip


def profile_for_program(
    config: Config, placed: PlacedProgram, name: str, uid: int, files: ProfileFiles, *, rootless: bool
) -> Profile:
    """Return the profile of one process of a program, whose filter is made too.

    Raises ConfigError for what it cannot be shown, SandboxError for a filter that cannot be made.
    """
    program = placed.program
    if program.listen or program.egress or program.notifies:
        check_held(config, program.where, placed.label, "have sockets")
    if program.netlink:
        check_held(config, program.where, placed.label, "have netlink")
        _check_netlink(config, placed)
    check_replies(config, placed.label, program.listen)
    _check_capabilities(placed, rootless=rootless)
    fragments = fragments_of_program(config, placed, files)
    policy = files.policy(_NAME, fragments[:-1], is_quiet=True)  # the last one has no calls, and is its alone
    settings = {
        "memory_mb": program.memory_mb,
        "address_mb": program.memory_mb + (_BESIDE_SHARED_MB if program.shared_memory else UNCOUNTED_MB),
        "file_size_mb": max(program.scratch_mb, program.state_mb, bool(program.secrets)),  # its launcher writes those
        "open_files": program.open_files,
        "processes": program.tasks,
    }
    data = [path for one in fragments[:-1] for line in one.lines["data"] for path in expand(line, ())]
    _check_files(config, placed, data)
    _check_worker(config, placed)
    read = tuple(dict.fromkeys((*placed.files.shown, *data, *_read(config, placed))))
    rules = [rule for one in program.egress for rule in one.rules]
    profile = Profile(
        name=name,
        uid=uid,
        gid=uid,
        rootless=rootless,
        read=read,
        hidden=hidden_packages(placed.files.shown, program.read) if program.worker else (),
        kept=read,
        limits=limits_of(fragments, settings, rootless=rootless),
        layers=tuple(one for one in LAYERS if one != "cgroup" and not (rootless and one == "uid")),
        waived=waived_layers(config),
        policy=policy,
        egress=address_rules(rules),
        names=name_rules(rules),
        listen=tuple(line for one in fragments for line in one.listen),
        execute=tuple(map(Path, placed.files.runs)),
        write=((config.state_dir / name, STATE),) if program.state_mb else (),
        secrets=tuple(program.secrets),
        files=tuple(sorted(program.files.items())),
        speaks_by_name=not program.worker and program.bus is None and "mount_namespace" not in waived_layers(config),
        scratch_mb=program.scratch_mb,
        capabilities=program.kept_capabilities,
        is_background=not program.is_kept and program.bus is None,
    )
    profile = with_hosts(profile, config)
    policy.filters(watched=profile.is_watched, pid=1)  # as the child will ask: what is kept is kept by arguments
    policy.digests(watched=profile.is_watched)
    return profile


def _check_files(config: Config, placed: PlacedProgram, data: Sequence[Path]) -> None:
    """Refuse files that cannot be made: in a root that is the host's, or where a read-only folder lies."""
    program = placed.program
    if (program.files or program.state_mb or program.secrets) and "mount_namespace" in config.sandbox.waive:
        what = "files" if program.files or program.secrets else "a folder /state"
        raise ConfigError(
            f"{program.where}: {placed.label} cannot have {what}: sandbox layer mount_namespace is waived"
        )
    shown = [Path(os.path.realpath(path)) for path in (*placed.files.shown, *data, *program.read)]
    if program.scratch_mb and (at := next((one for one in shown if one == _SCRATCH), None)):
        raise ConfigError(
            f"{program.where}: {placed.label} cannot read {at}: its own folder is there (scratch_mb); name what it "
            "reads below, or remove scratch_mb"
        )
    if program.scratch_mb and _SCRATCH.is_symlink() and any(_SCRATCH in path.parents for path in program.read):
        raise ConfigError(
            f"{program.where}: {placed.label} cannot read below {_SCRATCH}, which is a link, and have a folder there "
            f"(scratch_mb): name where it leads, {os.path.realpath(_SCRATCH)}"
        )
    for path in program.files:
        if path in SPOKEN:
            raise ConfigError(f"{program.where}: {placed.label} cannot have a file {path}: its output is there")
        if other := next((one for one in shown if overlap(one, Path(os.path.realpath(path)))), None):
            raise ConfigError(f"{program.where}: {placed.label} cannot have a file {path}: {other} is shown there")


def _check_worker(config: Config, placed: PlacedProgram) -> None:
    """Refuse a worker that could not list the folders its packages lie in, so would find none of them."""
    waived = config.sandbox.waive
    if placed.program.worker and "mount_namespace" in waived and "landlock" not in waived:
        why = "sandbox layer mount_namespace is waived, so it could import no package"
        raise ConfigError(f"{placed.program.where}: {placed.label} cannot be a worker: {why}")


def _check_netlink(config: Config, placed: PlacedProgram) -> None:
    """Refuse the capability where the process would be in the host's network, and where its root is the host's."""
    for layer in ("net_namespace", "mount_namespace", "pid_namespace", "landlock"):
        if layer in config.sandbox.waive:
            raise ConfigError(
                f"{placed.program.where}: {placed.label} cannot have netlink: sandbox layer {layer} is waived, and "
                "CAP_NET_ADMIN is only given to a process that is shut in"
            )


def _check_capabilities(placed: PlacedProgram, *, rootless: bool) -> None:
    """Refuse more than the supervisor itself has. Raises ConfigError."""
    for name in placed.program.kept_capabilities:
        if rootless or not has_capability(name):
            why = "tlsrt does not run as root" if rootless else "the supervisor does not have it"
            raise ConfigError(f"{placed.program.where}: {placed.label} cannot have {name}: {why}")


def _read(config: Config, placed: PlacedProgram) -> tuple[Path, ...]:
    program = placed.program
    for path in program.read:
        reason = unfit_to_read(path)
        if not reason and not is_there(Path(os.path.realpath(path))):
            reason = "there is no such file or folder"
        if reason:
            raise ConfigError(f"{program.where}: {placed.label} cannot read {path}: {reason}")
    try:
        return checked_read(placed.label, program.read, config)
    except SandboxError as error:
        raise ConfigError(f"{program.where}: {error.reason}") from None
