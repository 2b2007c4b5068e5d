"""The certificate of a CA and its key, as Primary is given them: a second one at the door, beside that of its files.

It is sent with the files of the door, whenever those are. Another one is tried by Primary first; the one before serves
until then, and on if it cannot serve.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from tlsrt.supervisor.authority.door.files import seal_copy
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopTable
from tlsrt.supervisor.authority.model.ports import Outgoing

_GENERATIONS = 20  # bits below the count of the authority's lives


class IssuedPair:
    """What is sent, and the trials that Primary has not answered yet."""

    def __init__(self, loops: LoopTable, outgoing: Outgoing, boots: int) -> None:
        self._loops = loops
        self._outgoing = outgoing
        self._last = boots << _GENERATIONS
        self._present: tuple[int, int, int] | None = None  # number, certificate, key
        self._trial: tuple[int, tuple[int, int], Callable[[str], None]] | None = None

    @property
    def is_served(self) -> bool:
        """Tell whether there is one."""
        return self._present is not None

    def send(self) -> None:
        """Tell Primary what there is, once it has the door: before that, it need not match its profile."""
        if self._present is not None and self._loops[GATE].has_door:
            number, *pair = self._present
            self._outgoing.send(GATE, "issued", number, descriptors=pair)

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
            self._outgoing.send(GATE, "issued_gone")

    def show(self, certificate: bytes, key: bytes, done: Callable[[str], None]) -> None:
        """Have Primary answer `acme-tls/1` with these; `done` hears the sentence why it cannot, or ""."""
        self._try("show_challenge", certificate, key, done)

    def check(self, certificate: bytes, key: bytes, done: Callable[[str], None]) -> None:
        """Have Primary shake hands with itself with these, and no more."""
        self._try("try_issued", certificate, key, done)

    def _try(self, name: str, certificate: bytes, key: bytes, done: Callable[[str], None]) -> None:
        self.give_up("another one came")
        if not self._loops[GATE].has_door:
            done("there is no door now")
            return
        self._last += 1
        pair = seal_copy("trial-crt", certificate), seal_copy("trial-key", key)
        self._trial = self._last, pair, done
        self._outgoing.send(GATE, name, self._last, descriptors=pair)

    def hide(self) -> None:
        """Have Primary answer `acme-tls/1` no more."""
        self._outgoing.send(GATE, "hide_challenge")

    def tried(self, number: int, sentence: str) -> None:
        """Primary says whether it could; of anything but the trial it says nothing."""
        if self._trial is not None and self._trial[0] == number:
            _, pair, done = self._trial
            self._trial = None
            for descriptor in pair:
                os.close(descriptor)
            done(sentence)

    def give_up(self, why: str) -> None:
        """End a trial that has no answer."""
        if self._trial is not None:
            self.tried(self._trial[0], why)
