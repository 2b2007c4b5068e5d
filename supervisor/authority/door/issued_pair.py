"""The certificate of a CA and its key, as Primary is given them: a second one at the door, beside that of its files.

It is sent with the files of the door, whenever those are. Another one is tried by Primary first; the one before serves
until then, and on if it cannot serve. A host orders while it starts, and Primary may die at any time, so what is to be
tried or shown waits for the next one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from tlsrt.supervisor.authority.door.files import seal_copy
from tlsrt.supervisor.authority.model.loop_table import LoopTable
from tlsrt.supervisor.authority.model.ports import Outgoing

_GENERATIONS = 20  # bits below the count of the authority's lives
_SENT_MAX = 2  # times: the Primary that died may have died of it
_SHOW, _CHECK = "show_challenge", "try_issued"


@dataclass(slots=True)
class _Trial:
    """What Primary is to try, and how often it was sent."""

    number: int
    name: str
    pair: tuple[int, int]
    done: Callable[[str], None]
    sent: int = 0


class IssuedPair:
    """What is sent, and the trials that Primary has not answered yet."""

    def __init__(self, loops: LoopTable, outgoing: Outgoing, boots: int) -> None:
        self._loops = loops
        self._outgoing = outgoing
        self._last = boots << _GENERATIONS
        self._present: tuple[int, int, int] | None = None  # number, certificate, key
        self._trial: _Trial | None = None
        self._shown: tuple[int, int, int] | None = None  # the challenge that Primary answers with

    @property
    def is_served(self) -> bool:
        """Tell whether there is one."""
        return self._present is not None

    def send(self) -> None:
        """Tell Primary what there is, once it has the door: before that, it need not match its profile."""
        if not self._loops.with_door.has_door:
            return
        for name, one in (("issued", self._present), (_SHOW, self._shown)):
            if one is not None:
                number, *pair = one
                self._outgoing.send(self._loops.with_door.loop, name, number, descriptors=pair)
        self._send_trial()

    def _send_trial(self) -> None:
        trial = self._trial
        if trial is not None and self._loops.with_door.has_door and trial.sent < _SENT_MAX:
            trial.sent += 1
            self._outgoing.send(self._loops.with_door.loop, trial.name, trial.number, descriptors=trial.pair)

    def set(self, certificate: bytes, key: bytes) -> None:
        """Serve with these (PEM) from now on, and from the next Primary on."""
        self.clear()
        self._last += 1
        self._present = self._last, seal_copy("issued-crt", certificate), seal_copy("issued-key", key)
        self.send()

    def clear(self) -> None:
        """Serve with none."""
        if self._present is not None:
            _, *pair = self._present
            self._present = None
            for descriptor in pair:
                os.close(descriptor)
            self._outgoing.send(self._loops.with_door.loop, "issued_gone")

    def show(self, certificate: bytes, key: bytes, done: Callable[[str], None]) -> None:
        """Have Primary answer `acme-tls/1` with these; `done` hears the sentence why it cannot, or ""."""
        self._try(_SHOW, certificate, key, done)

    def check(self, certificate: bytes, key: bytes, done: Callable[[str], None]) -> None:
        """Have Primary shake hands with itself with these, and no more."""
        self._try(_CHECK, certificate, key, done)

    def _try(self, name: str, certificate: bytes, key: bytes, done: Callable[[str], None]) -> None:
        self.give_up("another one came")
        self._last += 1
        pair = seal_copy("trial-crt", certificate), seal_copy("trial-key", key)
        self._trial = _Trial(self._last, name, pair, done)
        self._send_trial()

    def hide(self) -> None:
        """Have Primary answer `acme-tls/1` no more."""
        self._forget_shown()
        self._outgoing.send(self._loops.with_door.loop, "hide_challenge")

    def _forget_shown(self) -> None:
        if self._shown is not None:
            _, *pair = self._shown
            self._shown = None
            for descriptor in pair:
                os.close(descriptor)

    def tried(self, number: int, sentence: str) -> None:
        """Primary says whether it could; of anything but the trial it says nothing."""
        if self._trial is not None and self._trial.number == number:
            self._end_trial(self._trial, sentence)

    def _end_trial(self, trial: _Trial, sentence: str) -> None:
        self._trial = None
        if trial.name == _SHOW and not sentence:
            self._forget_shown()
            self._shown = trial.number, *trial.pair
        else:
            for descriptor in trial.pair:
                os.close(descriptor)
        trial.done(sentence)

    def give_up(self, why: str) -> None:
        """End a trial that has no answer."""
        if self._trial is not None:
            self._end_trial(self._trial, why)
