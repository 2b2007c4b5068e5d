"""Which files a confined process sees, and what it may do with them. By the root that is planned for it, the Landlock
rules that it gets, and the modes of the host's files. Reads the host's links and modes, changes nothing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from tlsrt.sandbox.apply.landlock import MAKE_REG, READ_DIR, READ_FILE, WRITE_FILE
from tlsrt.sandbox.apply.layers import landlock_rules
from tlsrt.sandbox.apply.root_filesystem import CANARY, SCRATCH, SECRETS, plan_of, read_link, resolve
from tlsrt.sandbox.profile.fragment import NULL, SPOKEN
from tlsrt.sandbox.profile.profile import ALL_LAYERS, Profile

_OF_PROCESSES = re.compile(r"/proc/(self|thread-self|\d+)(/|$)")  # in there others than on the host, and their own
ROOT, LANDLOCK, LANDLOCK_SEALED, MODES = "mount_namespace", "landlock", "landlock_sealed", "file modes"


@dataclass(frozen=True, slots=True)
class Access:
    """Whether a path may be opened, and what refuses it: a layer and a sentence.

    `holder` is the path of the profile that shows it, `real` where its links lead.
    """

    is_allowed: bool
    real: str
    holder: str = ""
    layer: str = ""
    reason: str = ""


class VisibleFiles:
    """The files of one process, before the seal or after it."""

    def __init__(self, profile: Profile, *, sealed: bool) -> None:
        self._profile = profile
        self._sealed = sealed
        self._has_root = profile.expects(ROOT)
        plan = plan_of(profile)
        self._links, self._binds, self._hidden = dict(plan.links), plan.binds, plan.hidden
        self._write = {inside: os.fspath(host) for host, inside in profile.write}
        mounts = [name for name, wanted in (("/proc", profile.proc), ("/sys", profile.sys)) if wanted]
        made = [path for path, _ in profile.files] + ([SECRETS] if profile.secrets else [])
        spoken = SPOKEN if profile.speaks_by_name else ()
        self._open_ended = (NULL, *spoken)
        if profile.scratch_mb:
            self._write[SCRATCH] = SCRATCH
        self._shown = (*self._binds, *self._write, *mounts, *made, *self._open_ended, CANARY)
        applied = [layer for layer in ALL_LAYERS if profile.expects(layer)]
        rules = landlock_rules(profile, applied, sealed=sealed)
        self._rules = [(self._resolve(path), rights) for path, rights in rules.paths]

    def access(self, path: str, *, write: bool) -> Access:
        """Return whether an absolute path may be opened. Raises SandboxError for a circle of links."""
        real = self._resolve(path)
        holder = _holder(real, self._shown) or ""
        if self._has_root:
            if (missing := self._missing(real, holder)) is not None:
                return Access(False, real, holder, ROOT, missing)
            if write and real not in self._open_ended and _holder(real, self._write) is None:
                return Access(False, real, holder, ROOT, "everything there is read-only")
        if self._profile.expects(LANDLOCK_SEALED if self._sealed else LANDLOCK):
            wanted = self._right(real, write=write)
            if not any(rights & wanted and _holds(place, real) for place, rights in self._rules):
                return Access(False, real, holder, LANDLOCK_SEALED if self._sealed else LANDLOCK, self._unlisted(real))
        refused = self._refused_by_modes(real, holder, write=write)
        return Access(False, real, holder, MODES, refused) if refused else Access(True, real, holder)

    def host(self, real: str) -> str:
        """Return the host's path of what the process finds at a path without links."""
        inside = _holder(real, self._write) if self._has_root else None
        return real if inside is None else self._write[inside] + real[len(inside) :]

    def _resolve(self, path: str) -> str:
        return (resolve(path, self._link) or "/") if self._has_root else os.path.realpath(path)

    def _link(self, step: str) -> str | None:
        """Return the text of a link as the process finds it, in its root or inside what is bound."""
        bound = _holder(step, self._binds) is not None
        return read_link(step) if bound else self._links.get(step)

    def _missing(self, real: str, holder: str) -> str | None:
        """Return why a path is not there; None if it is, as far as we can see."""
        if not holder:
            is_passage = any(_holds(real, one) for one in (*self._shown, *self._links))
            return None if is_passage else "it is not there: no line shows it"
        if _holder(real, self._hidden) not in (None, real):
            return "no package of the base interpreter is shown"
        if holder in self._binds and not os.path.lexists(real):
            return "there is no such file on this host"
        return None

    def _right(self, real: str, *, write: bool) -> int:
        is_folder = os.path.isdir(self.host(real))
        if write:
            return MAKE_REG if is_folder else WRITE_FILE
        return READ_DIR if is_folder else READ_FILE

    def _unlisted(self, real: str) -> str:
        is_code = self._sealed and _holder(real, map(os.fspath, self._profile.read)) is not None
        return "code can be read until the seal only" if is_code else "no rule lets it"

    def _refused_by_modes(self, real: str, holder: str, *, write: bool) -> str:
        """Return what the modes of the host's files refuse, as far as we may look at them."""
        if not (self._profile.expects("uid") or self._profile.rootless) or _OF_PROCESSES.match(real):
            return ""
        if self._has_root and not holder:
            return ""  # a folder of the root itself, which anyone may pass and list
        inside = [real]
        while holder and inside[-1] != holder:
            inside.append(os.path.dirname(inside[-1]))
        for place in inside:
            bit = (stat.S_IWOTH if write else stat.S_IROTH) if place == real else stat.S_IXOTH
            try:
                status = os.stat(self.host(place))
            except OSError:
                continue
            if not _may(status, bit, self._profile):
                verb = {stat.S_IWOTH: "write", stat.S_IROTH: "read", stat.S_IXOTH: "pass"}[bit]
                return f"uid {self._profile.uid} may not {verb} {place}"
        return ""


def _may(status: os.stat_result, other: int, profile: Profile) -> bool:
    if profile.uid == status.st_uid:
        return bool(status.st_mode & other << 6)
    return bool(status.st_mode & (other << 3 if profile.gid == status.st_gid else other))


def _holds(folder: str, path: str) -> bool:
    return folder in ("/", path) or path.startswith(f"{folder}/")


def _holder(path: str, folders: Iterable[str]) -> str | None:
    """Return the longest of the folders that is the path or holds it."""
    return max((one for one in folders if _holds(one, path)), key=len, default=None)
