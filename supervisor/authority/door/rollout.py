"""Door rollout: the files that the door serves with, and their change. Pure but for descriptors.

A change is a transaction: the authority has read and checked the new files; Primary makes a context of them and shakes
hands with itself; only then is the supervisor told that they are good. From `take` on the door accepts connections with
them, and another authority boots with them. Existing connections stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tlsrt.channels.clock import Moment
from tlsrt.supervisor.authority.clients.certificates import ClientCertificates
from tlsrt.supervisor.authority.door.files import DoorFiles
from tlsrt.supervisor.authority.door.issued_pair import IssuedPair
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.ports import Service

TRY_MS = 5_000  # for Primary to make a context and try it
_GENERATIONS = 20  # bits below the count of the authority's lives
_LATE = "Primary did not try the new certificate in time, so nothing was changed: reload again"

Done = Callable[[Sequence[str]], None]  # gets sentences, none if the files are good


@dataclass(slots=True)
class _Proposal:
    number: int
    generation: int
    files: DoorFiles
    done: Done | None
    until: int


class DoorChange(Service):
    """What the door serves with now, and what it may serve with next."""

    def __init__(
        self, context: AuthorityContext, files: DoorFiles, certificates: ClientCertificates, issued: IssuedPair
    ) -> None:  # fmt: skip
        self.files = files
        self._issued = issued  # beside the files
        self._certificates = certificates
        self._generation = context.state.boots << _GENERATIONS
        self._last = self._generation
        self._loops = context.loops
        self._outgoing = context.outgoing
        self._proposal: _Proposal | None = None

    def send(self) -> None:
        """Tell the door what to serve with."""
        door = self._loops.with_door.loop
        self._outgoing.send(door, "door", self._generation, descriptors=self.files.descriptors)
        self._outgoing.send(door, "serve", self._generation)
        self._issued.send()

    def propose(self, number: int, files: DoorFiles, now: int, done: Done) -> None:
        """Have Primary try other files; `done` hears how that went. They are owned from here on."""
        self._drop()
        if files.digest == self.files.digest:
            files.close()
            done(())
            return
        self._last += 1
        self._proposal = _Proposal(number, self._last, files, done, now + TRY_MS)
        if self._loops.with_door.has_door:
            self._outgoing.send(self._loops.with_door.loop, "door", self._last, descriptors=files.descriptors)
        else:  # there is no Primary now; the next one is sent these
            self._settle(())

    def tried(self, generation: int, is_good: bool, sentence: str) -> None:
        """Primary says whether it could serve; of anything but the proposal it says nothing."""
        if self._proposal is not None and self._proposal.generation == generation:
            self._settle(() if is_good else (f"the door cannot serve with the new files: {sentence}",))

    def next_due(self) -> int | None:
        """Return when a trial has taken too long."""
        proposal = self._proposal
        return proposal.until if proposal is not None and proposal.done is not None else None

    def tick(self, moment: Moment) -> None:
        """Give up a trial that takes too long."""
        due = self.next_due()
        if due is not None and moment.now >= due:
            self._settle((_LATE,))

    def take(self, number: int) -> bool:
        """Serve with what was proposed under this number; tell whether anything has changed."""
        proposal = self._proposal
        if proposal is None or proposal.number != number or proposal.done is not None:
            return False
        self._proposal = None
        old, self.files, self._generation = self.files, proposal.files, proposal.generation
        old.close()
        if self._loops.with_door.has_door:
            self.send()
        self._certificates.trust(self.files.authorities, self.files.revoked)
        return True

    def _settle(self, sentences: Sequence[str]) -> None:
        proposal = self._proposal
        if proposal is None or proposal.done is None:
            return
        done, proposal.done = proposal.done, None
        if sentences:
            self._drop()
        done(sentences)

    def _drop(self) -> None:
        if self._proposal is not None:
            self._proposal.files.close()
            self._proposal = None
