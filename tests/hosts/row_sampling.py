"""Tables of which the suite tries some rows, as each takes a start of a host, and `make stress` the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def rows(table: Iterable[str], *, stress: set[str]) -> list[Any]:
    """Return the names of all rows as parameters; those of `stress` are marked so, and must be there."""
    names = list(table)
    assert stress <= set(names), stress - set(names)
    return [pytest.param(name, marks=pytest.mark.stress) if name in stress else name for name in names]
