"""The row `detection`: calls between two loops with every detector and decoy, beside a host without any."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench import calls

WITHOUT: dict[str, dict[str, Any]] = {"detection": {"mode": "ignore"}, "deception": {"components": [], "methods": {}}}


def open_without(folder: Path) -> AbstractContextManager[calls.TlsrtCalls]:
    """A host that looks for nothing."""
    return calls.running(folder, WITHOUT)
