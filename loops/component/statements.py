"""Statements of SQL: texts of several taken apart, and those refused that are the runtime's own. Pure."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

from tlsrt.errors import MisuseError

_GAP = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)"
_CONTROL = re.compile(  # SQLite skips empty statements, and a byte order mark
    rf"(?:;|\ufeff|{_GAP})*(begin|commit|end|rollback|savepoint|release|attach|detach|pragma|vacuum)\b",
    re.IGNORECASE | re.DOTALL,
)
_UNDOES_ALL = re.compile(
    rf"\b(?:or|conflict){_GAP}+rollback\b|\braise{_GAP}*\({_GAP}*rollback\b", re.IGNORECASE | re.DOTALL
)


def refuse_control(statement: str) -> None:
    """Raise MisuseError for a statement that would end a transaction, or change how the file is kept.

    A component may harm only its own file by it; but then what was acknowledged might not be there.
    """
    if found := _CONTROL.match(statement):
        raise MisuseError(f"cannot run {found[1].upper()}: transactions and settings of the database are the runtime's")
    if _UNDOES_ALL.search(statement):
        raise MisuseError("cannot run ROLLBACK within a statement: it would undo the changes of others; use ABORT")


def statements_of(text: str) -> Iterator[str]:
    """Yield each statement of a text, as they stand, the last one with or without its semicolon."""
    statement = ""
    for piece in re.split(r"(?<=;)", text):
        statement += piece
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if _is_more_than_space(statement):
        yield statement


def _is_more_than_space(text: str) -> bool:
    return bool(re.sub(r"--[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL).strip())
