"""The supervisor's part of `anomalies` and `quarantine`: it carries words to the authority, and the answer back."""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.channels.control.authority_channel import QuarantineMessage
from tlsrt.supervisor.control.detection_report import anomalies_of
from tlsrt.supervisor.control.session_report import report_of
from tlsrt.supervisor.control.session_requests import NAME_MAX, SessionRequests
from tlsrt.supervisor.supervision.feature import Feature, MessageHandler, Reply, Verb


class DetectionRequests(Feature):
    """What is asked, and who is in quarantine, as the authority last said."""

    def __init__(self, requests: SessionRequests) -> None:
        self._requests = requests
        self.quarantined: list[str] = []

    def messages(self) -> Mapping[str, MessageHandler]:
        return {"quarantine": self._quarantine}

    def verbs(self) -> Mapping[str, Verb]:
        return {"anomalies": Verb(self.anomalies), "release": Verb(self.release)}

    def anomalies(self, request: Mapping[str, object], reply: Reply) -> None:
        """Ask for scores, steps and detectors."""
        self._requests.ask(reply, lambda code, rows: anomalies_of(rows), "anomalies")

    def release(self, request: Mapping[str, object], reply: Reply) -> None:
        """Ask for the end of what is done about somebody: `name`."""
        name = request.get("name")
        if not isinstance(name, str) or not 0 < len(name) <= NAME_MAX:
            reply({"error": "bad_request"})
            return
        self._requests.ask(reply, report_of, "release", name)

    def authority_lost(self) -> None:
        """The authority has died; the next one says anew who is in quarantine."""
        self.quarantined = []

    def _quarantine(self, message: QuarantineMessage) -> None:
        self.quarantined = [str(name) for name in message.names]
