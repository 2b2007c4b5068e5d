"""Permissions of the code that loops run: which files they could write, or cannot read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Container, Iterable
from pathlib import Path

from tlsrt.config.files import as_config_error

MAX_SENTENCES = 10
_CACHE = ("__pycache__",)  # Python does without


def writable_by(paths: Iterable[Path], uids: Container[int]) -> list[str]:
    """Return the files and folders at, below and around `paths` that these ids could write."""
    found: dict[str, None] = {}
    for path in paths:
        with as_config_error("check", path):
            above = [str(folder) for folder in path.parents if _writable(os.stat(folder), uids)]
            below = _below(str(path), (), lambda status: _writable(status, uids))
            found |= dict.fromkeys([*above, *(name for name, _ in below)])
    return list(found)


def unreadable_for_others(roots: Iterable[Path]) -> list[str]:
    """Return a sentence for each file or folder in `roots` that only its owner or group can read.

    The folders above do not matter: a root is bound into the loop's own tree. What lies in a folder that is named is
    not named again. At most 10 sentences.
    """
    found: list[str] = []
    for root in roots:
        with as_config_error("check", root):
            below = _below(str(root), _CACHE, lambda status: not _readable(status), _readable)
            found += [_sentence(name, status) for name, status in below]
    if len(found) > MAX_SENTENCES:
        found[MAX_SENTENCES:] = [f"and {len(found) - MAX_SENTENCES} more files or folders like these"]
    return found


def impassable_for_others(paths: Iterable[Path]) -> list[str]:
    """Return a sentence for each folder above `paths` that only its owner or group can pass."""
    above = dict.fromkeys(parent for path in paths for parent in reversed(Path(os.path.abspath(path)).parents))
    found: list[str] = []
    for folder in above:
        with as_config_error("check", folder):
            if not os.stat(folder).st_mode & stat.S_IXOTH:
                found.append(
                    f"no loop can pass {folder}, and without the layer mount_namespace it must: "
                    f"run `chmod o+x {folder}`, or put state_dir and run_dir elsewhere"
                )
    return found


def _below(
    path: str, without: Container[str], wanted: Callable[[os.stat_result], bool],
    enter: Callable[[os.stat_result], bool] = lambda _: True,
) -> list[tuple[str, os.stat_result]]:  # fmt: skip
    """Return what is wanted of a path and of all that is below it, each folder before what is in it."""
    status = os.stat(path)
    found = [(path, status)] if wanted(status) else []
    if stat.S_ISDIR(status.st_mode) and enter(status):
        found += _inside(path, without, wanted, enter)
    return found


def _inside(
    path: str, without: Container[str], wanted: Callable[[os.stat_result], bool],
    enter: Callable[[os.stat_result], bool],
) -> list[tuple[str, os.stat_result]]:  # fmt: skip
    found: list[tuple[str, os.stat_result]] = []
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # from it a look is one step for the kernel
    try:
        with os.scandir(descriptor) as entries:
            inside = [
                (entry.name, entry.stat())
                for entry in entries
                if entry.name not in without and not (entry.is_symlink() and _leads_away(path, entry.name))
            ]
    finally:
        os.close(descriptor)
    for name, status in sorted(inside):
        if wanted(status):
            found.append((f"{path}/{name}", status))
        if stat.S_ISDIR(status.st_mode) and enter(status):
            found += _inside(f"{path}/{name}", without, wanted, enter)
    return found


def _leads_away(folder: str, link: str) -> bool:
    """Tell whether a link leads to nowhere, or to a folder, which is a root of its own."""
    return not os.path.isfile(f"{folder}/{link}")


def _writable(status: os.stat_result, uids: Container[int]) -> bool:
    if status.st_uid in uids:
        return True
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
        return False  # as in /tmp: others may add, but not replace what is there
    return bool(status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid in uids))


def _readable(status: os.stat_result) -> bool:
    wanted = stat.S_IROTH | stat.S_IXOTH if stat.S_ISDIR(status.st_mode) else stat.S_IROTH
    return status.st_mode & wanted == wanted


def _sentence(name: str, status: os.stat_result) -> str:
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return f"the folder of code {name} has mode {mode:04o}, so a loop cannot read it: run `chmod -R go+rX {name}`"
    return f"the file of code {name} has mode {mode:04o}, so a loop cannot read it: run `chmod go+r {name}`"
