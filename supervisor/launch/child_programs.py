"""`ChildPrograms`: what runs in the forked children of a host, how they are confined, and how they are inspected.

What a child does itself is in `child_entries.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tlsrt.config.code_look import CodeChange, ProcessCode
from tlsrt.config.code_permissions import unreadable_for_others, writable_by
from tlsrt.config.import_path import package_folder
from tlsrt.config.measure import measured_paths
from tlsrt.config.package_search import component_roots
from tlsrt.config.package_survey import once
from tlsrt.config.packages import Code, code_roots
from tlsrt.config.schema import Config
from tlsrt.errors import SandboxError
from tlsrt.sandbox.apply.rlimits import tighten
from tlsrt.sandbox.apply.root_plan import PlannedRoot, planned_root
from tlsrt.sandbox.cgroup.limit_usage import LimitUsage, open_descriptors
from tlsrt.sandbox.profile.compose import (
    profile_for_authority,
    profile_for_helper,
    profile_for_loop,
    profile_for_service,
)
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
    group_limits,
    with_group,
)
from tlsrt.sandbox.profile.profile_files import ProfileFiles
from tlsrt.sandbox.profile.program_profile import PlacedProgram, profile_for_program
from tlsrt.sandbox.profile.requested import settings_of
from tlsrt.sandbox.seccomp.name_pins import NamePins
from tlsrt.sandbox.seccomp.reply_filter import AnsweringGroup
from tlsrt.sandbox.verify.attest import own_namespaces
from tlsrt.supervisor.launch import child_entries
from tlsrt.supervisor.launch.host_files import ConfiguredFiles
from tlsrt.supervisor.launch.program_launcher import run_program
from tlsrt.supervisor.launch.program_slots import ProgramsOfProcesses
from tlsrt.supervisor.process.cgroups import ControlGroups
from tlsrt.supervisor.process.children import (
    AuthorityStart,
    CallRules,
    Child,
    HelperStart,
    LoopStart,
    ProgramStart,
    Sandbox,
)
from tlsrt.supervisor.process.disk_wait import disk_wait_of
from tlsrt.supervisor.process.egress_account import EgressUses
from tlsrt.supervisor.process.exit_reason import ExitReason
from tlsrt.supervisor.process.fork_servers import ForkServers
from tlsrt.supervisor.process.heartbeat_name import made_by_main_thread
from tlsrt.supervisor.process.name_files import write_name_files
from tlsrt.supervisor.process.preload import SERVICES, Preload
from tlsrt.supervisor.process.process_looks import ProcessLooks
from tlsrt.supervisor.process.spawn import reap, spawn
from tlsrt.supervisor.process.uids import Uids, remember

_AUTHORITY_TASKS = 64
_SHOWN_NAMESPACES = ("net", "pid", "mount", "ipc", "uts")


class ChildPrograms:
    """The `Children` of a host: forked by name, confined by the profiles of one configuration."""

    def __init__(
        self, config: Config, code: Code, identity: Uids, groups: ControlGroups | None = None,
        roots: dict[str, PlannedRoot | None] | None = None, profile_files: ProfileFiles | None = None,
        pins: NamePins | None = None, fork_servers: ForkServers | None = None, uses: EgressUses | None = None,
        looks: ProcessLooks | None = None,
    ) -> None:  # fmt: skip
        """Make the profiles. Raises ConfigError and SandboxError for those that cannot be made.

        `code` says what may be imported besides tlsrt and what it needs, as it is measured.
        `groups`, `roots`, `fork_servers`, `uses` and `looks` are those of this life, where these children are made for
        a reload; `profile_files` are the same as before if they have not changed.
        """
        self._profile_files = files = profile_files or ProfileFiles()
        self._config = config
        self.identity = identity
        self.pins = pins or NamePins()
        self.uses = uses or EgressUses()
        self.fork_servers = fork_servers or ForkServers()
        self.files = ConfiguredFiles(config)
        self._importable = code.names
        self._code = code.processes
        own_code = code_roots(config, ())
        self.profiles: dict[str, Profile] = {
            AUTHORITY: profile_for_authority(
                config, identity.uid(AUTHORITY), files, rootless=identity.rootless, code=own_code
            )
        }
        for loop in config.loops:
            uid, components = identity.uid(loop.name), config.components_of(loop.name)
            brings = any(one.is_foreign or one.packages is not None for one in components)
            shown = code_roots(config, components) if brings else own_code
            self.profiles[loop.name] = profile_for_loop(
                config, loop, uid, files, rootless=identity.rootless, code=shown
            )
        helpers = {HELPER: config.needs_helper, NETWORK_HELPER: config.needs_network_helper}
        for name in (name for name, is_needed in helpers.items() if is_needed):
            self.profiles[name] = profile_for_helper(
                config, identity.uid(name), files, rootless=identity.rootless, code=own_code, name=name
            )
        services = {
            RESOLVER: config.needs_resolver,
            METRICS: config.metrics.place is not None,
            EXPORT: bool(config.collectors),
            ACME: config.acme.origin is not None,
            LEARNER: config.needs_learner,
        }
        for name in (name for name, is_needed in services.items() if is_needed):
            self.profiles[name] = profile_for_service(
                config, name, identity.uid(name), files, rootless=identity.rootless, code=own_code
            )
        tasks = {loop.name: settings_of(config, loop)["processes"] for loop in config.loops}
        self._programs = ProgramsOfProcesses(config, code)
        for slot, placed in self._programs.slots.items():
            self.profiles[slot] = profile_for_program(
                config, placed, slot, identity.uid(slot), files, rootless=identity.rootless
            )
            tasks[slot] = placed.program.tasks
        self._limits = {
            name: group_limits(profile, tasks.get(name, _AUTHORITY_TASKS)) for name, profile in self.profiles.items()
        }
        self._sandboxes: dict[str, Sandbox] = {}
        self._own_namespaces = own_namespaces()
        self._has_pid_namespace = "pid_namespace" not in config.sandbox.waive
        self._authority_modules = Preload(child_entries.import_for_sealed)
        # What each living process was built by: it may go on under the profiles of a later configuration.
        self._roots: dict[str, PlannedRoot | None] = roots if roots is not None else {}
        self._looks = looks or ProcessLooks()
        self._groups = groups or ControlGroups(config.state_dir, config.sandbox.waive.get("cgroup"))
        if groups is not None:
            groups.add(self._limits)
            self._put_in_groups()

    # One life

    def claim(self) -> None:
        self._groups.claim(self._limits)
        self._put_in_groups()

    def reserve(self) -> None:
        remember(self._config, self.identity)

    def remove(self, name: str) -> None:
        self._looks.forget(name)
        self._groups.remove(name)

    def release(self) -> None:
        self.fork_servers.stop()
        self._looks.close()
        self._groups.release()

    def preload_common(self) -> None:
        child_entries.preload_common()

    def preload(self) -> None:
        placed = [one for loop in self._config.loops for one in self._config.components_of(loop.name)]
        services = SERVICES.intersection(component.class_path.partition(":")[0] for component in placed)
        child_entries.preload_loops(self._config.channels.engine, sorted(services))
        self.fork_servers.start()

    def preload_authority(self) -> bool:
        return self._authority_modules.step()

    def answering_group(self) -> AnsweringGroup:
        return self._groups.answering()

    def limits(self) -> str:
        return self._groups.sentence()

    def uid(self, name: str) -> int:
        return self.identity.uid(name)

    def _put_in_groups(self) -> None:
        for name, profile in self.profiles.items():
            place = self._groups.place(name)
            self.profiles[name] = profile if place is None else with_group(profile, place)
            self._sandboxes[name] = _sandbox(self._config, self.profiles[name], self._groups.enforced())

    # One process

    def spawn_loop(self, start: LoopStart) -> Child:
        profile, root = self._prepared(start.loop)
        body = partial(child_entries.run_loop, start, profile, root, self._importable, self._code_of(start.loop))
        return self._spawn(start.loop, body, start.descriptors)

    def spawn_authority(self, start: AuthorityStart) -> Child:
        profile, root = self._prepared(AUTHORITY)
        self._groups.expect(AUTHORITY)  # forked by us: its code is imported here, and in no fork server
        return self._fork(
            AUTHORITY, partial(child_entries.run_authority, start, profile, root, self._code_of(AUTHORITY))
        )

    def spawn_helper(self, start: HelperStart) -> Child:
        profile, root = self._prepared(start.name)
        return self._spawn_service(start.name, start, profile, root)

    def spawn_resolver(self, start: HelperStart) -> Child:
        profile, root = self._prepared(RESOLVER)
        return self._spawn_service(RESOLVER, start, profile, root)

    def _spawn_service(self, name: str, start: HelperStart, profile: Profile, root: PlannedRoot | None) -> Child:
        body = partial(child_entries.run_service, start, name, profile, root, self._code_of(name))
        return self._spawn(name, body, start.descriptors)

    def changed_code(self, name: str) -> CodeChange | None:
        return self._code_of(name).change()

    def _code_of(self, name: str) -> ProcessCode:
        return self._code.get(name) or self._code.get("") or ProcessCode()

    def programs_of(self, process: str) -> Sequence[PlacedProgram]:
        return self._programs.of(process)

    def proxies_of(self, process: str) -> Sequence[PlacedProgram]:
        return self._programs.proxies_of(process)

    def spawn_program(self, start: ProgramStart) -> Child:
        profile, root = self._prepared(start.slot)
        execution = self._programs.execution(start.slot)
        return self._spawn(start.slot, partial(run_program, start, profile, root, execution), start.descriptors)

    def _prepared(self, name: str) -> tuple[Profile, PlannedRoot | None]:
        self._groups.limit(name, self._limits[name])  # those of the process before may have been others
        write_name_files(self.profiles[name], self.pins)
        root = self._roots[name] = _planned(self.profiles[name])
        return self.profiles[name], root

    def _spawn(self, name: str, body: Callable[[], int], descriptors: Sequence[int]) -> Child:
        self._groups.expect(name)
        group = self._groups.descriptor(name)
        child = self.fork_servers.spawn(body, descriptors, own_pid_namespace=self._has_pid_namespace, group=group)
        return child or self._fork(name, body)

    def _fork(self, name: str, body: Callable[[], int]) -> Child:
        return spawn(body, own_pid_namespace=self._has_pid_namespace, group=self._groups.descriptor(name))

    def reap(self, child: Child) -> ExitReason | None:
        return reap(child)

    def freeze(self, name: str) -> None:
        self._groups.freeze(name)

    def clear(self, name: str) -> bool:
        self._looks.forget(name)
        return self._groups.clear(name)

    def oom_kills(self, name: str) -> int:
        return self._groups.oom_kills(name)

    # Its sandbox

    def sandbox(self, name: str) -> Sandbox:
        return self._sandboxes[name]

    def call_rules(self, name: str) -> CallRules | None:
        rules = call_rules_of(self.profiles[name], self.pins)
        if rules is None or not (rules.egress or rules.names):
            return rules
        placed = self._programs.slots.get(name)
        owner = name if placed is None else f"{placed.component.process}/{placed.program.name}"
        return replace(rules, account=self.uses.of(owner))

    def attest(self, name: str, pid: int) -> list[str]:
        self._groups.attested(name, pid)
        return self._looks.differences(name, pid, self.profiles[name], self._own_namespaces, self._roots.get(name))

    def made_beat(self, name: str, pid: int, number: int, last: int) -> bool:
        look = self._looks.of(name, pid)
        return made_by_main_thread(pid, number, last, look.comm if look is not None else None)

    def has_slept(self, name: str, pid: int) -> bool:
        return self._looks.has_slept(name, pid)

    def epoll_set(self, name: str, pid: int) -> int | None:
        return self._looks.epoll_set(name, pid)

    def disk_wait(self, name: str, pid: int) -> str:
        return disk_wait_of(pid)

    def limit_usage(self, name: str, pid: int) -> LimitUsage:
        most = self.profiles[name].limits.get("nofile", 0)
        look = self._looks.of(name, pid)
        known = look.descriptors if look is not None else None
        return LimitUsage(open_descriptors(pid) if known is None else known, most, *self._groups.refused(name))

    def tighten(self, name: str, pid: int, limits: Mapping[str, int]) -> list[str]:
        problem = self._groups.limit(name, self._limits[name])
        profile = self.profiles[name]
        found = tighten(pid, limits, uid=profile.uid, gid=profile.gid) if limits else []
        return [*found, problem] if problem else found

    # A reload

    def renewed(self, config: Config, code: Code) -> ChildPrograms:
        identity = self.identity.extended(config)
        return ChildPrograms(
            config, code, identity, self._groups, self._roots, self._profile_files.renewed(), self.pins,
            self.fork_servers, self.uses, self._looks,
        )  # fmt: skip


def _planned(profile: Profile) -> PlannedRoot | None:
    try:
        return planned_root(profile)
    except SandboxError:
        if profile.expects("mount_namespace"):
            raise
        return None  # the child will find the same, and go on without


def check_code(config: Config, code: Code, identity: Uids) -> list[str]:
    """Return the sentences about code that a loop could change or could not read; none in rootless mode.

    A loop has read-only mounts, but a uid that owns code, or may write it, is one mistake away from changing it.
    """
    if identity.rootless:
        return []
    roots = [package_folder(), *(root.path for root in component_roots(config.components))]
    unreadable = once("unreadable", lambda: unreadable_for_others(roots))
    writable = once("writable", lambda: writable_by(measured_paths(code), identity.all_uids()))
    return [*unreadable, *(f"{path} can be changed by the uid of a loop: chown it to root" for path in writable)]


def call_rules_of(profile: Profile, pins: NamePins) -> CallRules | None:
    """Return what becomes of the calls that a process with this profile reports; None if it reports none."""
    if not profile.is_watched:
        return None
    policy = profile.policy
    channel = next((host for host, inside in profile.write if inside == "/channel"), None)
    uid = None if profile.rootless or not profile.expects("uid") else profile.uid
    return CallRules(
        policy.named("kill"),
        policy.named("broker"),
        profile.egress,
        channel,
        frozenset(profile.sockets),
        uid,
        profile.names,
        pins,
        {path: Path(proxy) for path, proxy in profile.buses},
    )


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
