"""Records of what components have done for them: in the audit log before it has an effect. Pure.

That is a setting of the kernel, or something of the runtime itself. With the record of a backup goes the key of that
one archive, for the process that writes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_requests import PageServedMessage, RuntimeActMessage, SettingMessage
from tlsrt.config import key_schedule
from tlsrt.config.runtime_rights import Act
from tlsrt.supervisor.archive.sealed_archive import SALT_BYTES
from tlsrt.supervisor.authority.door.files import seal_copy
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.ports import Patience, Service, SupervisorHandler
from tlsrt.supervisor.authority.named_subjects import NamedSubjects, NotNamed
from tlsrt.supervisor.messages.result_codes import ResultCode

RECORD = Patience(2_000)  # a component waits; what comes later is refused, and the log says that it was not done


class SettingRecords(Service):
    """Answers the supervisor when the record is on the disk, or that it is not."""

    def __init__(self, context: AuthorityContext, subjects: NamedSubjects) -> None:
        self._context = context
        self._subjects = subjects

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {"setting": self._setting, "runtime_act": self._runtime_act, "page_served": self._page_served}

    def _setting(self, message: SettingMessage, moment: Moment) -> None:
        number, component, path, value, words = message
        self._record(
            number, "setting", component, {"path": path, "value": words or value}, moment, partial(self._done, number)
        )

    def _runtime_act(self, message: RuntimeActMessage, moment: Moment) -> None:
        number, component, act, target, subject, asker = message
        try:
            named, by = self._subjects.of_act(component, act, subject, asker)
        except NotNamed as error:
            self._context.answer(number, ResultCode.REFUSED, [int(error.outcome)])
            return
        done = partial(self._give_key, number) if act == Act.BACKUP else partial(self._done, number, [[named, by]])
        detail = {"act": act, "target": target or named} | ({"asker": by} if by else {})
        self._record(number, "runtime_act", component, detail, moment, done)

    def _page_served(self, message: PageServedMessage, moment: Moment) -> None:
        number, page = message
        self._record(number, "page_served", "primary", {"page": page}, moment, partial(self._done, number))

    def _done(self, number: int, rows: list[object] | None = None) -> None:
        self._context.answer(number, ResultCode.DONE, rows or [])

    def _give_key(self, number: int) -> None:
        """Give the key of an archive, and its salt, by which commands find the key again."""
        salt = self._context.randomness(SALT_BYTES)
        key = key_schedule.host_archive_key(self._context.keys.newest.secrets, salt)
        sealed = seal_copy("archive-key", salt + key)
        self._context.outgoing.tell("archive_key", number, descriptors=[sealed])
        os.close(sealed)
        self._context.answer(number, ResultCode.DONE, [])

    def _record(
        self, number: int, kind: str, component: str, detail: Mapping[str, str | int], moment: Moment,
        done: Callable[[], None],
    ) -> None:  # fmt: skip
        self._context.recorder.before(
            kind, component, detail, moment,
            done,
            lambda why: self._context.answer(number, ResultCode.UNCHANGED, [why]), RECORD,
        )  # fmt: skip
