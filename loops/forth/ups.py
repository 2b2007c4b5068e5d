"""A UPS, as a upsd of NUT tells of it over TCP: one connection for each look, of bounded time."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass

from tlsrt import Unavailable
from tlsrt.loops.forth.nut import (
    CHARGE,
    LINE_MAX,
    PORT,
    STATUS,
    UPS,
    NutError,
    is_low,
    on_battery,
    question,
    value_untrusted,
)
from tlsrt.loops.forth.policy_rules import Sample

ANSWER_S = 2.0
_WHERE = re.compile(r"([^@\s]+)@([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::(\d{1,5}))?")


@dataclass(frozen=True)
class Ups:
    """Its name, and where its upsd is."""

    name: str
    host: str
    port: int = PORT

    @classmethod
    def read(cls, text: str) -> Ups:
        """Return the UPS that NAME@HOST[:PORT] says. Raises ValueError."""
        found = _WHERE.fullmatch(text)
        port = int(found[3] or PORT) if found is not None else 0
        if found is None or not UPS.fullmatch(found[1]) or not 0 < port < 65536:
            raise ValueError("ups: write NAME@HOST[:PORT], such as rack@127.0.0.1")
        return cls(found[1], found[2].strip("[]"), port)

    async def sample(self) -> Sample:
        """Ask for status and charge. Raises Unavailable with the reason."""
        where = f"{self.name}@{self.host}:{self.port}"
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._ask()
        except TimeoutError:
            raise Unavailable(f"{where} did not answer in {ANSWER_S:g} s") from None
        except (OSError, EOFError, ValueError) as error:
            raise Unavailable(f"{where}: {str(error) or type(error).__name__}") from None
        except NutError as error:
            raise Unavailable(f"{where}: {error}") from None

    async def _ask(self) -> Sample:
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=LINE_MAX)
        try:
            writer.write(question(self.name, STATUS))
            status = value_untrusted(await reader.readline(), self.name, STATUS)
            percent = None
            with suppress(NutError, ValueError):  # not every UPS tells it
                writer.write(question(self.name, CHARGE))
                percent = float(value_untrusted(await reader.readline(), self.name, CHARGE))
            charge = percent if percent is not None and 0 <= percent <= 100 else None
            return Sample(on_battery=on_battery(status), percent=charge, ups_low=is_low(status))
        finally:
            writer.close()
