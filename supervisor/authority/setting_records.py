"""Records of what components have done for them: in the audit log before it has an effect. Pure.

That is a setting of the kernel, or something of the runtime itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_requests import RuntimeActMessage, SettingMessage
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.ports import Patience, Service, SupervisorHandler
from tlsrt.supervisor.messages.result_codes import ResultCode

RECORD = Patience(2_000)  # a component waits; what comes later is refused, and the log says that it was not done


class SettingRecords(Service):
    """Answers the supervisor when the record is on the disk, or that it is not."""

    def __init__(self, context: AuthorityContext) -> None:
        self._context = context

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {"setting": self._setting, "runtime_act": self._runtime_act}

    def _setting(self, message: SettingMessage, moment: Moment) -> None:
        number, component, path, value, words = message
        self._record(number, "setting", component, {"path": path, "value": words or value}, moment)

    def _runtime_act(self, message: RuntimeActMessage, moment: Moment) -> None:
        number, component, act, target = message
        self._record(number, "runtime_act", component, {"act": act, "target": target}, moment)

    def _record(self, number: int, kind: str, component: str, detail: Mapping[str, str | int], moment: Moment) -> None:
        self._context.recorder.before(
            kind, component, detail, moment,
            lambda: self._context.answer(number, ResultCode.DONE, []),
            lambda why: self._context.answer(number, ResultCode.UNCHANGED, [why]), RECORD,
        )  # fmt: skip
