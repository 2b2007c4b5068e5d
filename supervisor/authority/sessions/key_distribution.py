"""Key distribution: sends keys, rights and revocations to the loops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tlsrt.channels.control.trust import ENDED_PER_PAGE, REVOKED_PER_PAGE
from tlsrt.config.issuer_chain import encode_chain
from tlsrt.supervisor.authority.door.rollout import DoorChange
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry
from tlsrt.supervisor.authority.model.state import Revocation
from tlsrt.supervisor.authority.sessions.key_messages import KeyMessage, KeyMessages
from tlsrt.supervisor.authority.sessions.manager import Session

SINGLE_MAX = 64  # revocations that are sent one by one
SERIALS = 32  # bits: snapshots of one life of the authority, below the count of its lives


class KeyDistribution:
    """Sends to the loops. `sessions` are the components', owned by the provisioner and read here."""

    def __init__(
        self, context: AuthorityContext, messages: KeyMessages, sessions: Mapping[str, Session], door: DoorChange
    ) -> None:
        self._loops = context.loops
        self._messages = messages
        self._epochs = context.epochs
        self._state = context.state
        self._sessions = sessions
        self._door = door
        self._outgoing = context.outgoing
        self._snapshots = context.state.boots << SERIALS  # so that pages of two lives are never put together

    def sessions_of(self, entry: LoopEntry) -> list[Session]:
        """Return the present sessions of a loop's components."""
        found = (self._sessions.get(component) for component in entry.components)
        return [session for session in found if session is not None]

    def provision(self, entry: LoopEntry, now: int) -> None:
        """Send everything to one loop."""
        self._send(entry, self._messages.welcome(self._epochs.serving))
        for component in entry.components if entry.loop != GATE else ():  # it carries messages, and has no secrets
            self._send(entry, self._messages.secret_key(component))
        for epoch in self._epochs.issued:
            self.send_epoch(entry, epoch)
        self.send_snapshot(entry, now)
        if entry.loop == GATE:
            self.send_succession(self._messages.key_version(self._epochs.serving))
            for other in self._loops:
                self.tell_gate_of(other)
        for epoch in self._epochs.issued:
            self._outgoing.send(entry.loop, "prepare", epoch)
            if epoch == self._epochs.current:
                self._outgoing.send(entry.loop, "commit", epoch, self._epochs.grace_ms)
        self.send_feed(entry, now)
        if entry is self._loops.with_door:
            self._door.send()

    def send_epoch(self, entry: LoopEntry, epoch: int) -> None:
        """Send all keys and rights of one epoch to one loop."""
        if self._messages.key_version(epoch) != self._messages.key_version(self._epochs.serving):
            self._send(entry, self._messages.welcome(epoch))  # its tokens have another issuer key
        if entry.is_door:
            return  # it reads no token and no body
        self._send(entry, self._messages.epoch(entry, epoch))
        for session in self.sessions_of(entry):
            self._send_session(entry, session, epoch)

    def send_succession(self, key_version: int) -> None:
        """Have clients told which issuer keys lead to this version. Those that it signs come only afterwards."""
        chain = [statement for statement in self._state.succession if statement.new.version <= key_version]
        if chain and self._loops.gate:
            self._outgoing.send(GATE, "succession", encode_chain(chain))

    def introduce(self, joining: LoopEntry) -> None:
        """Send the others the new mailboxes, and the new gate if the joining loop is Primary."""
        for entry in self._loops.joined:
            if entry is not joining:
                for epoch in self._epochs.issued:
                    self._introduce(entry, joining, epoch)

    def send_mailboxes(self, components: Sequence[str]) -> None:
        """Tell every loop with a right to these components whether they can be called now."""
        for entry in self._loops.joined:
            for session in self.sessions_of(entry):
                for epoch in self._epochs.issued:
                    for page in self._messages.right_pages(session, epoch, components):
                        self._send(entry, page)

    def renew(self, session: Session) -> None:
        """Send the new token of a component's session."""
        for epoch in self._epochs.issued:
            self._send(self._loops.of(session.subject), self._messages.session(session, epoch))

    def send_session(self, session: Session) -> None:
        """Send a component's new session with its rights."""
        for epoch in self._epochs.issued:
            self._send_session(self._loops.of(session.subject), session, epoch)

    def send_revoked(self, revocations: Iterable[Revocation], now: int) -> None:
        """Tell every verifier; of very many at once, by a snapshot."""
        entries = tuple(revocations)
        for entry in self._loops.joined:
            if len(entries) > SINGLE_MAX:
                self.send_snapshot(entry, now)
                continue
            for item in entries:
                self._outgoing.send(entry.loop, "revoked", item.number, item.kind, item.value)

    def send_ended(self, sessions: Sequence[bytes]) -> None:
        """Have every recipient end the calls of these sessions and take nothing of them any more."""
        for entry in self._loops.joined:
            for at in range(0, len(sessions), ENDED_PER_PAGE):
                self._outgoing.send(entry.loop, "sessions_ended", "sessions", [*sessions[at : at + ENDED_PER_PAGE]])

    def send_subject_ended(self, subject: str) -> None:
        """Have every recipient end all calls of a subject that is known no more."""
        for entry in self._loops.joined:
            self._outgoing.send(entry.loop, "sessions_ended", "subjects", [subject.encode()])

    def send_all_ended(self, what: str) -> None:
        """Have every recipient end the calls of all clients (`clients`), or whatever runs (`all`)."""
        for entry in self._loops.joined:
            self._outgoing.send(entry.loop, "sessions_ended", what, [])

    def send_restored(self, number: int, subject: bytes) -> None:
        """Tell every verifier that a subject is no longer revoked."""
        for entry in self._loops.joined:
            self._outgoing.send(entry.loop, "restored", number, subject)

    def send_snapshot(self, entry: LoopEntry, now: int) -> None:
        """Send to one loop all that is revoked."""
        entries = [[item.kind, item.value] for item in self._state.revocations]
        pages = max(1, -(-len(entries) // REVOKED_PER_PAGE))
        self._snapshots += 1
        for page in range(pages):
            part = entries[page * REVOKED_PER_PAGE : (page + 1) * REVOKED_PER_PAGE]
            self._outgoing.send(
                entry.loop, "snapshot", self._snapshots, page, pages, self._state.revocation, now, part
            )  # fmt: skip

    def send_feed(self, entry: LoopEntry, now: int) -> None:
        """Send to one loop that the authority lives, and how many revocations there are."""
        self._outgoing.send(entry.loop, "feed", self._state.revocation, self._epochs.current, now)

    def send_awake(self, entry: LoopEntry, now: int) -> None:
        """Send the same to one that had no feed and asks now: it has been sent all that was said meanwhile."""
        self._outgoing.send(entry.loop, "awake", self._state.revocation, self._epochs.current, now)

    def tell_gate_of(self, entry: LoopEntry) -> None:
        """Tell the gate, if there is one, what is known of a loop."""
        if self._loops.gate:
            placed = [] if entry.is_removed else [*entry.components]
            self._outgoing.send(GATE, "member", entry.loop, entry.incarnation, entry.attested or 0, placed)

    def _introduce(self, entry: LoopEntry, joining: LoopEntry, epoch: int) -> None:
        if joining.loop == GATE and not entry.is_door:
            self._send(entry, self._messages.epoch(entry, epoch))
        for session in self.sessions_of(entry):
            if joining.loop == GATE:
                self._send(entry, self._messages.session(session, epoch))
            for page in self._messages.right_pages(session, epoch, joining.components):
                self._send(entry, page)

    def _send_session(self, entry: LoopEntry, session: Session, epoch: int) -> None:
        self._send(entry, self._messages.session(session, epoch))
        for page in self._messages.right_pages(session, epoch):
            self._send(entry, page)

    def _send(self, entry: LoopEntry, message: KeyMessage) -> None:
        name, fields = message
        self._outgoing.send(entry.loop, name, *fields)
