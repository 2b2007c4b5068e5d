"""What a forked child of the supervisor does: enter its sandbox, then run what its process is for.

The loops are started by name: no import contract lets the supervisor import them. What they need is imported once,
before the first fork, so that a loop starts in milliseconds and shares the memory.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tlsrt.channels.control.life import LIFE, FailCode
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.config.code_look import ProcessCode
from tlsrt.config.import_path import also_measured, only_isolated
from tlsrt.config.isolation import isolated_folders
from tlsrt.config.schema import Engine
from tlsrt.config.secrets import Sealings, read_sealings
from tlsrt.errors import EX_CONFIG, ConfigError, PeerError, SandboxError
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.apply.enter import enter_world
from tlsrt.sandbox.apply.imports import end_imports, preload, remember_sources
from tlsrt.sandbox.apply.inherited import place
from tlsrt.sandbox.apply.outside_uid import note_outside_uid
from tlsrt.sandbox.apply.root_plan import PlannedRoot
from tlsrt.sandbox.profile.profile import (
    ACME,
    AUTHORITY,
    EXPORT,
    HELPER,
    LEARNER,
    METRICS,
    NETWORK_HELPER,
    RESOLVER,
    Profile,
)
from tlsrt.supervisor.process.children import AuthorityStart, HelperStart, LoopStart
from tlsrt.supervisor.process.crypto_warm_up import warm_up_crypto
from tlsrt.supervisor.process.gathered_code import gather, read_names
from tlsrt.supervisor.process.interfaces import interfaces_of
from tlsrt.supervisor.process.preload import AUTHORITY_RUNTIME, COMMON
from tlsrt.supervisor.process.scheduling import schedule
from tlsrt.supervisor.process.spawn import freeze, freeze_first

RUNTIME = "tlsrt.loops.entry"
ZMQ_LINK = "tlsrt.channels.links.zmq_link"  # which all loops but Primary import, unless the engine is native
_NO_BYTECODE = "/proc/self/no-bytecode"  # there can be no such file
# Processes beside the loops -> what runs in each, and its entry.
_SERVICES = {
    HELPER: ("tlsrt.supervisor.helper.main", "helper_main"),
    NETWORK_HELPER: ("tlsrt.supervisor.helper.network", "network_helper_main"),
    RESOLVER: ("tlsrt.supervisor.resolver.main", "resolver_main"),
    METRICS: ("tlsrt.supervisor.metrics.main", "metrics_main"),
    EXPORT: ("tlsrt.supervisor.export.main", "export_main"),
    ACME: ("tlsrt.supervisor.acme.main", "acme_main"),
    LEARNER: ("tlsrt.supervisor.learner.main", "learner_main"),
}


def run_loop(
    start: LoopStart, profile: Profile, root: PlannedRoot | None, importable: Iterable[str], code: ProcessCode
) -> int:
    """In the child: enter the sandbox's world, then the runtime, which takes the other steps.

    `importable` are the packages that it may import besides those of tlsrt: they are measured. `code` says how all that
    it may import looked then, and nothing of it is imported where it looks otherwise now.
    """
    _use_log(start.log)
    if not _is_as_it_was(code):
        _say_failed(start.life, FailCode.CODE_CHANGED)
        return EX_CONFIG
    own = isolated_folders(start.config.components_of(start.loop))
    if own:
        only_isolated(own[0])
    else:
        also_measured(importable)
    syscalls.name_thread(start.loop.encode())
    schedule(start.loop, start.config.scheduling)
    sealings = _sealings(start)
    interfaces = interfaces_of(start.config.listeners, start.loop)
    try:
        start = _placed(start, profile)
        note_outside_uid(profile)
        keep = {start.life, start.trust, *start.listeners.values(), *start.keep}
        confinement = enter_world(
            profile, keep, death_pipe=start.life, reports=start.reports, plan=root.plan if root else None
        )
    except SandboxError:
        _say_failed(start.life, FailCode.SANDBOX)
        raise
    runtime = importlib.import_module(RUNTIME)
    ended: int = runtime.run_loop(
        start.config, start.loop, start.incarnation, start.life, start.trust, start.listeners, confinement,
        sealings, interfaces, code,
    )  # fmt: skip
    return ended


def _sealings(start: LoopStart) -> dict[str, Sealings]:
    """Return the sealed secrets of the components of a process, while it can still read them."""
    found: dict[str, Sealings] = {}
    for component in start.config.components_of(start.loop):
        if component.needs.secrets:
            try:
                found[component.address] = read_sealings(start.config.state_dir, component.address)
            except ConfigError as error:  # that component says that it has none
                print(error, file=sys.stderr, flush=True)
    return found


def _placed(start: LoopStart, profile: Profile) -> LoopStart:
    """Return the same with sockets at the numbers that the profile has for them."""
    numbers = {line.key: line.number for line in profile.listen}
    keep = {f"keep {index}": number for index, number in enumerate(start.keep)}
    reports = {"reports": start.reports} if start.reports is not None else {}
    placed = place({"life": start.life, "trust": start.trust, **reports, **keep, **start.listeners}, numbers)
    return replace(
        start, life=placed["life"], trust=placed["trust"], reports=placed.get("reports"),
        keep=tuple(placed[key] for key in keep), listeners={key: placed[key] for key in start.listeners},
    )  # fmt: skip


def _is_as_it_was(code: ProcessCode) -> bool:
    """Compare what this process may import; say what differs, and tell whether it may go on.

    Byte code that is not as it was is not read: its sources are compiled, as where there is none.
    """
    if not code.has_bytecode():
        sys.pycache_prefix = _NO_BYTECODE
    if (change := code.change()) is None:
        return True
    print(change, file=sys.stderr, flush=True)
    return not code.is_strict


def _say_failed(life: int, code: FailCode) -> None:
    try:
        ControlChannel(life, LIFE).send("failed", int(code), 0)
    except PeerError:
        return  # the exit says it too


def run_authority(start: AuthorityStart, profile: Profile, root: PlannedRoot | None, code: ProcessCode) -> int:
    """In the child: all steps of the sandbox, before the first key and the first message.

    Its modules are imported here, where the supervisor has not done it yet: at a start this runs beside the imports
    of the loops, and neither the supervisor nor the loops carry what only the authority needs.
    """
    _use_log(start.log)
    if AUTHORITY_RUNTIME not in sys.modules and not _is_as_it_was(code):
        return EX_CONFIG
    syscalls.name_thread(AUTHORITY.encode())
    import_for_sealed(AUTHORITY_RUNTIME)
    authority_main = importlib.import_module(AUTHORITY_RUNTIME).authority_main
    gc.enable()  # at a start it is forked before that
    keep = {start.channel, *start.trust.values(), *start.keep}
    confinement = enter_world(
        profile, keep, death_pipe=start.channel, reports=start.reports, plan=root.plan if root else None
    )
    confinement.drop()
    confinement.assert_one_task()
    confinement.seal()
    end_imports()
    ended: int = authority_main(start.config, start.channel, start.trust, Path(confinement.path("/state")))
    return ended


def run_service(start: HelperStart, name: str, profile: Profile, root: PlannedRoot | None, code: ProcessCode) -> int:
    """In the child: all steps of the sandbox, before the first message."""
    _use_log(start.log)
    syscalls.name_thread(name.encode())
    runtime, entry = _SERVICES[name]
    if runtime not in sys.modules and not _is_as_it_was(code):
        return EX_CONFIG
    import_for_sealed(runtime)
    main = getattr(importlib.import_module(runtime), entry)
    confinement = enter_world(
        profile, {start.channel, *start.keep}, death_pipe=start.channel, reports=start.reports,
        plan=root.plan if root else None,
    )  # fmt: skip
    confinement.drop()
    confinement.assert_one_task()
    confinement.seal()
    end_imports()
    ended: int = main(start.channel)
    return ended


def _use_log(log: int) -> None:
    os.dup2(log, 1, inheritable=False)
    os.dup2(log, 2, inheritable=False)


def preload_common() -> None:
    """Import what the authority and the loops need, and settle it, before the authority is forked.

    Both would import it at the same time, each for itself: so it takes no start longer, and is in memory once.
    """
    import_for_sealed(*COMMON)
    freeze_first()


def preload_loops(engine: Engine, services: Iterable[str] = ()) -> None:
    """Import what the loops need, and these modules of services, before the first fork of a loop.

    Nothing here may make OpenSSL draw a random number: it tells a forked child from its parent by getpid(2), which is 1
    for both in their pid namespaces, so all children would draw the same ones. A test holds it.
    """
    import_for_sealed(RUNTIME, *([ZMQ_LINK] if engine == "libzmq" else []), *services)
    warm_up_crypto()
    gather(read_names())
    freeze()


def import_for_sealed(*modules: str) -> None:
    """Import modules of ours, and what their libraries would import lazily: sealed processes cannot.

    Raises ConfigError for code that does not import: this comes before the authority could say which file changed.
    """
    try:
        for module in (*modules, "cryptography.hazmat.backends.openssl.backend"):
            importlib.import_module(module)
        preload()
    except (ImportError, SyntaxError) as error:
        raise ConfigError(
            f"the installed code does not import ({error}): a file is gone or changed; reinstall tlsrt"
        ) from error
    remember_sources({"tlsrt"})
