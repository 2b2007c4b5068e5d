"""The minimal read-only root of one process, built from detached copies of mounts.

Every folder that the profile names is opened first, as a detached copy that is already read-only, so nothing is ever
visible with more rights than it ends with. Then an empty tmpfs takes them at their usual paths, with parents that
anyone may pass (so an interpreter below a 0700 home works for a foreign uid) and with the host's symbolic links
(/lib -> usr/lib) reproduced. pivot_root makes it the root, the old one is detached, and the tmpfs becomes read-only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tlsrt.errors import SandboxError
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.profile.compose import HOSTS_FILES
from tlsrt.sandbox.profile.fragment import SPOKEN
from tlsrt.sandbox.profile.profile import Profile

# Any folder that is always there: only this mount namespace sees what happens on it, and only until the pivot.
STAGE = "/proc"
_TMPFS_OPTIONS = "size=256k,nr_inodes=4k,mode=755"
# A file that no program has a reason to open, in every root: it looks like a key and is 32 random bytes.
CANARY = "/etc/tlsrt/master.key.bak"
CANARY_BYTES = 32
TEMPORARY = ".tmp"  # in the state of a process
SCRATCH = "/tmp"  # noqa: S108  # of a program's own root, not the host's
SECRETS = "/secrets"  # of a program: files that its launcher fills, and nothing changes afterwards
_EMPTY = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
_MAX_LINKS = 40  # as the kernel's own limit, path_resolution(7)

_READ = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_DATA = _READ | syscalls.MOUNT_ATTR_NOEXEC
RANDOM = "/dev/urandom"  # a device that can be opened, as /dev/null; no other one of a path to read can
_DEVICE = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC
_WRITE = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC


@dataclass(frozen=True, slots=True)
class RootPlan:
    """What to create. Links as (path, text), and real paths to bind, parents first, none below another.

    `hidden` are real folders below those, which are empty inside.
    """

    links: tuple[tuple[str, str], ...]
    binds: tuple[str, ...]
    hidden: tuple[str, ...] = ()


def _covers(folders: set[str], path: str) -> bool:
    """Say whether `path` is one of the folders or below one. Plain strings, since this runs in every start."""
    while path:
        if path in folders:
            return True
        path = path.rpartition("/")[0]
    return False


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _walk(path: str, readlink: Callable[[str], str | None], links: dict[str, str], plain: set[str]) -> str:
    """Resolve `path`, noting every symbolic link on the way. The kernel's own algorithm, path_resolution(7).

    `plain` remembers what is no link, for the next path.
    """
    rest = _parts(path)
    at = ""
    followed = 0
    while rest:
        part = rest.pop(0)
        if part == "..":
            at = at.rpartition("/")[0]
            continue
        step = f"{at}/{part}"
        text = None if step in plain else links.get(step) or readlink(step)
        if text is None:
            plain.add(step)
            at = step
            continue
        followed += 1
        if followed > _MAX_LINKS:
            raise SandboxError("mount_namespace", f"{path}: too many symbolic links")
        links[step] = text
        rest = _parts(text) + rest
        at = "" if text.startswith("/") else at
    return at


def resolve(path: str, readlink: Callable[[str], str | None]) -> str:
    """Return where the links of an absolute path lead, "" for the root. Raises SandboxError for a circle of links."""
    return _walk(path, readlink, {}, set())


def plan_root(paths: Iterable[str], readlink: Callable[[str], str | None]) -> RootPlan:
    """Return the links and binds that make every path work inside as it does outside.

    `readlink` returns a link's text, or None for what is no link. Links inside a bound folder come with it. Raises
    SandboxError for a circle of links, and for a path that is the whole host.
    """
    links: dict[str, str] = {}
    plain: set[str] = set()
    binds: list[str] = []
    folders: set[str] = set()
    for real in sorted({_walk(path, readlink, links, plain) for path in paths}):  # a parent sorts before its children
        if not real:
            raise SandboxError("mount_namespace", "a profile cannot hold the whole root of the host")
        if not _covers(folders, real):
            binds.append(real)
            folders.add(real)
    outside = [(path, text) for path, text in links.items() if not _covers(folders, path)]
    return RootPlan(tuple(sorted(outside)), tuple(binds))


def plan_of(profile: Profile) -> RootPlan:
    """Return the plan of a profile, by the host as it is now. Raises SandboxError as `plan_root` does."""
    plan = plan_root([str(path) for path in profile.read], read_link)
    shown = set(plan.binds)
    hidden = tuple(sorted({str(path) for path in profile.hidden if path.is_dir() and _covers(shown, str(path))}))
    plan = RootPlan(plan.links, plan.binds, hidden)
    if profile.hosts is None:
        return plan
    own = {path: f"{os.path.realpath(profile.hosts)}/{os.path.basename(path)}" for path in HOSTS_FILES}
    return RootPlan(tuple(sorted({**dict(plan.links), **own}.items())), plan.binds, hidden)


def read_link(path: str) -> str | None:
    """Return the text of a symbolic link, or None if `path` is none."""
    try:
        return os.readlink(path)
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class _Tree:
    descriptor: int
    target: str
    is_folder: bool


def _open(source: str, target: str, attributes: int, *, recursive: bool = True) -> _Tree:
    try:
        descriptor = syscalls.open_tree(source, recursive=recursive)
        syscalls.mount_setattr(descriptor, attributes, recursive=recursive)
        return _Tree(descriptor, target, os.path.isdir(source))
    except OSError as error:
        raise SandboxError("mount_namespace", f"cannot bind {source}: {error.strerror}") from error


def _open_sys() -> _Tree:
    """Take /sys without what is mounted below it (debugfs, cgroups). In a user namespace one must take all."""
    try:
        return _open("/sys", "/sys", _DATA, recursive=False)
    except SandboxError:
        return _open("/sys", "/sys", _DATA)


def _open_all(profile: Profile, plan: RootPlan) -> list[_Tree]:
    trees = [_open(path, path, _DEVICE if path == RANDOM else _READ) for path in plan.binds]
    if profile.sys:
        trees.append(_open_sys())
    trees.append(_open("/dev/null", "/dev/null", _DEVICE))
    trees += [_open(str(host), inside, _WRITE) for host, inside in profile.write]
    return trees


def _place(tree: _Tree) -> None:
    target = STAGE + tree.target
    if tree.is_folder:
        os.makedirs(target, 0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    syscalls.move_mount(tree.descriptor, target)
    os.close(tree.descriptor)


def _fill(profile: Profile, plan: RootPlan, trees: Iterable[_Tree]) -> None:
    if profile.scratch_mb:  # before the trees, some of which may lie in it
        os.mkdir(STAGE + SCRATCH, 0o755)
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        options = f"size={profile.scratch_mb}m,nr_inodes=64k,mode=700,uid={profile.uid},gid={profile.gid}"
        syscalls.mount("tmpfs", STAGE + SCRATCH, "tmpfs", flags, options)
    for path, text in plan.links:
        os.makedirs(os.path.dirname(STAGE + path), 0o755, exist_ok=True)
        os.symlink(text, STAGE + path)
    for tree in trees:
        _place(tree)
    for path in plan.hidden:
        syscalls.mount("tmpfs", STAGE + path, "tmpfs", syscalls.MS_RDONLY | _EMPTY, "size=4k,nr_inodes=2,mode=555")
    if profile.proc:
        os.mkdir(STAGE + "/proc", 0o755)
        flags = syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("proc", STAGE + "/proc", "proc", flags)


def _make_spoken(profile: Profile) -> None:
    for path in SPOKEN:
        os.mkfifo(STAGE + path, 0o600)
        os.chown(STAGE + path, profile.uid if not profile.rootless else -1, -1)


def _make_secrets(profile: Profile) -> None:
    """Make an empty file for each secret, in memory that is not swapped where the kernel can (Linux 6.4)."""
    os.mkdir(STAGE + SECRETS, 0o755)
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    options = f"size=256k,nr_inodes=64,mode=500,uid={profile.uid},gid={profile.gid}"
    try:
        syscalls.mount("tmpfs", STAGE + SECRETS, "tmpfs", flags, f"{options},noswap")
    except OSError:
        syscalls.mount("tmpfs", STAGE + SECRETS, "tmpfs", flags, options)
    for name in profile.secrets:
        path = f"{STAGE}{SECRETS}/{name}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400))
        os.chown(path, profile.uid if not profile.rootless else -1, -1)


def _link_temporary(profile: Profile) -> None:
    """Let /tmp be a folder in the state of a loop, where nothing of the profile's lies there."""
    if {"/state", "/channel"} <= {inside for _, inside in profile.write} and not os.path.lexists(STAGE + SCRATCH):
        os.symlink(f"/state/{TEMPORARY}", STAGE + SCRATCH)


