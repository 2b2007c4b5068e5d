"""Key messages: keys, tokens and rights, composed for one receiver and one epoch. Pure.

Every key is derived here when it is sent, from the run key, the epoch, and the incarnations in the loop table; nothing
is stored. A right to a recipient that has no mailbox root now is sent all the same, with mailbox 0 and no key: its
holder may call that recipient, once it has joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tlsrt.channels.control.trust import RIGHTS_PER_PAGE
from tlsrt.channels.session.grant import GrantContent, Right
from tlsrt.config import key_schedule
from tlsrt.config.access import Rights
from tlsrt.config.schema import Config
from tlsrt.supervisor.authority.keys.epochs import GRACE_MS
from tlsrt.supervisor.authority.keys.key_ring import KeyRing
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry, LoopTable
from tlsrt.supervisor.authority.sessions.manager import Session
from tlsrt.supervisor.authority.sessions.policy import Policy, RightsTable, Rulebook

PAGE_BYTES = 48 * 1024  # below the cap of a packet, with room for the other fields

KeyMessage = tuple[str, tuple[object, ...]]  # name and fields of a message


class KeyMessages:
    """Composes the messages. `own` returns the policy lines that a client was enrolled with."""

    def __init__(
        self, config: Config, ring: KeyRing, loops: LoopTable, own: Callable[[str], Policy] = lambda subject: ()
    ) -> None:
        self._ring = ring
        self._loops = loops
        components = [component.address for component in config.components]
        subjects = components + [f"client/{client.name}" for client in config.clients]
        self._tables: dict[int, RightsTable] = {0: Rulebook(config.policy, components, subjects, own)}

    @property
    def table(self) -> RightsTable:
        """Return subject -> target -> methods, by the newest policy."""
        return self._tables[max(self._tables)]

    def take(self, epoch: int, table: RightsTable) -> None:
        """Go by another policy from this epoch on."""
        self._tables = {0: self.table, epoch: table}

    def rights(self, subject: str, epoch: int) -> Rights:
        """Return target -> methods by the policy of an epoch."""
        return self._tables[max(first for first in self._tables if first <= epoch)].get(subject, {})

    def concerns(self, subject: str, components: Sequence[str]) -> bool:
        """Tell whether a subject may talk to any of these components."""
        return not self.table.get(subject, {}).keys().isdisjoint(components)

    def welcome(self, epoch: int) -> KeyMessage:
        """Return who the authority is, and the issuer key that tokens of an epoch are signed with."""
        issuer = self._ring.of(epoch).issuer
        return "welcome", (issuer.install, issuer.boot, issuer.public, issuer.key_version)

    def secret_key(self, component: str) -> KeyMessage:
        """Return the key of the secrets of one component, by the newest master_key."""
        keys = self._ring.newest
        key = key_schedule.secret_key(keys.secrets, component)
        return "secret_key", (component, keys.issuer.key_version, key)

    def key_version(self, epoch: int) -> int:
        """Return the version of master_key that an epoch belongs to."""
        return self._ring.of(epoch).issuer.key_version

    def epoch(self, entry: LoopEntry, epoch: int) -> KeyMessage:
        """Return the keys that a loop shares with all others; Primary's has the root of the gate."""
        gate = self._loops.gate
        run = self._ring.of(epoch).run
        root = key_schedule.gate_root(run, epoch, gate) if entry.loop == GATE else b""
        return "epoch", (epoch, key_schedule.token_key(run, epoch), gate, root, self.key_version(epoch))

    def session(self, session: Session, epoch: int) -> KeyMessage:
        """Return a component's session with its own mailbox root, proof key and token."""
        own = self._loops.mailbox(session.subject)
        root = key_schedule.mailbox_root(self._ring.of(epoch).run, session.subject, epoch, own)
        gate, proof = self._proof(session, epoch)
        token = self.token(session, epoch)
        return "session", (
            epoch, session.subject, session.session_id, own, root, gate, proof, token, session.expires, session.ends
        )  # fmt: skip

    def right_pages(self, session: Session, epoch: int, only: Sequence[str] | None = None) -> Iterator[KeyMessage]:
        """Yield a component's rights in pages; `only` limits them to these targets. Never an empty page."""
        page: list[list[object]] = []
        size = 0
        for right in self._keyed(session, epoch):
            if only is not None and right.target not in only:
                continue
            weight = len(right.target) + len(right.key) + sum(len(method) + 5 for method in right.methods) + 32
            if page and (len(page) == RIGHTS_PER_PAGE or size + weight > PAGE_BYTES):
                yield "rights", (epoch, session.subject, page)
                page, size = [], 0
            page.append([right.target, right.mailbox, right.key, list(right.methods)])
            size += weight
        if page:
            yield "rights", (epoch, session.subject, page)

    def grant(
        self, session: Session, epoch: int, now: int, *, grace_ms: int = GRACE_MS, is_trial: bool = False
    ) -> GrantContent:
        """Return all that an external client needs in an epoch. A trial has the size of the largest possible one."""
        gate, proof = self._proof(session, epoch)
        issuer = self._ring.of(epoch).issuer
        return GrantContent(
            now=now,
            install=issuer.install,
            boot=issuer.boot,
            epoch=epoch,
            grace_ms=grace_ms,
            session=session.session_id,
            subject=session.subject,
            token=self.token(session, epoch),
            token_expires=session.expires,
            session_ends=session.ends,
            gate=gate,
            proof_key=proof,
            rights=tuple(self._keyed(session, epoch, at_least=2**63 if is_trial else 0)),
        )

    def proof_key(self, session: Session, epoch: int) -> bytes:
        """Return the proof key of a session in an epoch; raise PeerError for an epoch without keys."""
        return self._proof(session, epoch)[1]

    def token(self, session: Session, epoch: int) -> bytes:
        """Return the session's token in an epoch; raise MisuseError if its caps do not fit one."""
        held = self._ring.of(epoch)
        rights = self.rights(session.subject, epoch)
        return held.issuer.token(session, epoch, key_schedule.token_key(held.run, epoch), rights)

    def _keyed(self, session: Session, epoch: int, at_least: int = 0) -> Iterator[Right]:
        for target, methods in self.rights(session.subject, epoch).items():
            mailbox = max(self._loops.mailbox(target), at_least)
            key = bytes(key_schedule.KEY_BYTES)
            if mailbox:
                root = key_schedule.mailbox_root(self._ring.of(epoch).run, target, epoch, mailbox)
                key = key_schedule.request_key(root, session.session_id)
            yield Right(target, mailbox, key, methods)

    def _proof(self, session: Session, epoch: int) -> tuple[int, bytes]:
        # Before Primary has joined, the key is that of incarnation 0, which no gate ever holds.
        gate = self._loops.gate
        root = key_schedule.gate_root(self._ring.of(epoch).run, epoch, gate)
        return gate, key_schedule.proof_key(root, session.session_id)
