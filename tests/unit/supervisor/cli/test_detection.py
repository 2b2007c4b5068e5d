"""What an operator reads of scores."""

from __future__ import annotations

from tlsrt.supervisor.cli.detection import anomaly_lines


def score(kind: str, value: str, points: float, subject: str = "") -> dict[str, object]:
    return {"kind": kind, "value": value, "subject": subject, "score": points}


def test_a_client_with_many_sessions_is_one_line_with_its_highest_score() -> None:
    scores = [
        score("session", "ab" * 16, 15.0, "client/admin"), score("session", "cd" * 16, 9.0, "client/guest"),
        *(score("session", f"{number:032x}", 5.0, "client/admin") for number in range(5)),
        score("address", "192.0.2.1", 2.0), score("channel", "third", 2.0), score("session", "ef" * 16, 1.0),
    ]  # fmt: skip
    lines = anomaly_lines({"mode": "act", "scores": scores, "steps": [], "detectors": []})
    assert [line.split(None, 1) for line in lines[1:]] == [
        ["15", "client/admin: 6 sessions"], ["9", "session cdcdcdcd of client/guest"], ["2", "address 192.0.2.1"],
        ["2", "channel third"], ["1", "session efefefef"],
    ]  # fmt: skip
