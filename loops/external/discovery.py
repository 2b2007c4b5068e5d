"""Announcing and finding services of the local network by multicast DNS. Needs the extra `mdns` (zeroconf)."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from ipaddress import ip_interface
from typing import Annotated, Any

from tlsrt import Component, MisuseError, Range, Unavailable, handler

try:
    from tlsrt.loops.external.mdns import Announced, Mdns
except ImportError:  # zeroconf is not installed, which each call says
    _HAS_EXTRA = False
else:
    _HAS_EXTRA = True

_TYPE = re.compile(r"_[A-Za-z0-9](?:[A-Za-z0-9-]{0,13}[A-Za-z0-9])?\._(?:tcp|udp)")  # RFC 6763, section 7
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_NAME_BYTES, _TXT_BYTES = 63, 255
_TYPES_MAX, _ANNOUNCED_MAX = 16, 16
_WITHOUT = "announcing and finding services needs the extra `mdns`: pip install 'tlsrt[mdns]', and reload"


@dataclass(frozen=True)
class Service:
    """A service of this host."""

    type: Annotated[str, "As _http._tcp."]
    port: Annotated[int, Range(1, 65535), "Where it listens."]
    txt: Annotated[dict[str, str], "What its TXT record says: keys and values."] = field(default_factory=dict[str, str])


class Discovery(Component):
    """Announces the services that its options declare, and finds those of the types that they name."""

    @dataclass(frozen=True)
    class Options:
        """What to announce, and what to look for."""

        host: Annotated[str, "The name of this host, without .local."] = "tlsrt"
        announce: Annotated[dict[str, Service], "Services of this host, by the name that people see."] = field(
            default_factory=dict[str, Service]
        )
        browse: Annotated[tuple[str, ...], "Types of services to look for, as _http._tcp; no others are."] = ()

        def __post_init__(self) -> None:
            if not _HOST.fullmatch(self.host):
                raise ValueError("host must be one label of a name: a-z, 0-9 and -")
            if len(self.browse) > _TYPES_MAX or len(self.announce) > _ANNOUNCED_MAX:
                raise ValueError(f"at most {_TYPES_MAX} types to browse, and {_ANNOUNCED_MAX} services to announce")
            for kind in (*self.browse, *(one.type for one in self.announce.values())):
                if not _TYPE.fullmatch(kind):
                    raise ValueError(f"{kind!r} is no type of a service, such as _http._tcp")
            for name, one in self.announce.items():
                if not name.isprintable() or not 0 < len(name.encode()) <= _NAME_BYTES:
                    raise ValueError(
                        f"the name {name!r} of a service must be printable, of at most {_NAME_BYTES} bytes"
                    )
                if any("=" in key or len(f"{key}={value}".encode()) > _TXT_BYTES for key, value in one.txt.items()):
                    raise ValueError(f"txt of {name}: a key has no `=`, and with its value at most {_TXT_BYTES} bytes")

    topics = {  # noqa: RUF012
        "found": "{name, type, host, port, addresses, txt}: a service came, or says something else now",
        "lost": "{name, type, host, port, addresses, txt}: it said goodbye or was not renewed, and does not answer",
    }

    def __init__(self) -> None:
        self._mdns: Mdns | None = None

    async def start(self) -> None:
        if not _HAS_EXTRA:
            self.log.error(_WITHOUT)
            return
        addresses, has_six = self._own_addresses()
        self._mdns = mdns = Mdns(self._tell, self.count)
        mdns.begin([f"{one}.local." for one in self.options.browse], has_six=has_six)
        self.spawn(mdns.ask, name="questions")
        self.spawn(mdns.guard, name="guard")

        async def announce() -> None:
            for name, one in self.options.announce.items():
                host = f"{self.options.host}.local."
                await mdns.announce(Announced(name, f"{one.type}.local.", one.port, one.txt), host, addresses)
                if (told := mdns.announced[name])["renamed"]:
                    self.log.warning("the name %s is taken: announced as %s", name, told["name"])

        if self.options.announce:
            self.spawn(announce(), name="announcements", restart=False)

    async def stop(self) -> None:
        if self._mdns is not None:
            await self._mdns.end()

    def healthy(self) -> str | None:
        return _WITHOUT if self._mdns is None else None

    @handler(idempotent=True)
    async def services(self, type: str = "") -> dict[str, Any]:
        """The services that are there, of one type or all, with ages in seconds; `left_out`: no room for these.

        Names, hosts and TXT are what others on the network say, and are not checked.
        """
        kind = f"{type.removesuffix('.local.').removesuffix('.')}.local." if type else ""
        found = [one for one in self._there().services.all(time.monotonic()) if kind in ("", one["type"])]
        return {"services": found, "left_out": self._there().services.left_out}

    @handler(idempotent=True)
    async def announced(self) -> list[dict[str, Any]]:
        """What is announced of this host; `renamed` if the name was taken by another one."""
        return [*self._there().announced.values()]

    def _there(self) -> Mdns:
        if self._mdns is None:
            raise Unavailable(_WITHOUT)
        return self._mdns

    def _tell(self, topic: str, told: dict[str, Any]) -> None:
        self.count(topic)
        self.publish(topic, told)

    def _own_addresses(self) -> tuple[list[bytes], bool]:
        """Return the addresses of the interfaces of its groups, and whether one of them is of IPv6."""
        found: dict[bytes, None] = {}
        has_six = False
        for name in ("mdns", "mdns6"):
            try:
                interface = self.listener_interface(name)
            except MisuseError:
                continue  # it has one of the two
            has_six = has_six or name == "mdns6"
            own = [ip_interface(text).ip for text in interface.addresses]
            found |= dict.fromkeys(one.packed for one in own if one.version == (6 if name == "mdns6" else 4))
        return [*found], has_six
