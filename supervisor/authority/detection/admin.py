"""Detection administration: the operator's `detection` and `release`. Pure.

A row is a list that begins with what it is; control/detection_report.py makes documents of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_requests import NumberMessage, ReleaseMessage
from tlsrt.config.detection import DETECTORS, detector_of
from tlsrt.supervisor.authority.detection.escalation import Action
from tlsrt.supervisor.authority.detection.service import DetectionService
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.ports import Service, SignalSource, SourceKind, SupervisorHandler
from tlsrt.supervisor.messages.result_codes import ResultCode

ROWS_MAX = 128  # of scores, and of steps: the highest, and those that last longest
WHAT_MAX = 80


class DetectionAdmin(Service):
    """Answers the operator."""

    def __init__(self, context: AuthorityContext, detection: DetectionService) -> None:
        self._context = context
        self._detection = detection

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {"anomalies": self._anomalies, "release": self._release}

    def _anomalies(self, message: NumberMessage, moment: Moment) -> None:
        """Answer with scores, active actions, and what each detector has found."""
        scoring, config = self._detection.scoring, self._detection.config
        rows: list[list[object]] = [["mode", str(config.mode)]]
        scores = sorted(scoring.scores(moment.now), key=lambda entry: -entry[1])[:ROWS_MAX]
        rows += [["score", str(one.kind), one.value, self._subject(one), round(score, 1)] for one, score in scores]
        actions = sorted(scoring.active, key=lambda applied: -applied.until)[:ROWS_MAX]
        rows += [
            ["step", str(applied.action), str(applied.source.kind), applied.source.value, applied.detector,
             applied.what[:WHAT_MAX], max(0, applied.until - moment.now), int(applied.is_observed)]
            for applied in actions if applied.action is not Action.QUARANTINE or applied.is_observed
        ]  # fmt: skip
        rows += [
            [
                "step", str(Action.QUARANTINE), str(shut.applied.source.kind), shut.subject, shut.applied.detector,
                shut.applied.what[:WHAT_MAX], max(0, shut.applied.until - moment.now), 0,
            ]
            for shut in list(self._detection.actions.quarantined.values())[:ROWS_MAX]
        ]  # fmt: skip
        for name, counts in scoring.detector_counts.items():
            detector = detector_of(name)
            if name in DETECTORS or counts.found:
                mode = str(config.mode_of(detector))
                rows.append(["detector", name, mode, detector.points, counts.found, counts.counted, detector.about])
        self._context.answer(message.number, ResultCode.DONE, rows)

    def _subject(self, source: SignalSource) -> str:
        if source.kind is not SourceKind.SESSION:
            return ""
        session = self._context.sessions.find(bytes.fromhex(source.value))
        if session is not None:
            return session.subject
        shut = self._detection.actions.quarantined.values()  # a session that has ended, by that perhaps
        return next((each.subject for each in shut if each.applied.source == source), "")

    def _release(self, message: ReleaseMessage, moment: Moment) -> None:
        """End all actions against a component, client, loop or address."""
        number, name = message

        def done(released: list[str]) -> None:
            if released:
                self._context.answer(number, ResultCode.DONE, [["subject", each, 0] for each in released])
            else:
                sentence = f"nothing is done about {name}: `quarantine list` shows about whom"
                self._context.answer(number, ResultCode.REFUSED, [sentence])

        self._detection.release(
            name, moment, done, lambda sentence: self._context.answer(number, ResultCode.UNCHANGED, [sentence])
        )
