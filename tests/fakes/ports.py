"""Ports of the authority without anything behind them."""

from __future__ import annotations

from tlsrt.budget import Budget
from tlsrt.channels.clock import Moment
from tlsrt.supervisor.authority.model.ports import Detail, Otherwise, Recorder, SignalSource, Then
from tlsrt.supervisor.authority.model.state import StateFile


class NoRecorder:
    """Records nothing: everything goes on at once."""

    def note(self, kind: str, subject: str, detail: Detail, moment: Moment) -> None:
        """Record nothing."""

    def before(self, kind: str, subject: str, detail: Detail, moment: Moment, then: Then, otherwise: Otherwise) -> None:
        """Go on."""
        then()

    def name_root_key(self, public: bytes) -> None:
        """Name nothing."""


class SwitchedRecorder:
    """A recorder that a test replaces while the service runs."""

    def __init__(self) -> None:
        self.target: Recorder = NoRecorder()

    def note(self, kind: str, subject: str, detail: Detail, moment: Moment) -> None:
        self.target.note(kind, subject, detail, moment)

    def before(self, kind: str, subject: str, detail: Detail, moment: Moment, then: Then, otherwise: Otherwise) -> None:
        self.target.before(kind, subject, detail, moment, then, otherwise)

    def name_root_key(self, public: bytes) -> None:
        self.target.name_root_key(public)


class NoDetection:
    """Scores nothing."""

    def trigger(self, detector: str, source: SignalSource, detail: Detail, moment: Moment) -> None:
        """Do nothing."""

    def over_budget(self, subject: str, budget: Budget, moment: Moment) -> None:
        pass

    def add(self, detector: str, source: SignalSource, points: int, detail: Detail, moment: Moment) -> None:
        """Do nothing."""


class PromptStore(StateFile):
    """A store whose writes are over when they return."""

    def has_recovered(self) -> bool:
        return False
