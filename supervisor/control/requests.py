"""Requests of operators that the authority answers: one table, and one relay.

The supervisor checks only the shape of a request, sends it as the message of the same name, and turns the answer into a
document. It decides nothing: who may ask is the rule of the control socket, and what a name means is known by the
authority.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

from tlsrt.channels.control.authority_channel import AnswerMessage, QuarantineMessage
from tlsrt.config.bundle import MAX_REQUEST_BYTES
from tlsrt.supervisor.control.reports import (
    Document,
    anomalies_document,
    change_document,
    client_document,
    sessions_document,
)
from tlsrt.supervisor.messages.result_codes import KINDS, LONGEST_MS, RESTORED_KINDS
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import ControlVerb, Feature, MessageHandler, Reply, Request
from tlsrt.supervisor.supervision.pending_answers import PendingAnswers

# The authority answers in milliseconds, or when an epoch has moved, which takes 5 s at the most. With a slow disk it is
# late: a record and then the state have half a minute each, before it says that nothing has changed.
ANSWER_S = 65.0
NAME_MAX = 200  # characters of a subject or an id
CLIENT_MAX = 64  # of the name of a client
RULES_TEXT_MAX = 16 * 1024  # of all rules: a token holds less
RIGHTS_MAX = 8  # words; there are two
TTL_MAX_MS = 1 << 48
_AWAY = (
    "the authority is not running now: while it is away no session is opened, and after 3 s every message is refused"
)
_LOST = "the authority died before it answered: list the sessions, and ask again"

MakeDocument = Callable[[int, list[Any]], Document]  # from the result code and the rows of an answer


class Field(NamedTuple):
    """One field of a request; `read` returns its fields of the message, or raises ValueError."""

    key: str
    read: Callable[[Any], tuple[object, ...]]
    default: object = None


class OperatorRequest(NamedTuple):
    """A verb: the fields of its request, in the order of the message, and the answer as a document."""

    fields: tuple[Field, ...]
    document: MakeDocument


def _require(is_right: bool) -> None:
    if not is_right:
        raise ValueError("bad_request")


def _word(words: Collection[str], value: Any) -> tuple[object, ...]:
    _require(isinstance(value, str) and value in words)
    return (value,)


def _text(least: int, most: int, value: Any) -> tuple[object, ...]:
    _require(isinstance(value, str) and least <= len(value) <= most)
    return (value,)


def _whole(most: int, value: Any) -> tuple[object, ...]:
    _require(type(value) is int and 0 <= value <= most)
    return (value,)


def _flag(value: Any) -> tuple[object, ...]:
    _require(type(value) is bool)
    return (int(value),)


def _bytes(value: Any) -> tuple[object, ...]:
    """Read hex of a signing request or a key, or nothing."""
    _require(isinstance(value, str) and len(value) <= 2 * MAX_REQUEST_BYTES)
    return (bytes.fromhex(value),)


def _rules(value: Any) -> tuple[object, ...]:
    """Read [[target, [method, ...]], ...]."""
    _require(isinstance(value, list) and len(str(value)) <= RULES_TEXT_MAX)
    for rule in value:
        _require(isinstance(rule, list) and len(rule) == 2 and isinstance(rule[0], str) and isinstance(rule[1], list))
        _require(all(isinstance(method, str) for method in rule[1]))
    return (value,)


def _rights(value: Any) -> tuple[object, ...]:
    """Read a short list of words, or none: as before."""
    if value is None:
        return (0, [])
    _require(isinstance(value, list) and len(value) <= RIGHTS_MAX)
    return (1, [word for item in value for word in _text(1, CLIENT_MAX, item)])


def _first_page(value: Any) -> tuple[object, ...]:
    return (b"",)


_subject = partial(_text, 0, NAME_MAX)
_client = Field("name", partial(_text, 1, CLIENT_MAX))
_ttl = partial(_whole, TTL_MAX_MS)


REQUESTS: Mapping[str, OperatorRequest] = {
    "sessions": OperatorRequest((Field("", _first_page),), lambda code, rows: sessions_document(rows, "")),
    "revoke": OperatorRequest(
        (Field("kind", partial(_word, KINDS)), Field("what", _subject, ""),
         Field("for_ms", partial(_whole, LONGEST_MS), 0)),
        change_document,
    ),
    "restore": OperatorRequest(
        (Field("kind", partial(_word, RESTORED_KINDS)), Field("what", _subject)), change_document
    ),
    "client_add": OperatorRequest(
        (_client, Field("rules", _rules), Field("ttl_ms", _ttl), Field("http", _flag, False),
         Field("request", _bytes, ""), Field("code_key", _bytes, ""),
         Field("page", partial(_text, 0, CLIENT_MAX), "")),
        client_document,
    ),
    "client_list": OperatorRequest((Field("after", partial(_text, 0, CLIENT_MAX), ""),), client_document),
    "client_renew": OperatorRequest(
        (_client, Field("ttl_ms", _ttl, 0), Field("request", _bytes, ""), Field("code_key", _bytes, "")),
        client_document,
    ),
    "client_revoke": OperatorRequest((_client,), change_document),
    "client_set": OperatorRequest((_client, Field("rules", _rules, []), Field("may", _rights)), change_document),
    "job_list": OperatorRequest((Field("after", _bytes, ""),), client_document),
    **dict.fromkeys(
        ("job_remove", "job_show", "job_pause", "job_resume"),
        OperatorRequest((Field("job", partial(_text, 1, CLIENT_MAX)),), client_document),
    ),
    "anomalies": OperatorRequest((), lambda code, rows: anomalies_document(rows)),
    "release": OperatorRequest((Field("name", partial(_text, 1, NAME_MAX)),), change_document),
}  # fmt: skip


class _RunningRequest(NamedTuple):
    document: MakeDocument
    rows: list[Any]


class OperatorRequests(Feature):
    """Sends requests to the authority, and its answers back; knows who is in quarantine."""

    def __init__(self, context: Context, authority: AuthorityProcess) -> None:
        self._authority = authority
        self._pending = PendingAnswers[_RunningRequest](context.event_loop)
        self.quarantined: list[str] = []

    def messages(self) -> Mapping[str, MessageHandler]:
        return {"answer": self._answered, "quarantine": self._quarantine}

    def verbs(self) -> Mapping[str, ControlVerb]:
        return {name: ControlVerb(partial(self._relay, name)) for name in REQUESTS}

    def authority_lost(self) -> None:
        """Answer all: how much was done of what the authority was asked is unknown."""
        self.quarantined = []  # the next one says anew who is in it
        self._pending.answer_all({"unavailable": [_LOST]})

    def stopping(self) -> None:
        self._pending.answer_all({"error": "stopping"})

    def ask(self, reply: Reply, document: MakeDocument, name: str, *fields: object) -> None:
        """Send a message with a number before its fields; `reply` gets the document of its answer."""
        late = {"unavailable": [f"the authority did not answer in {ANSWER_S:g} s"]}
        number = self._pending.hold(reply, _RunningRequest(document, []), longest_s=ANSWER_S, late=late)
        if not self._authority.channel.ask(name, number, *fields):
            self._pending.answer(number, {"unavailable": [_AWAY]})

    def _relay(self, name: str, request: Request, reply: Reply) -> None:
        row = REQUESTS[name]
        try:
            fields = [one for field in row.fields for one in field.read(request.get(field.key, field.default))]
        except ValueError:
            reply({"error": "bad_request"})
            return
        self.ask(reply, row.document, name, *fields)

    def _answered(self, message: AnswerMessage) -> None:
        asked = self._pending.get(message.number)
        if asked is None:
            return  # it came too late
        asked.rows.extend(message.rows)
        if message.more and self._authority.channel.ask("sessions", message.number, bytes.fromhex(message.rows[-1][1])):
            return
        document = asked.document(message.code, asked.rows)
        if "unwritten" in document:
            document["unwritten"] = self._authority.unwritten
        self._pending.answer(message.number, document)

    def _quarantine(self, message: QuarantineMessage) -> None:
        self.quarantined = [str(name) for name in message.names]
