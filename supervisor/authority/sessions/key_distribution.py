"""Tells the loops what the briefing says: all of it to a newcomer, what changed to the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tlsrt.channels.control.trust import REVOKED_PER_PAGE
from tlsrt.config.issuer_chain import encode_chain
from tlsrt.supervisor.authority.door.rollout import DoorChange
from tlsrt.supervisor.authority.keys.epochs import Epochs
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry, LoopTable
from tlsrt.supervisor.authority.model.ports import Outgoing
from tlsrt.supervisor.authority.model.state import AuthorityState, Revocation
from tlsrt.supervisor.authority.sessions.key_messages import KeyMessages, Letter
from tlsrt.supervisor.authority.sessions.manager import Session

SINGLE_MAX = 64  # revocations that are said one by one
SERIALS = 32  # bits: snapshots of one life of the authority, below the count of its lives


class KeyDistribution:
    """Speaks to the loops. `sessions` are the components', owned by the service and looked at here."""

    def __init__(
        self,
        roster: LoopTable,
        briefing: KeyMessages,
        epochs: Epochs,
        state: AuthorityState,
        sessions: Mapping[str, Session],
        door: DoorChange,
        outlet: Outgoing,
    ) -> None:
        self._roster = roster
        self._briefing = briefing
        self._epochs = epochs
        self._state = state
        self._sessions = sessions
        self._door = door
        self._outlet = outlet
        self._snapshots = state.boots << SERIALS  # so that pages of two lives are never put together

    def sessions_of(self, member: LoopEntry) -> list[Session]:
        """Return the present sessions of a loop's components."""
        found = (self._sessions.get(component) for component in member.components)
        return [session for session in found if session is not None]

    def brief(self, member: LoopEntry, now: int) -> None:
        """Say everything to one loop."""
        self._say(member, self._briefing.welcome(self._epochs.serving))
        for epoch in self._epochs.issued:
            self.say_epoch(member, epoch)
        self.say_snapshot(member, now)
        if member.loop == GATE:
            self.say_succession(self._briefing.key_version(self._epochs.serving))
            for other in self._roster:
                self.tell_gate_of(other)
        for epoch in self._epochs.issued:
            self._outlet.send(member.loop, "prepare", epoch)
            if epoch == self._epochs.current:
                self._outlet.send(member.loop, "commit", epoch, self._epochs.grace_ms)
        self.say_feed(member, now)
        if member.loop == GATE:
            self._door.brief()

    def say_epoch(self, member: LoopEntry, epoch: int) -> None:
        """Say all keys and rights of one epoch to one loop."""
        if self._briefing.key_version(epoch) != self._briefing.key_version(self._epochs.serving):
            self._say(member, self._briefing.welcome(epoch))  # its tokens have another issuer key
        self._say(member, self._briefing.epoch(member, epoch))
        for session in self.sessions_of(member):
            self._say_session(member, session, epoch)

    def say_succession(self, key_version: int) -> None:
        """Have clients told which issuer keys lead to this version; those that it signs come only afterwards."""
        chain = [statement for statement in self._state.succession if statement.new.version <= key_version]
        if chain and self._roster.gate:
            self._outlet.send(GATE, "succession", encode_chain(chain))

    def introduce(self, newcomer: LoopEntry) -> None:
        """Tell the others of the new mailboxes, and of the new gate if it is Primary."""
        for member in self._roster.joined:
            if member is not newcomer:
                for epoch in self._epochs.issued:
                    self._introduce(member, newcomer, epoch)

    def say_mailboxes(self, components: Sequence[str]) -> None:
        """Tell everybody who may talk to these components whether that is possible now."""
        for member in self._roster.joined:
            for session in self.sessions_of(member):
                for epoch in self._epochs.issued:
                    for page in self._briefing.right_pages(session, epoch, components):
                        self._say(member, page)

    def renew(self, session: Session) -> None:
        """Say the new token of a component's session."""
        for epoch in self._epochs.issued:
            self._say(self._roster.of(session.subject), self._briefing.session(session, epoch))

    def say_session(self, session: Session) -> None:
        """Say a component's new session with its rights."""
        for epoch in self._epochs.issued:
            self._say_session(self._roster.of(session.subject), session, epoch)

    def say_revoked(self, revocations: Iterable[Revocation], now: int) -> None:
        """Tell every verifier; of very many at once, by a snapshot."""
        entries = tuple(revocations)
        for member in self._roster.joined:
            if len(entries) > SINGLE_MAX:
                self.say_snapshot(member, now)
                continue
            for entry in entries:
                self._outlet.send(member.loop, "revoked", entry.number, entry.kind, entry.value)

    def say_restored(self, number: int, subject: bytes) -> None:
        """Tell every verifier that a subject is no longer revoked."""
        for member in self._roster.joined:
            self._outlet.send(member.loop, "restored", number, subject)

    def say_snapshot(self, member: LoopEntry, now: int) -> None:
        """Say to one loop all that is revoked."""
        entries = [[item.kind, item.value] for item in self._state.revocations]
        pages = max(1, -(-len(entries) // REVOKED_PER_PAGE))
        self._snapshots += 1
        for page in range(pages):
            part = entries[page * REVOKED_PER_PAGE : (page + 1) * REVOKED_PER_PAGE]
            self._outlet.send(
                member.loop, "snapshot", self._snapshots, page, pages, self._state.revocation, now, part
            )  # fmt: skip

    def say_feed(self, member: LoopEntry, now: int) -> None:
        """Say to one loop that the authority lives, and how many revocations there are."""
        self._outlet.send(member.loop, "feed", self._state.revocation, self._epochs.current, now)

    def tell_gate_of(self, member: LoopEntry) -> None:
        """Tell the gate, if there is one, what is known of a loop."""
        if self._roster.gate:
            self._outlet.send(GATE, "member", member.loop, member.incarnation, member.attested or 0)

    def _introduce(self, member: LoopEntry, newcomer: LoopEntry, epoch: int) -> None:
        if newcomer.loop == GATE:
            self._say(member, self._briefing.epoch(member, epoch))
        for session in self.sessions_of(member):
            if newcomer.loop == GATE:
                self._say(member, self._briefing.session(session, epoch))
            for page in self._briefing.right_pages(session, epoch, newcomer.components):
                self._say(member, page)

    def _say_session(self, member: LoopEntry, session: Session, epoch: int) -> None:
        self._say(member, self._briefing.session(session, epoch))
        for page in self._briefing.right_pages(session, epoch):
            self._say(member, page)

    def _say(self, member: LoopEntry, letter: Letter) -> None:
        name, fields = letter
        self._outlet.send(member.loop, name, *fields)
