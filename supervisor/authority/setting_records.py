"""Setting records: a change of a kernel setting is in the audit log before it has an effect. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_requests import SettingMessage
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.ports import Patience, Service, SupervisorHandler
from tlsrt.supervisor.messages.result_codes import ResultCode

RECORD = Patience(2_000)  # a component waits; what comes later is refused, and the log says that it was not done


class SettingRecords(Service):
    """Answers the supervisor when the record is on the disk, or that it is not."""

    def __init__(self, context: AuthorityContext) -> None:
        self._context = context

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {"setting": self._setting}

    def _setting(self, message: SettingMessage, moment: Moment) -> None:
        number, component, path, value, words = message
        self._context.recorder.before(
            "setting", component, {"path": path, "value": words or value}, moment,
            lambda: self._context.answer(number, ResultCode.DONE, []),
            lambda why: self._context.answer(number, ResultCode.UNCHANGED, [why]), RECORD,
        )  # fmt: skip
