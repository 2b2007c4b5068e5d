"""`sandbox check`: a profile like Primary's, the most demanding one, is tried on this host, in a folder of its own.

It runs where the supervisor would run, in the namespaces that the launcher makes, with the same rights; so what holds
here holds for a start by the same user.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tlsrt.config.components import LoopConfig
from tlsrt.config.defaults import COMPONENTS, PROCESSES
from tlsrt.config.door import DoorConfig
from tlsrt.config.packages import code_roots
from tlsrt.config.schema import Config, KeySource, SandboxConfig
from tlsrt.errors import ConfigError
from tlsrt.sandbox.profile.compose import profile_for_loop
from tlsrt.sandbox.profile.profile import ALL_LAYERS, ATTESTATION, Profile, group_limits, with_group
from tlsrt.sandbox.profile.profile_files import ProfileFiles
from tlsrt.sandbox.report.doctor import CODE, ProbeChild, Trial, examine
from tlsrt.sandbox.report.host_features import features
from tlsrt.sandbox.report.waivers import VOIDS, remedy
from tlsrt.sandbox.verify.attest import own_namespaces
from tlsrt.supervisor.process.cgroups import ControlGroups
from tlsrt.supervisor.process.spawn import spawn
from tlsrt.supervisor.process.uids import Uids, other_uid_base, own_identity
from tlsrt.text import table

LOOP = "primary"
ENFORCED, CANNOT, WAIVED, GIVEN_UP = "enforced", "cannot", "waived", "given up"


@dataclass(frozen=True, slots=True)
class LayerResult:
    """One layer: whether it holds here, why not, what that voids, and what to do about it."""

    name: str
    state: str
    reason: str = ""
    voids: str = ""
    remedy: str = ""
    fatal: bool = False  # a process that tries it is killed, so that no waiver helps


@dataclass(frozen=True, slots=True)
class HostCheck:
    """The whole answer. `needless` are waivers of layers that this host can give."""

    uid: int
    rootless: bool
    layers: tuple[LayerResult, ...]
    needless: tuple[str, ...]
    features: dict[str, str]
    limits: str

    @property
    def missing(self) -> list[LayerResult]:
        """Return what this host cannot give, waived or not."""
        return [finding for finding in self.layers if finding.state in (CANNOT, WAIVED)]

    def document(self) -> dict[str, object]:
        """Return it as plain values for json.dumps."""
        return {**asdict(self), "missing": [finding.name for finding in self.missing]}


def check_host(config: Config | None, no_pid_namespace: str | None) -> HostCheck:
    """Try every layer here and now; `no_pid_namespace` is the launcher's reason, if it could not make one."""
    waived = dict(config.sandbox.waive) if config is not None else {}
    folder = Path(tempfile.mkdtemp(prefix="tlsrt.check."))
    try:
        moved = _in_folder(config, folder)
        identity = own_identity(moved)
        failed = {} if no_pid_namespace is None else {"pid_namespace": no_pid_namespace}
        groups = ControlGroups(folder, None)
        trial = _tried(moved, identity, groups, folder, failed)
        limits = groups.sentence()
        groups.release()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = tuple(_finding(name, trial, waived, identity) for name in (*ALL_LAYERS, ATTESTATION, CODE))
    held = [row.name for row in rows if row.state == ENFORCED]
    return HostCheck(
        uid=os.geteuid(),
        rootless=identity.rootless,
        layers=rows,
        needless=tuple(name for name in waived if name in held),
        features=features(),
        limits=limits,
    )


def _in_folder(config: Config | None, folder: Path) -> Config:
    """Return a configuration that writes below `folder` only and waives nothing."""
    folder.chmod(0o711)
    base = config or Config(
        path=folder / "tlsrt.yaml",
        install_id=bytes(16),
        master_key=KeySource("file", folder / "master.key"),
        boot_token=folder / "boot.token",
        measure="strict",
        state_dir=folder / "state",
        run_dir=folder / "run",
        log_dir=folder / "log",
        door=DoorConfig("127.0.0.1", 0, folder / "server.crt", folder / "server.key", folder / "ca.crt"),
        loops=tuple(LoopConfig(name) for name in PROCESSES),
        components=COMPONENTS,
        policy=(),
        clients=(),
    )
    uid_base = base.sandbox.uid_base
    if config is None:
        uid_base = other_uid_base() or uid_base
    kept = SandboxConfig(uid_base=uid_base)
    return replace(
        base,
        path=folder / "tlsrt.yaml",
        state_dir=folder / "state",
        run_dir=folder / "run",
        log_dir=folder / "log",
        sandbox=kept,
    )


