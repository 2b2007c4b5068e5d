"""The meter: lines such as `power=1250` from a serial line, which may be unplugged and come again."""

from __future__ import annotations

from tlsrt import Component, InvalidArgument, handler

LONGEST_LINE = 200


class Lines:
    """Bytes to lines: what is longer than a line may be is left out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that are whole now."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-LONGEST_LINE - 1 :]
        return [line.decode("ascii", "replace").strip() for line in whole if len(line) <= LONGEST_LINE]


def reading_of(line: str) -> tuple[str, float] | None:
    """Return name and value of a line, or None for one that is none."""
    name, sign, value = line.partition("=")
    try:
        return (name.strip(), float(value)) if sign and name.strip().isidentifier() else None
    except ValueError:
        return None


class Meter(Component):
    """Readings of a meter, as they come."""

    topics = {"reading": "[name, value]"}  # noqa: RUF012

    async def start(self) -> None:
        self.line = self.device("line")
        self.values: dict[str, float] = {}
        self.spawn(self.listen)

    def ready(self) -> str | None:
        """Return why there are no readings."""
        return None if self.line.is_present else "the meter is not plugged in"

    async def listen(self) -> None:
        """Take what it says; this goes on when the line was unplugged and is there again."""
        lines, connection = Lines(), self.line.connections
        async for data in self.line:
            if self.line.connections != connection:
                lines, connection = Lines(), self.line.connections  # half a line of the one before belongs to no other
            for reading in filter(None, map(reading_of, lines.feed(data))):
                self.values[reading[0]] = reading[1]
                self.publish("reading", list(reading))

    @handler(idempotent=True)
    async def last(self) -> dict[str, float]:
        """Return the last value of each reading."""
        return dict(self.values)

    @handler
    async def tell(self, line: str) -> None:
        """Send the meter a line."""
        if not line.isascii() or not line.isprintable() or len(line) > LONGEST_LINE:
            raise InvalidArgument(f"a line has at most {LONGEST_LINE} printable ASCII characters")
        await self.line.write(line.encode("ascii") + b"\n")
