"""The log of calls, in the database of external/calls. Times are wall ms."""

from __future__ import annotations

from typing import Any

from tlsrt import Database

STEPS = [
    "create table calls (position integer primary key, id text not null unique, number text not null, "
    "by_whom text not null, says text not null, rung text not null, taken_by text, began_ms integer not null, "
    "answered_ms integer, ended_ms integer, outcome text)",
    "create index calls_by_whom on calls (by_whom, position)",
]
KEPT = 1000  # calls of one who rings: a flood of one displaces no call of another
PAGE = 100
INTERRUPTED = "interrupted"
_ROW = "position, id, number, by_whom, says, rung, taken_by, began_ms, answered_ms, ended_ms, outcome"


async def begin(
    database: Database, id: str, number: str, by: str, says: str, rung: list[str], now_ms: int
) -> None:  # fmt: skip
    """Keep a call that begins."""
    text = f" {' '.join(rung)} "
    await database.execute(
        "insert into calls (id, number, by_whom, says, rung, began_ms) values (?, ?, ?, ?, ?, ?)",
        id, number, by, says, text, now_ms,
    )  # fmt: skip
    await database.execute(
        "delete from calls where by_whom = ? and position <= (select position from calls where by_whom = ? "
        "order by position desc limit 1 offset ?)",
        by, by, KEPT,
    )  # fmt: skip


async def end(
    database: Database, id: str, taken_by: str | None, answered_ms: int | None, ended_ms: int, outcome: str
) -> None:  # fmt: skip
    """Keep how a call has ended."""
    await database.execute(
        "update calls set taken_by = ?, answered_ms = ?, ended_ms = ?, outcome = ? where id = ?",
        taken_by, answered_ms, ended_ms, outcome, id,
    )  # fmt: skip


async def interrupt(database: Database) -> None:
    """Say of calls without an end that they were interrupted: the process has died in them."""
    await database.execute("update calls set outcome = ? where outcome is null", INTERRUPTED)


async def page(database: Database, subject: str, before: int, *, only_missed: bool) -> list[dict[str, Any]]:
    """Return the calls in which a subject took part, the newest first, of positions below `before` (0 for all)."""
    rows = await database.read(
        f"select {_ROW} from calls where (by_whom = ? or instr(rung, ?)) and (? = 0 or position < ?) "  # noqa: S608
        "and (? = 0 or (by_whom != ? and outcome is not null and outcome != 'answered')) "
        "order by position desc limit ?",
        subject, f" {subject} ", before, before, int(only_missed), subject, PAGE,
    )  # fmt: skip
    return [
        {
            "position": row["position"], "call": row["id"], "number": row["number"], "by": row["by_whom"],
            "says": row["says"], "rung": row["rung"].split(), "taken_by": row["taken_by"],
            "began_ms": row["began_ms"], "answered_ms": row["answered_ms"], "ended_ms": row["ended_ms"],
            "outcome": row["outcome"],
        }
        for row in rows
    ]  # fmt: skip
