"""A component that does what honest components do: mistakes, warnings, names, dates, codecs and much else."""

from __future__ import annotations

import asyncio
import codecs
import datetime
import hashlib
import json
import locale
import logging
import random
import socket
import time
import uuid
import warnings
import zoneinfo
from pathlib import Path
from typing import Any

from tlsrt import Component, handler


class Broken:
    """Its end fails, where nobody can be told."""

    def __del__(self) -> None:
        raise RuntimeError("a finaliser failed")


class Everyday(Component):
    """One method a habit."""

    @handler
    async def fail(self, depth: int) -> None:
        """Raise through some frames, one inside the other."""
        try:
            self._fall(depth)
        except ZeroDivisionError as error:
            raise KeyError("nothing of that name") from error

    def _fall(self, depth: int) -> float:
        return self._fall(depth - 1) if depth else 1 / depth

    @handler
    async def misspell(self) -> None:
        """A mistake for which Python looks for suggestions."""
        raise AttributeError(self.misspel)  # type: ignore[attr-defined]

    @handler
    async def forget(self) -> None:
        """A task whose error nobody takes, a finaliser that fails, and a callback that does."""
        asyncio.get_running_loop().create_task(self._fail_alone())
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        Broken()
        await asyncio.sleep(0.01)

    async def _fail_alone(self) -> None:
        raise RuntimeError("a task failed")

    @handler
    async def warn(self) -> None:
        """Every kind of warning, a forgotten socket's too."""
        for kind in (UserWarning, DeprecationWarning, RuntimeWarning):
            warnings.warn("take care", kind, stacklevel=1)
        socket.socketpair()
        self.log.error("an error with its trace", exc_info=ValueError("of no worth"), stack_info=True)
        logging.getLogger("another").warning("of another name")

    @handler
    async def dates(self) -> dict[str, str]:
        """Dates in and out, in zones."""
        noon = datetime.datetime.strptime("2026-03-01 12:00", "%Y-%m-%d %H:%M")
        zones = {name: noon.replace(tzinfo=zoneinfo.ZoneInfo(name)).isoformat() for name in ("UTC", "Europe/Berlin")}
        return {**zones, "local": time.strftime("%c", time.strptime("1 Mar 2026", "%d %b %Y"))}

    @handler
    async def words(self) -> list[Any]:
        """Names in other alphabets, codecs, and what depends on the place."""
        encoded = ["bücher.example".encode("idna"), "ß".encode("punycode"), "straße".encode("latin-1")]
        others = ["cp1252", "utf-16", "utf-8-sig", "cp437", "iso8859-15", "utf-7", "hex_codec", "base64_codec"]
        return [*encoded, [codecs.lookup(name).name for name in others], locale.getlocale()[1], "\N{SNOWMAN}"]

    @handler
    async def numbers(self) -> list[Any]:
        """Hashes, numbers by chance, identities, structures."""
        hashes = [hashlib.new(name, b"x").hexdigest()[:4] for name in ("sha256", "sha3_256", "blake2b", "md5")]
        return [*hashes, random.random() < 1, len(str(uuid.uuid4())), json.loads('{"a": [1.5, null]}')]

    @handler
    async def files(self) -> list[str]:
        """Files of its own."""
        path = Path(self.state) / "notes.txt"
        path.write_text("line\n" * 3)
        found = path.read_text().splitlines()
        names = [one.name for one in Path(self.state).iterdir()]
        path.unlink()
        return [*found, *names]

    @handler
    async def missing(self) -> str:
        """An import that comes too late."""
        try:
            import colorsys  # noqa: F401
        except ImportError as error:
            return type(error).__name__
        return "imported"

    @handler
    async def thread(self) -> str:
        """Work in a thread, where the profile allows one."""
        try:
            return await asyncio.to_thread(lambda: "done")
        except RuntimeError as error:
            return str(error)

    @handler
    async def resolve(self) -> list[str]:
        """Look up names, one of them in another alphabet, as far as that goes without asking anybody."""
        loop = asyncio.get_running_loop()
        [(*_, address)] = await loop.getaddrinfo("localhost", 80, family=socket.AF_INET, type=socket.SOCK_STREAM)
        try:
            await loop.getaddrinfo("bücher.example", 80, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            return [str(address[0]), "no such name"]
        return [str(address[0])]
