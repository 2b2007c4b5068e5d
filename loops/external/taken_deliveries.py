"""Deliveries that were taken from outside: known on the disk, so that a repetition is told from a new one."""

from __future__ import annotations

from tlsrt import Database

STEP = (
    "create table taken (number integer primary key, hook text not null, delivery blob not null, "
    "unique (hook, delivery))"
)
REMEMBERED = 20_000  # of one source
_PRUNE_EACH = 256


class TakenDeliveries:
    """The last deliveries of each source (in the table, `hook`), in a database that has run `STEP`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._since_prune = 0

    async def has(self, source: str, delivery: bytes) -> bool:
        """Tell whether it was taken before. Raises CallError."""
        return bool(await self._db.read("select 1 from taken where hook = ? and delivery = ?", source, delivery))

    async def add(self, source: str, delivery: bytes) -> None:
        """Remember it; it is on the disk when this returns. Raises CallError."""
        await self._db.execute("insert or ignore into taken (hook, delivery) values (?, ?)", source, delivery)
        self._since_prune += 1
        if self._since_prune >= _PRUNE_EACH:
            self._since_prune = 0
            await self._db.execute(
                "delete from taken where hook = ?1 and number <= (select number from taken where hook = ?1 "
                "order by number desc limit 1 offset ?2)", source, REMEMBERED,
            )  # fmt: skip