def _tried(config: Config, identity: Uids, groups: ControlGroups, folder: Path, failed: dict[str, str]) -> Trial:
    uid = identity.uid(LOOP)
    profile = profile_for_loop(
        config,
        config.loop(LOOP),
        uid,
        ProfileFiles(),
        rootless=identity.rootless,
        code=code_roots(config, config.components_of(LOOP)),
    )
    profile = replace(profile, sys=True)  # which Primary does not see, but others do
    for host, _ in profile.write:
        if reason := _made(host, uid, is_own=uid == os.geteuid()):
            failed["uid"] = reason
    groups.claim({LOOP: group_limits(profile, 64)})
    place = groups.place(LOOP)
    if place is None:
        failed["cgroup"] = groups.reason
    else:
        profile = with_group(profile, place)

    def fork(body: Callable[[], int], own_pid_namespace: bool) -> ProbeChild:
        return spawn(body, own_pid_namespace=own_pid_namespace, group=groups.descriptor(LOOP))

    return examine(_usable(profile, failed), fork, own_namespaces(), failed)


def _made(folder: Path, uid: int, *, is_own: bool) -> str:
    """Make a writable folder of the loop; return the reason if its uid cannot have one."""
    folder.mkdir(parents=True, exist_ok=True)
    for parent in folder.parents[:1]:
        parent.chmod(0o711)
    try:
        if not is_own:
            os.chown(folder, uid, uid)
        folder.chmod(0o700)
    except OSError as error:
        return f"cannot give uid {uid} a folder: {error.strerror}"
    return ""


def _usable(profile: Profile, failed: dict[str, str]) -> Profile:
    """Where no own uid can be had, the rest is tried with the supervisor's."""
    if "uid" not in failed:
        return profile
    return replace(profile, uid=os.geteuid(), gid=os.getegid(), rootless=True)


def _finding(name: str, trial: Trial, waived: dict[str, str], identity: Uids) -> LayerResult:
    if name in trial.failed:
        state = WAIVED if name in waived else CANNOT
        words = remedy(name, is_root=os.geteuid() == 0 and not identity.rootless)
        if name == CODE:
            words = "make it readable for others (chmod -R go+rX), or install tlsrt below /opt"
        return LayerResult(name, state, trial.failed[name], VOIDS.get(name, ""), words, name in trial.fatal)
    if name in trial.held:
        return LayerResult(name, ENFORCED)
    return LayerResult(name, GIVEN_UP, "without root there is only one uid", VOIDS.get(name, ""), "start as root")


def needless_waivers(config: Config, no_pid_namespace: str | None) -> list[str]:
    """Return a sentence for each waiver of a layer that this host can give; quick where nothing is waived."""
    if not config.sandbox.waive:
        return []
    try:
        found = check_host(config, no_pid_namespace)
    except (OSError, ConfigError) as error:
        return [f"cannot check whether the waivers are still needed: {error}"]
    return [f"sandbox layer {name} is waived, but this host can give it: remove the waiver" for name in found.needless]


def report(found: HostCheck) -> list[str]:
    """Return the lines for people."""
    lines = [f"as uid {found.uid}{', without root' if found.rootless else ''}:"]
    layers = [(row.name, f"{row.state}  {_remark(row, found.needless)}") for row in found.layers]
    rows = table([*layers, *found.features.items(), ("limits", found.limits)])
    lines += [f"  {row}" for row in rows[: len(layers)]]
    lines += ["", *(f"  {row}" for row in rows[len(layers) :]), ""]
    for row in found.missing:
        advice = f" To have it: {row.remedy}." if row.remedy else ""
        lines.append(f"without {row.name}: {row.voids or row.reason}.{advice}")
    if not found.missing:
        lines.append("every layer can be enforced: nothing to do")
    elif any(row.state == CANNOT and row.name not in (CODE, "cgroup") for row in found.missing):
        lines.append(
            "a start refuses until these are there, or are waived in sandbox.waive (`init` writes the waivers)"
        )
    return lines


def _remark(row: LayerResult, needless: Collection[str]) -> str:
    return "waived, but this host can give it: remove the waiver" if row.name in needless else row.reason
