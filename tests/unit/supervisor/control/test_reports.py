"""What people and programs read of sessions and revocations, and what they may ask."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.channels.control.authority_channel import AnswerMessage
from tlsrt.errors import InvalidArgument, TlsrtError
from tlsrt.supervisor.cli.exchange import ask
from tlsrt.supervisor.cli.main import main
from tlsrt.supervisor.cli.sessions import duration_ms, restored_lines, revoked_lines, session_lines
from tlsrt.supervisor.control.reports import change_document, sessions_document
from tlsrt.supervisor.control.requests import OperatorRequests
from tlsrt.supervisor.messages.result_codes import ROWS_MAX, ResultCode
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.supervision.context import Context

CLIENT = [
    "session",
    "ab" * 16,
    "client/admin",
    "client",
    "active",
    5_000,
    295_000,
    28_795_000,
    5_000,
    0,
    "cd" * 16,
    "",
    "192.0.2.7",
]
CONSOLE = [
    "session",
    "ef" * 16,
    "third/console",
    "third",
    "active",
    90_000,
    55_000,
    28_710_000,
    4_000,
    3,
    "01" * 16,
    "",
    "",
]
SHUT = [["revoked", "client/eve", 0, 1], ["revoked", "third/io", 61_000, 0]]


def test_the_table_of_sessions() -> None:
    document = sessions_document(
        [CLIENT, CONSOLE, *SHUT], "cannot write the authority's state: No space left on device"
    )
    assert session_lines(document) == [
        "SESSION   SUBJECT        HELD BY    STATE          AGE  TOKEN ENDS IN     ENDS IN    RENEWED  TIMES",
        "efefefef  third/console  third      active  1 min 30 s         55.0 s  7 h 58 min  4.0 s ago      3",
        "abababab  client/admin   192.0.2.7  active       5.0 s     4 min 55 s  7 h 59 min          -      0",
        "revoked: client/eve, until restored",
        "revoked: third/io, for 1 min 1 s",
        "not persisted: cannot write the authority's state: No space left on device",
    ]
    assert document["sessions"][0]["token_id"] == "01" * 16
    assert document["revoked"] == [
        {"subject": "client/eve", "for_ms": None},
        {"subject": "third/io", "for_ms": 61_000},
    ]


def test_what_a_revocation_says() -> None:
    rows: list[Any] = [["subject", "client/admin", 0], ["count", 1], CLIENT[:4]]
    assert revoked_lines(change_document(ResultCode.DONE, rows)) == [
        "revoked client/admin, until restored", "session closed: abababab of client/admin", "persisted",
    ]  # fmt: skip
    assert revoked_lines(change_document(ResultCode.UNWRITTEN, [["count", 0]])) == ["no session was open"]
    many: list[Any] = [["epoch", 9], ["count", ROWS_MAX + 7], *[CLIENT[:4]] * ROWS_MAX]
    assert revoked_lines(change_document(ResultCode.DONE, many))[-3:] == [
        "7 more sessions closed",
        "epoch 9",
        "persisted",
    ]
    assert restored_lines(change_document(ResultCode.DONE, [["subject", "third/io", 0]])) == [
        "restored third/io", "persisted",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "rows", "exit_code"),
    [(ResultCode.REFUSED, ["no such thing"], 64), (ResultCode.UNCHANGED, ["no room"], 69)],
)
def test_a_failure_is_said_and_has_its_code(
    code: ResultCode, rows: list[Any], exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answering:
        def __init__(self, run_dir: Path, uids: Collection[int]) -> None: ...
        def __enter__(self) -> Answering:
            return self

        def __exit__(self, *reason: object) -> None: ...
        def ask(self, verb: str, **fields: object) -> dict[str, Any]:
            return change_document(code, rows)

    monkeypatch.setattr("tlsrt.supervisor.control.client.ControlClient", Answering)
    with pytest.raises(TlsrtError, match=rows[0]) as caught:
        ask(cast("Any", SimpleNamespace(run_dir=Path(), path=Path())), "revoke")
    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("90s", 90_000), ("15m", 900_000), ("2h", 7_200_000), ("7d", 604_800_000), ("0s", None), ("", None), ("5", None),
     ("-5s", None), ("5 s", None), ("1.5h", 5_400_000), ("99999d", None), ("٣s", None), ("9999999999s", None)],
)  # fmt: skip
def test_durations(text: str, milliseconds: int | None) -> None:
    if milliseconds is not None:
        assert duration_ms(text) == milliseconds
        return
    with pytest.raises(InvalidArgument, match="invalid duration"):
        duration_ms(text)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "say what to revoke"),
        (("client",), "say what to revoke"),
        (("client", "admin", "--for", "soon"), 'invalid duration "soon": use 90s, 15m, 2h or 7d'),
        (("session", "abcd", "--for", "1h"), "a session ends for good"),
        (("--all", "--for", "1h"), "revoke --all takes nothing else"),
        (("client", "admin", "--all"), "revoke --all takes nothing else"),
    ],
)
def test_wrong_words_are_one_sentence_and_ask_nobody(
    words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlsrt.config.load.load_config", lambda path: None)
    assert main(["revoke", *words, "--config", "/dev/null"]) == 64
    said = capsys.readouterr()
    assert said.err.startswith(f"tlsrt-supervisor: {sentence}") and said.err.count("\n") == 1
    assert said.out == ""


# The supervisor's part


class Booth:
    """An authority that takes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.is_there = True
        self.unwritten = ""
        self.channel = self

    def ask(self, name: str, *fields: object) -> bool:
        self.asked.append((name, *fields))
        return self.is_there


