"""Writes the authority's state, and tells the supervisor whether all of it is on the disk."""

from __future__ import annotations

from tlsrt.errors import ConfigError
from tlsrt.supervisor.authority.boot import save
from tlsrt.supervisor.authority.model.ports import Outgoing
from tlsrt.supervisor.authority.model.state import AuthorityState, StateStore


class StateWriter:
    """The way to the disk. What cannot be written is told once, and once more when it is written after all."""

    def __init__(self, store: StateStore, state: AuthorityState, outlet: Outgoing) -> None:
        self._store = store
        self._state = state
        self._outlet = outlet
        self._problem = ""

    def write(self) -> bool:
        """Write the state; return whether it is on the disk. If not, who changed it tries again or takes it back."""
        problem = ""
        try:
            save(self._store, self._state)
        except ConfigError as error:
            problem = str(error)
        if problem != self._problem:
            self._problem = problem
            self._outlet.log(problem or "the state is on the disk again")
            self._outlet.tell("storage", problem)
        return not problem
