"""What an operator asks of the response: scores, steps and detectors; and to release somebody. Pure but for the outlet.

A row is a list that begins with what it is; `detection_report.py` makes documents of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsrt.channels.control.authority_channel import NumberMessage, ReleaseMessage
from tlsrt.config.detection import DETECTORS, detector_of
from tlsrt.supervisor.authority.detection.escalation import ResponseStep
from tlsrt.supervisor.authority.model.services import Charge, ChargeKind
from tlsrt.supervisor.messages.result_codes import ResultCode

if TYPE_CHECKING:
    from tlsrt.supervisor.authority.detection.service import DetectionService
    from tlsrt.supervisor.authority.service import AuthorityService

ROWS_MAX = 128  # of scores, and of steps: the highest, and those that last longest
WHAT_MAX = 80


class DetectionAdmin:
    """Answers the operator. Times are BOOTTIME in ms, but for `wall`."""

    def __init__(self, service: AuthorityService, response: DetectionService) -> None:
        self._service = service
        self._response = response
        service.office_handlers["anomalies"] = self._anomalies
        service.office_handlers["release"] = self._release

    def _anomalies(self, message: NumberMessage, now: int, wall: int) -> None:
        """Answer with who has points, what is done about whom, and what each detector has found."""
        judge, config = self._response.judge, self._response.config
        rows: list[list[object]] = [["mode", str(config.mode)]]
        scores = sorted(judge.scores(now), key=lambda entry: -entry[1])[:ROWS_MAX]
        rows += [["score", str(one.kind), one.value, self._subject(one), round(score, 1)] for one, score in scores]
        steps = sorted(judge.in_force, key=lambda taken: -taken.until)[:ROWS_MAX]
        rows += [
            ["step", str(taken.step), str(taken.charge.kind), taken.charge.value, taken.detector,
             taken.what[:WHAT_MAX], max(0, taken.until - now), int(taken.is_observed)]
            for taken in steps if taken.step is not ResponseStep.QUARANTINE or taken.is_observed
        ]  # fmt: skip
        rows += [
            [
                "step", str(ResponseStep.QUARANTINE), str(shut.taken.charge.kind), shut.subject, shut.taken.detector,
                shut.taken.what[:WHAT_MAX], max(0, shut.taken.until - now), 0,
            ]
            for shut in list(self._response.actions.quarantined.values())[:ROWS_MAX]
        ]  # fmt: skip
        for name, tally in judge.tallies.items():
            detector = detector_of(name)
            if name in DETECTORS or tally.found:
                mode = str(config.mode_of(detector))
                rows.append(["detector", name, mode, detector.points, tally.found, tally.counted, detector.about])
        self._service.outlet.tell("answer", message.number, int(ResultCode.DONE), 0, rows)

    def _subject(self, charge: Charge) -> str:
        if charge.kind is not ChargeKind.SESSION:
            return ""
        session = self._service.manager.find(bytes.fromhex(charge.value))
        if session is not None:
            return session.subject
        shut = self._response.actions.quarantined.values()  # a session that has ended, by that perhaps
        return next((each.subject for each in shut if each.taken.charge == charge), "")

    def _release(self, message: ReleaseMessage, now: int, wall: int) -> None:
        """End what is done about somebody, by the name of a component, client, loop, or an address."""
        number, name = message
        released = self._response.release(name, now, wall)
        if released is None:
            sentence = "the authority's state cannot be written, so nothing has changed: make room on its disk"
            self._service.outlet.tell("answer", number, int(ResultCode.UNCHANGED), 0, [sentence])
        elif released:
            rows = [["subject", each, 0] for each in released]
            self._service.outlet.tell("answer", number, int(ResultCode.DONE), 0, rows)
        else:
            sentence = f"nothing is done about {name}: `quarantine list` shows about whom"
            self._service.outlet.tell("answer", number, int(ResultCode.REFUSED), 0, [sentence])
