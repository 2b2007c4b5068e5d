"""Production's `Parts`: what really runs in the forked children, how they are confined, and how they are looked at.

The loops are started by name: no room of the street lets the supervisor import them. Everything they need is imported
once, here, before the first fork, so that a loop starts in milliseconds and shares the memory.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tlsrt.channels.control.life import LIFE, FailCode
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.config.boot_token import HEAD_BYTES, key_version_of
from tlsrt.config.code_permissions import unreadable_for_others, writable_by
from tlsrt.config.files import open_regular
from tlsrt.config.key_providers import open_ca_key, open_master_key
from tlsrt.config.measure import measured_paths
from tlsrt.config.packages import code_roots, component_roots, package_folder
from tlsrt.config.schema import Config, Engine
from tlsrt.errors import ConfigError, PeerError, SandboxError
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.apply.enter import enter_world
from tlsrt.sandbox.apply.imports import end_imports, preload, remember_sources
from tlsrt.sandbox.apply.rlimits import tighten
from tlsrt.sandbox.apply.root_plan import PlannedRoot, planned_root
from tlsrt.sandbox.cgroup.limit_usage import Pressure, open_descriptors
from tlsrt.sandbox.cgroup.tree import limits_of
from tlsrt.sandbox.profile import cache
from tlsrt.sandbox.profile.policy_files import FOLDER as PROFILE_FOLDER
from tlsrt.sandbox.profile.profile import Profile, profile_for_authority, profile_for_loop, with_group
from tlsrt.sandbox.profile.requested import settings_of
from tlsrt.sandbox.verify.attest import attest, own_namespaces
from tlsrt.supervisor.process import coverage_pipe
from tlsrt.supervisor.process.cgroups import ControlGroups
from tlsrt.supervisor.process.children import AuthorityStart, CallRules, Child, LoopStart, Parts, Sandbox
from tlsrt.supervisor.process.exit_reason import ExitReason
from tlsrt.supervisor.process.heartbeat_name import made_by_main_thread
from tlsrt.supervisor.process.preload import AUTHORITY_RUNTIME, Preload
from tlsrt.supervisor.process.scheduling import schedule
from tlsrt.supervisor.process.spawn import freeze, reap, spawn
from tlsrt.supervisor.process.uids import Uids

RUNTIME = "tlsrt.loops.runtime.entry"
ZMQ_LINK = "tlsrt.channels.links.zmq_link"  # which all loops but Primary import, unless the engine is native
AUTHORITY = "authority"
_AUTHORITY_TASKS = 64
_SHOWN_NAMESPACES = ("net", "pid", "mount", "ipc", "uts")


def make_parts(
    config: Config, identity: Uids, measured: Callable[[], bytes], groups: ControlGroups | None = None,
    roots: dict[str, PlannedRoot | None] | None = None,
) -> Parts:  # fmt: skip
    """Return what a real life needs; `measured` gives the measurement as msgpack.

    `groups` and `roots` are those of this life, when parts are made anew: a living process may go on under other parts.
    Raises ConfigError and SandboxError for profiles that cannot be made.
    """
    has_namespace = "pid_namespace" not in config.sandbox.waive
    if not cache.current().fingerprint:
        cache.use(_shelf())
    code = code_roots(config)
    profiles: dict[str, Profile] = {
        AUTHORITY: profile_for_authority(config, identity.uid(AUTHORITY), rootless=identity.rootless, code=code)
    }
    for loop in config.loops:
        uid = identity.uid(loop.name)
        profiles[loop.name] = profile_for_loop(config, loop, uid, rootless=identity.rootless, code=code)
    own = own_namespaces()
    is_first = groups is None
    planned: dict[str, PlannedRoot | None] = roots if roots is not None else {}  # what each living process was built by
    groups = groups or ControlGroups(config.state_dir, config.sandbox.waive.get("cgroup"))
    tasks = {loop.name: settings_of(config, loop)["processes"] for loop in config.loops}
    limits = {name: limits_of(one, tasks.get(name, _AUTHORITY_TASKS)) for name, one in profiles.items()}
    sandboxes: dict[str, Sandbox] = {}

    def claim() -> None:
        groups.claim(limits)
        put_in_groups()

    def put_in_groups() -> None:
        for name, profile in profiles.items():
            place = groups.place(name)
            profiles[name] = profile if place is None else with_group(profile, place)
            sandboxes[name] = _sandbox(config, profiles[name], groups.enforced())

    def spawn_in_group(body: Callable[[], int], name: str) -> Child:
        groups.limit(name, limits[name])  # those of the process before may have been others
        planned[name] = _planned(profiles[name])
        groups.born(name)
        return spawn(body, own_pid_namespace=has_namespace, group=groups.descriptor(name))

    def look_at(name: str, pid: int) -> list[str]:
        groups.looked_at(name, pid)
        return attest(pid, profiles[name], own, max_tasks=profiles[name].max_tasks, root=planned.get(name))

    def pressure_on(name: str, pid: int) -> Pressure:
        return Pressure(open_descriptors(pid), profiles[name].limits.get("nofile", 0), *groups.refused(name))

    def tighten_all(name: str, pid: int, lower: Mapping[str, int]) -> list[str]:
        problem = groups.limit(name, limits[name])
        found = tighten(pid, lower, uid=profiles[name].uid, gid=profiles[name].gid) if lower else []
        return [*found, problem] if problem else found

    if not is_first:
        put_in_groups()
    return Parts(
        spawn=spawn_in_group,
        reap=_reap,
        loop_body=lambda start: _loop_body(start, profiles[start.loop], planned[start.loop]),
        authority_body=lambda start: _authority_body(start, profiles[AUTHORITY], planned[AUTHORITY]),
        attest=look_at,
        sandbox=lambda name: sandboxes[name],
        measure=measured,
        open_boot_files=lambda token: _open_boot_files(config, token),
        open_door_files=lambda: _open_door_files(config),
        open_ca_key=lambda: _open_ca_key(config),
        uid=identity.uid,
        preload=partial(_preload, config.channels.engine),
        call_rules=lambda name: _call_rules(profiles[name]),
        beats=lambda name, pid, number, last: made_by_main_thread(pid, number, last),
        preload_authority=Preload(_import_for_sealed).step,
        claim=claim,
        freeze=groups.freeze,
        clear=groups.clear,
        oom_kills=groups.oom_kills,
        pressure=pressure_on,
        release=groups.release,
        limits=groups.sentence,
        profiles=profiles,
        tighten=tighten_all,
        take=partial(cache.use, cache.current()),
        renewed=lambda changed: _renewed(changed, identity, groups, planned),
    )


def _planned(profile: Profile) -> PlannedRoot | None:
    try:
        return planned_root(profile)
    except SandboxError:
        if profile.expects("mount_namespace"):
            raise
        return None  # the child will find the same, and go on without


def _renewed(config: Config, identity: Uids, groups: ControlGroups, planned: dict[str, PlannedRoot | None]) -> Parts:
    """Return the parts of a changed configuration; nothing of them is in force until `take`.

    The supervisor has its measurement already when it uses these. Raises ConfigError and SandboxError.
    """
    with cache.using(_shelf()):
        return make_parts(config, identity, bytes, groups, planned)


def _shelf() -> cache.ProfileCache:
    """Return a shelf for the profile files as they are now: the one in force, if they have not changed."""
    try:
        found = cache.fingerprint(PROFILE_FOLDER)
    except OSError as error:
        raise ConfigError(f"cannot read the profile {error.filename}: {error.strerror}") from None
    return cache.current() if cache.current().fingerprint == found else cache.ProfileCache(found)


def check_code(config: Config, identity: Uids) -> list[str]:
    """Return the sentences about code that a loop could change or could not read; none in rootless mode.

    A loop has read-only mounts, but a uid that owns code, or may write it, is one mistake away from changing it.
    """
    if identity.rootless:
        return []
    unreadable = unreadable_for_others([package_folder(), *(root.path for root in component_roots(config))])
    writable = writable_by(measured_paths(config), identity.all_uids())
    return [*unreadable, *(f"{path} can be changed by the uid of a loop: chown it to root" for path in writable)]


def _reap(child: Child) -> ExitReason | None:
    return reap(child)  # type: ignore[arg-type]  # it was made by the spawn above


def _loop_body(start: LoopStart, profile: Profile, root: PlannedRoot | None) -> int:
    """In the child: enter the sandbox's world, then the runtime, which takes the other steps."""
    _use_log(start.log)
    syscalls.name_thread(start.loop.encode())
    schedule(start.loop, start.config.scheduling)
    with coverage_pipe.measured() as kept:
        keep = {start.life, start.trust, *start.listeners.values(), *start.keep, *kept}
        try:
            confinement = enter_world(
                profile, keep, death_pipe=start.life, reports=start.reports, plan=root.plan if root else None
            )
        except SandboxError:
            _say_failed(start.life)
            raise
        run_loop = importlib.import_module(RUNTIME).run_loop
        code: int = run_loop(
            start.config, start.loop, start.incarnation, start.life, start.trust, start.listeners, confinement
        )
    return code


