"""A service of the authority with a recording outlet and a clock that the test moves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates
from hosts.authority_host import CA, NONCE, SERVER, Client, make_config

from fakes.ports import PromptStore, SwitchedRecorder
from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.trust import TRUST
from tlsrt.config import key_schedule
from tlsrt.supervisor.authority.boot import Booted
from tlsrt.supervisor.authority.clients.ca import CaKey
from tlsrt.supervisor.authority.door.files import DoorFiles
from tlsrt.supervisor.authority.model.state import AuthorityState
from tlsrt.supervisor.authority.sessions.event_notes import EventNotes
from tlsrt.supervisor.authority.sessions.policy import RightsTable
from tlsrt.supervisor.authority.trust_connection import sender_of
from tlsrt.supervisor.authority.wiring import Ports, wire

Kind = TypeVar("Kind")
Said = tuple[str, str, tuple[Any, ...]]
PRIMARY, SECONDARY, THIRD = ("primary", 1), ("secondary", 2), ("third", 3)


class FakeAuthorityService:
    """A service with a recording outlet and a clock that the test moves."""

    def __init__(
        self, folder: Path, store: int, *, resumed: bool = False, state: AuthorityState | None = None,
        now: int = 1_000_000, **changes: Any,
    ) -> None:  # fmt: skip
        self.now, self.wall = now, 1_800_000_000_000
        self.said: list[Said] = []
        self.told: list[tuple[Any, ...]] = []
        self.lines: list[str] = []
        self.blocked: set[str] = set()
        self.config = replace(make_config(folder, epoch_s=10_000_000.0), **changes)
        self.state = state or AuthorityState(epoch=5, boots=2)
        own = load_pem_x509_certificates(SERVER.certificate_pem)[0]
        door = DoorFiles(
            10, 11, 12, 13, tuple(load_pem_x509_certificates(CA.certificate_pem)), chain=(own,) if own else ()
        )
        ca_key = CaKey(load_pem_private_key(CA.key_pem, None))  # type: ignore[arg-type]
        run = bytes(bytearray(b"r" * 32))  # a copy of its own: it is wiped when it is replaced
        booted = Booted(run, b"s" * 32, key_schedule.boot_id(NONCE), self.state, door, (), resumed, ca_key=ca_key)
        self.recorder, self.notes = SwitchedRecorder(), EventNotes()
        randomness = random.Random(5).randbytes
        self.store = PromptStore(store)
        ports = Ports(self.store, self, self.recorder, self.notes, randomness, lambda: self.moment)
        wired = wire(self.config, booted, NONCE, ports)
        self.dispatcher, self.context, self.provisioner = wired.dispatcher, wired.context, wired.provisioner
        self.detection = wired.detection
        self.lock, self.revocations, self.changes = (
            wired.provisioner.lock, wired.provisioner.revocations, wired.provisioner.changes
        )  # fmt: skip
        self.provisioner.start(self.now, ("primary", "secondary", "third"), is_resumed=resumed)

    def the(self, kind: type[Kind]) -> Kind:
        """Return the service of a class."""
        (found,) = (service for service in self.dispatcher.services if isinstance(service, kind))
        return found

    def new_notes(self) -> EventNotes:
        """Return the notes, without those of before."""
        self.notes._waiting.clear()
        return self.notes

    def send(self, loop: str, name: str, *fields: object, descriptors: Sequence[int] = ()) -> None:
        self.said.append((loop, name, fields))

    def tell(self, name: str, *fields: object, descriptors: Sequence[int] = ()) -> None:
        self.told.append((name, *fields))

    def is_blocked(self, loop: str) -> bool:
        return loop in self.blocked

    def log(self, line: str) -> None:
        self.lines.append(line)

    @property
    def moment(self) -> Moment:
        return Moment(self.now, self.wall)

    def hear(self, loop: str, name: str, *fields: object) -> None:
        """Have the service hear a loop, by way of the table, in a state in which this may be said."""
        (state, *_) = TRUST.by_name[name].states
        _, message = TRUST.decode_untrusted(TRUST.encode(name, *fields), sender_of(loop), state)
        self.dispatcher.heard(loop, name, message, self.moment)

    def ask(self, name: str, *fields: object) -> None:
        """Have the service hear the supervisor, by way of the table."""
        _, message = AUTHORITY_CHANNEL.decode_untrusted(AUTHORITY_CHANNEL.encode(name, *fields), "supervisor", "booted")
        self.dispatcher.asked(name, message, self.moment)

    def hold(self, seal: int, rights: RightsTable | None = None, *, only_adds: bool = False) -> bool:
        """Hold the epoch for a move; return whether that is persisted."""
        said: list[bool] = []
        self.changes.hold(
            seal, rights, lambda: said.append(True), lambda sentence: said.append(False), only_adds=only_adds
        )
        (is_held,) = said
        return is_held

    def join(self, *loops: tuple[str, int]) -> None:
        for loop, incarnation in loops:
            self.hear(loop, "join")
            self.ask("attested", loop, incarnation, 5)

    def of(self, loop: str, name: str) -> list[tuple[Any, ...]]:
        return [fields for at, said, fields in self.said if (at, said) == (loop, name)]

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass as the shell would: wake up whenever something is due."""
        end = self.now + milliseconds
        while (due := self.dispatcher.next_due()) is not None and due <= end:
            self.wall += max(0, due - self.now)
            self.now = max(self.now, due)
            self.dispatcher.tick(self.moment)
        self.wall += end - self.now
        self.now = end

    def open(self, connection: int, client: Client) -> Any:
        self.hear("primary", "challenge", connection)
        data, signature = client.open(self.of("primary", "challenged")[-1][1])
        before = len(self.said)
        self.hear("primary", "open", connection, data, signature)
        return self.said[before:]
