"""Ports of the authority without anything behind them."""

from __future__ import annotations

import errno

from tlsrt.budget import Budget
from tlsrt.channels.clock import Moment
from tlsrt.supervisor.audit.recorder import OPERATOR
from tlsrt.supervisor.authority.model.ports import Detail, Otherwise, Patience, Recorder, SignalSource, Then
from tlsrt.supervisor.authority.model.state import StateFile
from tlsrt.supervisor.authority.model.state_writer import Written


class NoRecorder:
    """Records nothing: everything goes on at once."""

    def note(self, kind: str, subject: str, detail: Detail, moment: Moment) -> None:
        """Record nothing."""

    def before(
        self, kind: str, subject: str, detail: Detail, moment: Moment, then: Then, otherwise: Otherwise,
        patience: Patience = OPERATOR,
    ) -> None:  # fmt: skip
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

    def before(
        self, kind: str, subject: str, detail: Detail, moment: Moment, then: Then, otherwise: Otherwise,
        patience: Patience = OPERATOR,
    ) -> None:  # fmt: skip
        self.target.before(kind, subject, detail, moment, then, otherwise, patience)

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
    """A StateThread whose writes are over when they return, unless the test holds them."""

    def __init__(self, folder: int) -> None:
        super().__init__(folder)
        self.is_held = False
        self.is_full = False
        self._given: bytes | None = None
        self._is_given_up = False

    def give(self, data: bytes) -> None:
        self._given, self._is_given_up = data, False

    def take(self) -> Written | None:
        if self._given is None or self.is_held:
            return None
        data, self._given = self._given, None
        if self._is_given_up:
            return Written(is_replaced=False)
        try:
            if self.is_full:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.replace(data)
        except OSError as error:
            return Written(error, is_replaced=False)
        return Written()

    def give_up(self) -> None:
        self._is_given_up = True

    def wait(self, timeout_s: float) -> None:
        """It is there at once."""
