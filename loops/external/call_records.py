"""The log of calls: the last thousand, as lines of JSON in a file that a crash leaves whole but for its last line."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

MOST = 1000


class CallRecords:
    """Appends to the file, and writes it anew when it has twice as many lines as are kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: deque[dict[str, Any]] = deque(maxlen=MOST)
        try:
            with path.open() as file:
                for line in file:
                    try:
                        self._records.append(json.loads(line))
                    except ValueError:  # a line that a crash has cut
                        continue
        except FileNotFoundError:
            pass
        self._rewrite()

    def _rewrite(self) -> None:
        temporary = self._path.with_suffix(".new")
        temporary.write_text("".join(json.dumps(one) + "\n" for one in self._records))
        temporary.replace(self._path)
        self._lines = len(self._records)

    def add(self, record: dict[str, Any]) -> None:
        """Keep a record."""
        self._records.append(record)
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        self._lines += 1
        if self._lines > 2 * MOST:
            self._rewrite()

    def last(self, most: int) -> list[dict[str, Any]]:
        """Return the newest first."""
        return list(self._records)[: -most - 1 : -1]