@pytest.fixture
def booth() -> Booth:
    return Booth()


@pytest.fixture
def requests(booth: Booth) -> OperatorRequests:
    context = Context(None, EventLoop(), None, -1)  # type: ignore[arg-type]
    return OperatorRequests(context, cast("Any", booth))


def request(requests: OperatorRequests, verb: str, request: dict[str, object], reply: Any) -> None:
    requests.verbs()[verb].answer(request, reply)


def test_pages_are_asked_for_one_after_the_other(booth: Booth, requests: OperatorRequests) -> None:
    answers: list[dict[str, Any]] = []
    answer = requests.messages()["answer"]
    request(requests, "sessions", {}, answers.append)
    assert booth.asked == [("sessions", 1, b"")]
    answer(AnswerMessage(1, 0, 1, [CLIENT]))
    assert booth.asked[1:] == [("sessions", 1, b"\xab" * 16)] and answers == []
    answer(AnswerMessage(1, 0, 0, [CONSOLE]))
    assert [session["subject"] for session in answers[0]["sessions"]] == ["third/console", "client/admin"]
    answer(AnswerMessage(1, 0, 0, [CONSOLE]))  # said twice is said once
    assert len(answers) == 1


@pytest.mark.parametrize(
    "request_",
    [{}, {"kind": "planet", "what": "x"}, {"kind": "client", "what": 5}, {"kind": "client", "what": "x" * 300},
     {"kind": "client", "what": "x", "for_ms": -1}, {"kind": "client", "what": "x", "for_ms": True},
     {"kind": "client", "what": "x", "for_ms": 1 << 60}],
)  # fmt: skip
def test_what_is_no_request_reaches_nobody(
    booth: Booth, requests: OperatorRequests, request_: dict[str, object]
) -> None:
    answers: list[dict[str, Any]] = []
    request(requests, "revoke", request_, answers.append)
    request(requests, "restore", {**request_, "kind": "session"}, answers.append)
    assert answers == [{"error": "bad_request"}] * 2 and booth.asked == []


def test_without_an_authority_it_is_said_what_that_means(booth: Booth, requests: OperatorRequests) -> None:
    answers: list[dict[str, Any]] = []
    request(requests, "revoke", {"kind": "all"}, answers.append)
    requests.authority_lost()
    booth.is_there = False
    request(requests, "restore", {"kind": "client", "what": "admin"}, answers.append)
    assert "died before it answered" in answers[0]["unavailable"][0]
    assert "not running now" in answers[1]["unavailable"][0]
    booth.is_there = True
    request(requests, "sessions", {}, answers.append)
    requests.stopping()
    assert answers[2] == {"error": "stopping"}
