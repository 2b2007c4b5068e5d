"""What the operator sees of the decoys: a line at the start, and a warning while nobody would hear of a touch."""

from __future__ import annotations

from typing import Any

from tlsrt.supervisor.office import Office
from tlsrt.supervisor.parts import Common

NAME = "decoys"


class DecoyReport:
    """Hears what the authority says of its trials."""

    def __init__(self, common: Common, office: Office) -> None:
        self._console = common.console
        self._said: str | None = None
        office.on_said[NAME] = self._hear

    @property
    def warnings(self) -> tuple[str, ...]:
        return (self._said,) if self._said else ()

    def _hear(self, fields: list[Any]) -> None:
        problem = str(fields[0])
        if problem == self._said:  # a later life of Primary, or of the authority
            return
        self._said = problem
        if problem:
            self._console.warning(NAME, problem)
        else:
            self._console.good(NAME, "proved", "one was touched for a trial, and the authority was told")
