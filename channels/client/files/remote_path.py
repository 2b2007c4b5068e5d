"""Where a file is at the host: a component and a name, written `LOOP/COMPONENT/NAME`. Pure.

A component with folders, as `third/files`, has names such as `TREE/FOLDER/NAME`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tlsrt.errors import InvalidArgument

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,126}")
_WANTED = "letters, digits, dot, dash and underscore, not starting with a dot or dash, at most 127"


class RemotePath(NamedTuple):
    """A file of a component."""

    target: str
    name: str

    @property
    def own_name(self) -> str:
        """The name without its folders."""
        return self.name.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.target}/{self.name}"


def parse_place(text: str, own_name: str = "") -> RemotePath:
    """Return the place that is meant by `LOOP/COMPONENT/NAME`, or by `LOOP/COMPONENT` for a file of that own name.

    InvalidArgument says what is wrong. No name leads anywhere: of what is written with folders, each part is a name.
    """
    loop, _, rest = text.partition("/")
    component, _, name = rest.partition("/")
    if not loop or not component:
        raise InvalidArgument(f"a place is LOOP/COMPONENT/NAME, such as third/io/photo.jpg, not {text!r}")
    target = f"{loop}/{component}"
    if name:
        return RemotePath(target, check_name(name))
    if not own_name:
        raise InvalidArgument(f"say which file of {target}: {target}/NAME")
    if not _NAME.fullmatch(own_name):
        raise InvalidArgument(f"{own_name!r} cannot be a name there ({_WANTED}): say one, as {target}/NAME")
    return RemotePath(target, own_name)


def check_name(name: str) -> str:
    """Return the name if a host would take it, and nothing else is in it; raise InvalidArgument."""
    if "/" in name:
        for part in name.split("/"):
            if part in ("", ".", "..") or not part.isprintable():
                raise InvalidArgument(f"{name!r} is no name of a file: between slashes stand names of folders")
    elif not _NAME.fullmatch(name):
        raise InvalidArgument(f"{name!r} is no name of a file: {_WANTED}")
    return name
