"""Statements of SQL: texts of several taken apart, and those refused that are the runtime's own. Pure."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

from tlsrt.errors import MisuseError

_CONTROL = re.compile(
    r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*(begin|commit|end|rollback|savepoint|release|attach|detach|pragma|vacuum)\b",
    re.IGNORECASE | re.DOTALL,
)
_UNDOES_ALL = re.compile(r"\bor\s+rollback\b|\braise\s*\(\s*rollback\b", re.IGNORECASE)


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
