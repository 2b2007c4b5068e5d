"""What the authority does when the host changes under it: a reload, another master_key, an epoch that is asked for.

Everything is checked as at a boot before it is taken; what is refused has changed nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from tlsrt.channels.control.authority_channel import NumberMessage, ReloadMessage, RotateMessage
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, PeerError
from tlsrt.supervisor.authority.boot import check_reload
from tlsrt.supervisor.authority.door.files import DoorFiles, read_door_files, read_file
from tlsrt.supervisor.authority.keys.secret_memory import wipe
from tlsrt.supervisor.authority.master_key_rotation import MasterKeyRotation
from tlsrt.supervisor.authority.model.log import log
from tlsrt.supervisor.authority.model.state import AuthorityState
from tlsrt.supervisor.authority.wiring import Service
from tlsrt.supervisor.messages.policy import POLICY_MAX, unpack_policy

SENTENCE_MAX = 1000
SENTENCES_MAX = 32


def told(sentences: Sequence[str]) -> list[str]:
    """Return sentences as they fit into one packet."""
    return [sentence[:SENTENCE_MAX] for sentence in sentences][:SENTENCES_MAX]


class HostReload:
    """The supervisor's requests. Times are BOOTTIME in ms, but for `wall`."""

    def __init__(
        self,
        config: Config,
        mac_key: bytes,
        state: AuthorityState,
        rekeying: MasterKeyRotation,
        service: Service,
        office: ControlChannel,
        tell: Callable[..., None],
    ) -> None:
        self._config = config
        self._mac_key = mac_key
        self._state = state
        self._rekeying = rekeying
        self._service = service
        self._office = office
        self._tell = tell
        self.on_lost: Callable[[str], None] = lambda reason: None  # the supervisor cannot be told anything any more
        self.on_rekeyed: Callable[[bytes], None] = lambda audit_public: None  # another master_key counts from now on
        self.handlers: dict[str, Callable[[Any, list[int], int, int], None]] = {
            "reload": self._reload,
            "taken": self._taken,
            "move": lambda message, descriptors, now, wall: service.changes.move(message.number, now),
            "rekey": self._rekey,
            "rotate": self._rotate,
        }

    def keep_door(self) -> None:
        """Give the supervisor what the next authority of this life is to boot with: files on the disk may change."""
        try:
            self._office.send("kept", descriptors=self._service.door.files.kept)
        except PeerError as error:
            self.on_lost(error.reason)

    def _reload(self, message: ReloadMessage, descriptors: list[int], now: int, wall: int) -> None:
        number, moves = message.number, bool(message.moves)
        service = self._service
        token, measurement, policy, *door_files = descriptors
        files: DoorFiles | None = None
        try:
            seal, warnings = check_reload(self._config, self._mac_key, (token, measurement), self._state)
            rights = service.rights_of_policy(unpack_policy(read_file(policy, "the policy", POLICY_MAX)))
            files = read_door_files(*door_files)
            files.check_time(wall)
        except ConfigError as error:
            if files is not None:
                files.close()
            self._refuse_reload(number, error.problems)
            return
        finally:
            for descriptor in (policy, *door_files):
                os.close(descriptor)
        change = "" if files.digest == service.door.files.digest else f"certificate good until {files.ends:%Y-%m-%d}"
        sentences = [*warnings, *files.warnings(wall)]

        def tried(problems: Sequence[str]) -> None:
            if problems:
                self._refuse_reload(number, problems)
                return
            service.audit.before(
                "reload", "host", {"seal": seal, "moves": int(moves), "door": change}, now, wall, recorded,
                lambda sentence: self._refuse_reload(number, [f"{sentence}; nothing was changed, so reload again"]),
            )  # fmt: skip

        def recorded() -> None:
            if moves and not service.changes.hold(seal, rights):
                self._refuse_reload(
                    number, ["the authority's state cannot be written: make room on its disk, and reload again"]
                )
                return
            self._tell("checked", number, 1, told(sentences), change)

        service.door.propose(number, files, now, tried)

    def _refuse_reload(self, number: int, problems: Sequence[str]) -> None:
        self._tell("checked", number, 0, told(problems), "")
        for sentence in problems:
            log(f"refused to reload: {sentence}")

    def _taken(self, message: NumberMessage, descriptors: list[int], now: int, wall: int) -> None:
        before = self._service.door.files
        self._service.taken(message.number, now, wall)
        if self._service.door.files is not before:
            self.keep_door()

    def _rekey(self, message: NumberMessage, descriptors: list[int], now: int, wall: int) -> None:
        number = message.number
        try:
            sentences = self._rekeying.check(number, descriptors, overlap_ms=self._service.changes.overlap_ms(now))
        except ConfigError as error:
            self._refuse_key(number, error.problems)
            return
        self._service.audit.before(
            "rekey", "host", {}, now, wall, lambda: self._tell("rekeyed", number, 1, told(sentences)),
            lambda sentence: self._refuse_key(number, [f"{sentence}; nothing was changed, so rotate again"]),
        )  # fmt: skip

    def _refuse_key(self, number: int, sentences: Sequence[str]) -> None:
        self._tell("rekeyed", number, 0, told(sentences))
        for sentence in sentences:
            log(f"refused another master_key: {sentence}")

    def _rotate(self, message: RotateMessage, descriptors: list[int], now: int, wall: int) -> None:
        """Change the epoch; with the keys that were checked under this number, if the supervisor says so."""
        number, with_keys = message.number, bool(message.with_keys)
        keys = self._rekeying.take(number)
        if with_keys and keys is None:
            raise PeerError("no_keys")  # it has taken another master_key, so we must boot with it
        if with_keys and keys is not None:
            wipe(self._mac_key)
            self._mac_key = keys.mac_key
            self.on_rekeyed(keys.audit_public)
        changes, audit, used = self._service.changes, self._service.audit, keys if with_keys else None
        detail: dict[str, str | int] = {"master_key": used.keys.issuer.key_version} if used is not None else {}

        def unrecorded(sentence: str) -> None:
            if used is None:
                self._tell("rotated", number, 0, 0, [], [f"{sentence}; nothing was changed, so rotate again"])
            else:  # the new key is in its place, and there is no way back
                log(f"rotating without a record: {sentence}")
                changes.rotate(number, used, now)

        audit.before("rotate", "host", detail, now, wall, lambda: changes.rotate(number, used, now), unrecorded)