def _plant_canary() -> None:
    """Put the canary into the root itself, if nothing of the profile's lies in its way."""
    try:
        os.makedirs(os.path.dirname(STAGE + CANARY), 0o755, exist_ok=True)
        descriptor = os.open(STAGE + CANARY, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
    except OSError:
        return  # the supervisor will not find it, and says so
    os.write(descriptor, os.urandom(CANARY_BYTES))
    os.close(descriptor)


def _make_files(profile: Profile) -> None:
    """Make the files of a profile in the new root, where no link leads to the host. Raises SandboxError."""
    for path, text in profile.files:
        try:
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(path, flags, 0o444), "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise SandboxError("mount_namespace", f"cannot make the file {path}: {error.strerror}") from error


def _pivot(profile: Profile) -> None:
    os.chdir(STAGE)
    syscalls.pivot_root(".", ".")  # the old root lies on top of the new one, where "." still is
    syscalls.umount2(".", syscalls.MNT_DETACH)
    os.chdir("/")
    _make_files(profile)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.mount_setattr(root, _DATA, recursive=False)
    os.close(root)


def build_root(profile: Profile, plan: RootPlan | None = None) -> None:
    """Leave the host's mounts for those that the profile names, planned before or now.

    Raises OSError or SandboxError; then the process is in a namespace of its own that still shows the host's files.
    """
    plan = plan or plan_of(profile)
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    trees = _open_all(profile, plan)
    umask = os.umask(0o022)
    syscalls.mount("tmpfs", STAGE, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, _TMPFS_OPTIONS)
    try:
        _fill(profile, plan, trees)
        if profile.speaks_by_name:
            _make_spoken(profile)
        if profile.secrets:
            _make_secrets(profile)
        _link_temporary(profile)
        _plant_canary()
        _pivot(profile)
    except OSError:
        _uncover()
        raise
    finally:
        os.umask(umask)


def _uncover() -> None:
    """Take a half-built root away again, so that a process with this layer waived can go on."""
    try:
        os.chdir("/")
        syscalls.umount2(STAGE, syscalls.MNT_DETACH)
    except OSError:
        return
