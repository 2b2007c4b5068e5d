"""The supervisor's part of `client`: it carries words to the authority, and the answer back. It decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsrt.config.bundle import MAX_REQUEST_BYTES
from tlsrt.supervisor.control.session_report import Document, report_of
from tlsrt.supervisor.control.session_requests import SessionRequests
from tlsrt.supervisor.messages.result_codes import ResultCode
from tlsrt.supervisor.supervision.feature import Feature, Reply, Verb

NAME_MAX = 64
RULES_TEXT_MAX = 16 * 1024  # of all rules: a token holds less
MAY_MAX = 8  # words; there are two
_TTL_MAX = 1 << 48


class ClientRequests(Feature):
    """The verbs of the control socket."""

    def __init__(self, requests: SessionRequests) -> None:
        self._requests = requests

    def verbs(self) -> Mapping[str, Verb]:
        return {
            "client_add": Verb(self.add),
            "client_list": Verb(self.list),
            "client_renew": Verb(self.renew),
            "client_revoke": Verb(self.revoke),
            "client_set": Verb(self.set),
        }

    def add(self, request: Mapping[str, object], reply: Reply) -> None:
        """Ask for a new client: `name`, `rules`, `ttl_ms`, `http`, `request` (hex of a signing request, or empty)."""
        name, rules, http = request.get("name"), request.get("rules"), request.get("http", False)
        ttl_ms, signing = request.get("ttl_ms"), _bytes_of(request.get("request", ""))
        is_shaped = _is_name(name) and _are_rules(rules) and type(http) is bool and _is_ttl(ttl_ms)
        if not is_shaped or signing is None:
            reply({"error": "bad_request"})
            return
        self._requests.ask(reply, _document, "client_add", name, rules, ttl_ms, int(http is True), signing)

    def renew(self, request: Mapping[str, object], reply: Reply) -> None:
        """Ask for another certificate: `name`, `ttl_ms` (0: as before), `request`."""
        name, ttl_ms = request.get("name"), request.get("ttl_ms", 0)
        signing = _bytes_of(request.get("request", ""))
        if not _is_name(name) or not _is_ttl(ttl_ms) or signing is None:
            reply({"error": "bad_request"})
            return
        self._requests.ask(reply, _document, "client_renew", name, ttl_ms, signing)

    def revoke(self, request: Mapping[str, object], reply: Reply) -> None:
        """Ask for the end of a client: `name`."""
        name = request.get("name")
        if not _is_name(name):
            reply({"error": "bad_request"})
            return
        self._requests.ask(reply, report_of, "client_revoke", name)

    def set(self, request: Mapping[str, object], reply: Reply) -> None:
        """Ask for other rights: `name`, `rules` (none: as before), `may` (a list of words; absent: as before)."""
        name, rules, may = request.get("name"), request.get("rules", []), request.get("may")
        if not _is_name(name) or not _are_rules(rules) or not _is_may(may):
            reply({"error": "bad_request"})
            return
        self._requests.ask(reply, report_of, "client_set", name, rules, int(may is not None), may or [])

    def list(self, request: Mapping[str, object], reply: Reply) -> None:
        """Ask for the clients that follow `after`."""
        after = request.get("after", "")
        if not isinstance(after, str) or len(after) > NAME_MAX:
            reply({"error": "bad_request"})
            return
        self._requests.ask(reply, _document, "client_list", after)


def _document(code: int, rows: list[Any]) -> Document:
    """Return what was answered, with bytes as hex."""
    if code in (ResultCode.REFUSED, ResultCode.UNCHANGED):
        return {"refused" if code == ResultCode.REFUSED else "unavailable": [str(sentence) for sentence in rows]}
    return {"rows": _as_json(rows)}


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return [_as_json(item) for item in value] if isinstance(value, list) else value


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= NAME_MAX


def _is_ttl(value: object) -> bool:
    return type(value) is int and 0 <= value <= _TTL_MAX


def _are_rules(rules: object) -> bool:
    """Tell whether this is [[target, [method, ...]], ...]; what it says is the authority's to judge."""
    if not isinstance(rules, list) or len(str(rules)) > RULES_TEXT_MAX:
        return False
    return all(
        isinstance(rule, list) and len(rule) == 2 and isinstance(rule[0], str) and isinstance(rule[1], list)
        and all(isinstance(method, str) for method in rule[1])
        for rule in rules
    )  # fmt: skip


def _is_may(may: object) -> bool:
    """Tell whether this is a short list of words, or nothing; what it says is the authority's to judge."""
    if may is None:
        return True
    return isinstance(may, list) and len(may) <= MAY_MAX and all(_is_name(word) for word in may)


def _bytes_of(text: object) -> bytes | None:
    if not isinstance(text, str) or len(text) > 2 * MAX_REQUEST_BYTES:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None