def _say_failed(life: int) -> None:
    try:
        ControlChannel(life, LIFE).send("failed", int(FailCode.SANDBOX), 0)
    except PeerError:
        return  # the exit says it too


def _authority_body(start: AuthorityStart, profile: Profile, root: PlannedRoot | None) -> int:
    """In the child: all steps of the sandbox, before the first key and the first message.

    Its modules are imported here, where the supervisor has not done it yet: at a start this runs beside the imports
    of the loops, and neither the supervisor nor the loops carry what only the authority needs.
    """
    _use_log(start.log)
    syscalls.name_thread(AUTHORITY.encode())
    _preload_authority()
    authority_main = importlib.import_module(AUTHORITY_RUNTIME).authority_main
    with coverage_pipe.measured() as kept:
        keep = {start.channel, *start.trust.values(), *start.keep, *kept}
        confinement = enter_world(
            profile, keep, death_pipe=start.channel, reports=start.reports, plan=root.plan if root else None
        )
        confinement.drop()
        confinement.assert_one_task()
        confinement.seal()
        end_imports()
        code: int = authority_main(start.config, start.channel, start.trust, Path(confinement.path("/state")))
    return code


def _use_log(log: int) -> None:
    os.dup2(log, 1, inheritable=False)
    os.dup2(log, 2, inheritable=False)


