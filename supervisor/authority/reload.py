"""Reload in the authority: policy, files, master_key, and epochs on request.

Everything is checked as at a boot before it is taken; what is refused has changed nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_requests import ONLY_ADDS, NumberMessage, ReloadMessage, RotateMessage
from tlsrt.errors import ConfigError, PeerError
from tlsrt.supervisor.audit.recorder import Recorder
from tlsrt.supervisor.authority.boot import check_reload
from tlsrt.supervisor.authority.door.files import DoorFiles, read_door_files, read_file
from tlsrt.supervisor.authority.door.rollout import DoorChange
from tlsrt.supervisor.authority.master_key_rotation import MasterKeyRotation
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.ports import Service, SupervisorHandler
from tlsrt.supervisor.authority.provisioning import Provisioner
from tlsrt.supervisor.authority.sessions.token_sizes import TokenSizes
from tlsrt.supervisor.messages.changed_rules import RULES_MAX, ChangedRules, rules_of, unpack_rules
from tlsrt.supervisor.process.secret_memory import wipe

SENTENCE_MAX = 1000
SENTENCES_MAX = 32
NAMES_MAX = 800  # characters of a record


def told(sentences: Sequence[str]) -> list[str]:
    """Return sentences as they fit into one packet."""
    return [sentence[:SENTENCE_MAX] for sentence in sentences][:SENTENCES_MAX]


class HostReload(Service):
    """Handles the supervisor's requests."""

    def __init__(
        self, context: AuthorityContext, mac_key: bytes, rotation: MasterKeyRotation, provisioner: Provisioner,
        door: DoorChange, sizes: TokenSizes,
    ) -> None:  # fmt: skip
        self._context = context
        self._mac_key = mac_key
        self._rotation = rotation
        self._provisioner = provisioner
        self._changes = provisioner.changes
        self._door = door
        self._sizes = sizes
        self._grants = context.config.grants
        self._rules = rules_of(context.config)
        self._proposed: tuple[int, ChangedRules | None] = (0, None)  # the last request to reload, and its rules
        self._tell = context.outgoing.tell
        self._log = context.outgoing.log

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {
            "reload": self._reload,
            "taken": self._taken,
            "move": self._move,
            "rekey": self._rekey,
            "rotate": self._rotate,
        }

    def keep_door(self) -> None:
        """Give the supervisor the door's files for the next authority: those on the disk may change."""
        self._tell("kept", descriptors=self._door.files.kept)

    def _move(self, message: NumberMessage, moment: Moment) -> None:
        self._changes.move(message.number, moment.now)

    def _reload(
        self, message: ReloadMessage, moment: Moment, token: int, measurement: int, policy: int, *door_files: int
    ) -> None:
        number, moves = message.number, bool(message.moves)
        only_adds = False
        files: DoorFiles | None = None
        try:
            seal, warnings = check_reload(
                self._context.config, self._mac_key, (token, measurement), self._context.state
            )
            rules = unpack_rules(read_file(policy, "the policy", RULES_MAX))
            rights = self._sizes.rights_of(rules)
            only_adds = message.moves == ONLY_ADDS and rules.include(self._rules)
            files = read_door_files(*door_files)
            files.check_time(moment.wall)
        except ConfigError as error:
            if files is not None:
                files.close()
            self._refuse_reload(number, error.problems)
            return
        finally:
            for descriptor in (policy, *door_files):
                os.close(descriptor)
        self._proposed = (number, rules)
        change = "" if files.digest == self._door.files.digest else f"certificate good until {files.ends:%Y-%m-%d}"
        sentences = [*warnings, *files.warnings(moment.wall)]

        def tried(problems: Sequence[str]) -> None:
            if problems:
                self._refuse_reload(number, problems)
                return
            self._context.recorder.before(
                "reload", "host", self._detail(rules, seal, moves=moves, door=change), moment, recorded,
                lambda sentence: self._refuse_reload(number, [f"{sentence}; nothing was changed, so reload again"]),
            )  # fmt: skip

        def recorded() -> None:
            def held() -> None:
                self._tell("checked", number, 1, told(sentences), change)

            def unwritten(sentence: str) -> None:
                sentence = "the authority's state cannot be written: make room on its disk, and reload again"
                self._refuse_reload(number, [sentence])

            if moves:
                self._changes.hold(seal, rights, held, unwritten, only_adds=only_adds)
            else:
                held()

        self._door.propose(number, files, moment.now, tried)

    def _detail(self, rules: ChangedRules, seal: int, *, moves: bool, door: str) -> dict[str, str | int]:
        """Return what the record of a reload says: which components come and go, too."""
        before, after = set(self._context.loops.components), set(rules.components)
        detail: dict[str, str | int] = {"seal": seal, "moves": int(moves), "door": door}
        for name, which in (("added", after - before), ("removed", before - after)):
            if which:
                detail[name] = " ".join(sorted(which))[:NAMES_MAX]
        return detail

    def _refuse_reload(self, number: int, problems: Sequence[str]) -> None:
        self._tell("checked", number, 0, told(problems), "")
        for sentence in problems:
            self._log(f"refused to reload: {sentence}")

    def _taken(self, message: NumberMessage, moment: Moment) -> None:
        number, rules = self._proposed
        if number == message.number and rules is not None:
            self._proposed, self._rules = (0, None), rules
            self._context.loops.change(dict(rules.processes))
            self._sizes.take(rules)
            record_grants(self._context.recorder, [one for one in rules.grants if one not in self._grants], moment)
            self._grants = rules.grants
        before = self._door.files
        if self._door.take(message.number):
            self._provisioner.clients_changed(moment)
        if self._door.files is not before:
            self.keep_door()

    def _rekey(self, message: NumberMessage, moment: Moment, *descriptors: int) -> None:
        number = message.number
        try:
            sentences = self._rotation.check(number, descriptors, overlap_ms=self._changes.overlap_ms(moment.now))
        except ConfigError as error:
            self._refuse_key(number, error.problems)
            return
        self._context.recorder.before(
            "rekey", "host", {}, moment, lambda: self._tell("rekeyed", number, 1, told(sentences)),
            lambda sentence: self._refuse_key(number, [f"{sentence}; nothing was changed, so rotate again"]),
        )  # fmt: skip

    def _refuse_key(self, number: int, sentences: Sequence[str]) -> None:
        self._tell("rekeyed", number, 0, told(sentences))
        for sentence in sentences:
            self._log(f"refused another master_key: {sentence}")

    def _rotate(self, message: RotateMessage, moment: Moment) -> None:
        """Change the epoch. With the keys that were checked under this number, if the supervisor says so."""
        number, with_keys = message.number, bool(message.with_keys)
        keys = self._rotation.take(number)
        if with_keys and keys is None:
            raise PeerError("no_keys")  # it has taken another master_key, so we must boot with it
        if with_keys and keys is not None:
            wipe(self._mac_key)
            self._mac_key = keys.mac_key
            self._context.recorder.name_root_key(keys.audit_public)
        changes, audit, used = self._changes, self._context.recorder, keys if with_keys else None
        detail: dict[str, str | int] = {"master_key": used.keys.issuer.key_version} if used is not None else {}

        def unrecorded(sentence: str) -> None:
            if used is None:
                self._tell("rotated", number, 0, 0, [], [f"{sentence}; nothing was changed, so rotate again"])
            else:  # the new key is in its place, and there is no way back
                self._log(f"rotating without a record: {sentence}")
                changes.rotate(number, used, self._context.now)

        audit.before(
            "rotate", "host", detail, moment, lambda: changes.rotate(number, used, self._context.now), unrecorded
        )


def record_grants(recorder: Recorder, grants: Iterable[str], moment: Moment) -> None:
    """Record what the supervisor opens for components: that an operator wanted it is in the configuration."""
    for what in grants:
        recorder.note("grant", "host", {"what": what}, moment)
