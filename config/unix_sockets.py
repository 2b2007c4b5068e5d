"""UNIX sockets of other programs that components ask for: the supervisor connects to them under the component's uid."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tlsrt.config.setting import file_path, text

LONGEST = 107  # sun_path, unix(7)


@dataclass(frozen=True, slots=True)
class SocketConfig:
    """A UNIX socket that it may connect to, and the reason."""

    path: Path = field(
        metadata=file_path(
            "The socket: absolute, without links on the way, at most 107 characters.",
            pattern=rf"(?=.{{2,{LONGEST}}}$)(?:/(?!\.\.?(?:/|$))[^/]+)+",
            says="an absolute path without links of at most 107 characters, such as /run/dbus/system_bus_socket",
            least=None,
            example="/run/dbus/system_bus_socket",
        )
    )
    why: str = field(metadata=text("The reason, for the next reader.", least=3, most=1000, example="asks upowerd"))
    where: str = field(default="", compare=False)  # FILE:LINE:COL