def _preload(engine: Engine) -> None:
    """Import what the loops need, before the first fork.

    Nothing here may make OpenSSL draw a random number: it tells a forked child from its parent by getpid(2), which is 1
    for both in their pid namespaces, so all children would draw the same ones. A test holds it.
    """
    _import_for_sealed(RUNTIME, *([ZMQ_LINK] if engine == "libzmq" else []))
    freeze()


def _preload_authority() -> None:
    _import_for_sealed(AUTHORITY_RUNTIME)


def _import_for_sealed(*modules: str) -> None:
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
    coverage_pipe.preload()


def _open_boot_files(config: Config, token: int) -> list[int]:
    """Open master key and boot token, and never read the key.

    Only the first lines of the boot token are read, which say the version of the key. `token` is the one of this life,
    or -1 for the one on the disk.
    """
    opened: list[int] = []
    try:
        opened.append(open_regular(config.boot_token, "the boot token") if token < 0 else os.dup(token))
        version = key_version_of(os.pread(opened[0], HEAD_BYTES, 0))
        opened.insert(0, open_master_key(config.master_key, {0, os.geteuid()}, version))
    except ConfigError:
        for descriptor in opened:
            os.close(descriptor)
        raise
    return opened


def _open_door_files(config: Config) -> list[int]:
    """Open, and never read: certificate, key, client CA and revocation lists (or nothing) of the door."""
    opened: list[int] = []
    try:
        opened.append(open_regular(config.door.certificate, "the door's certificate"))
        opened.append(open_regular(config.door.key, "the door's key"))
        opened.append(open_regular(config.door.client_ca, "the client CA"))
        if config.door.crl is not None:
            opened.append(open_regular(config.door.crl, "the revocation list"))
        else:
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except ConfigError:
        for descriptor in opened:
            os.close(descriptor)
        raise
    return opened


def _open_ca_key(config: Config) -> int:
    """Open, and never read, the key that clients are enrolled with; nothing if there is none."""
    if config.door.client_ca_key is None:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    return open_ca_key(config.door.client_ca_key, {0, os.geteuid()})


def _call_rules(profile: Profile) -> CallRules | None:
    if not profile.is_watched:
        return None
    policy = profile.policy
    channel = next((host for host, inside in profile.write if inside == "/channel"), None)
    return CallRules(policy.named("kill"), policy.named("broker"), profile.egress, channel)


def _sandbox(config: Config, profile: Profile, limits: Mapping[str, str]) -> Sandbox:
    needless = {"net_namespace"} if profile.network else set[str]()  # this one keeps the host's anyway
    waived = {layer: reason for layer, reason in config.sandbox.waive.items() if layer not in needless}
    layers = tuple(layer for layer in profile.layers if profile.expects(layer))
    group = profile.group.name if profile.group is not None else None
    return Sandbox(layers, waived, summary(profile), profile.digest(), group, limits)


def summary(profile: Profile) -> str:
    """Return the one line about a sandbox that a start shows."""
    namespaces = [name for name in _SHOWN_NAMESPACES if profile.expects(f"{name}_namespace")]
    words = [f"{' '.join(namespaces)} ns".replace("mount", "mnt")] if namespaces else []
    if profile.rootless:
        words.append("rootless")
    elif profile.expects("uid"):
        words.append(f"uid {profile.uid}")
    if profile.expects("capabilities") and profile.expects("bounding_set"):
        words.append("no caps")
    if profile.expects("no_new_privs"):
        words.append("no_new_privs")
    if profile.expects("mount_namespace"):
        words.append("read-only root")
    if profile.expects("landlock_sealed"):
        words.append("Landlock")
    if profile.expects("seccomp_sealed"):
        words.append("seccomp")
    if profile.expects("cgroup"):
        words.append("cgroup")
    if profile.is_watched:
        words.append("watched")
    if profile.waived:
        words.append(f"WAIVED: {' '.join(sorted(profile.waived))}")
    return ", ".join(words)
