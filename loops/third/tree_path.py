"""Paths of files in trees, as callers write them: `TREE/FOLDER/NAME`. Pure.

No path leads anywhere by its text: `..`, `.`, empty names, control characters and names that the trees keep for
themselves are refused. What links could do is the business of who opens it.
"""

from __future__ import annotations

from typing import NamedTuple

from tlsrt import InvalidArgument

NAME_BYTES = 255  # NAME_MAX, limits.h
PATH_CHARACTERS = 1024
DEPTH = 32
OWN = ".tlsrt-"  # names that begin so are the trees' own: unfinished uploads


class TreePath(NamedTuple):
    """A tree by its name, and the names below it."""

    tree: str
    names: tuple[str, ...]

    @property
    def inside(self) -> str:
        """The path below the tree."""
        return "/".join(self.names)


def parse_path_untrusted(path: str) -> TreePath:
    """Return the path that a caller means. Raises InvalidArgument, and nothing else, for what is none."""
    if len(path) > PATH_CHARACTERS:
        raise InvalidArgument(f"path: longer than {PATH_CHARACTERS} characters")
    tree, *names = path.split("/")
    if not tree:
        raise InvalidArgument("path: expected TREE/FOLDER/NAME, without a slash in front; `list` shows the trees")
    if len(names) > DEPTH:
        raise InvalidArgument(f"path: more than {DEPTH} folders deep")
    for name in names:
        if why := why_no_name(name):
            raise InvalidArgument(f"path: a name in it {why}")
    return TreePath(tree, tuple(names))


def why_no_name(name: str) -> str:
    """Return why a name cannot be that of a file or folder here, "" if it can."""
    if name == "":
        return "is empty: write one slash between names, and none at the end"
    if name in (".", ".."):
        return f"is {name}, which leads elsewhere"
    if name.startswith(OWN):
        return f"begins with {OWN}, which is not for files"
    if "/" in name or any(ord(character) < 32 or ord(character) == 127 for character in name):
        return "has a control character or a slash"
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return f"is longer than {NAME_BYTES} bytes" if length > NAME_BYTES else ""
