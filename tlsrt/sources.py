"""What an answer may stand on: passages, messages and lines of logs that the asker may read, found for a question.

Each is found by calls over this client's own session, so that nothing is given to a model that the asker could not
read itself. What others have written is in it, perhaps to deceive: all of it is data, bounded, with where it is from
and from when. The components that answer may be captured: what they say is checked, and shown as theirs.
"""

from __future__ import annotations

import asyncio
import re
import textwrap
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from tlsrt.errors import Denied, Failed, NotFound, Unavailable
from tlsrt.when import shown_time
from tlsrt.word_ranking import scores

__all__ = [
    "FILES", "LOGS", "MESSAGES", "OWN", "PASSAGE", "PASSAGES", "SEARCH", "STORE", "Asker", "Gathered", "Period",
    "Source", "expect_some", "filed", "kept", "logged", "mailbox", "period", "received", "searched",
]  # fmt: skip
SEARCH, LOGS, MESSAGES = "secondary/search", "secondary/logs", "external/messages"
FILES, STORE = "third/files", "secondary/store"
_BEHIND = "what has changed of late is not indexed yet, and was not searched"
PASSAGE = 400  # characters: as much as a passage of the search has
PASSAGES = 5  # of each place
OWN = "."  # the namespace that the search takes without one: no other can have this name
_PAGE, _PAGES = 500, 20  # entries of logs that are looked through
_MAILS = 500  # that are looked through
_MAIL_PAGE, _MAILBOX = 100, 4000  # of one answer, and the most that are counted
_SILENCE_S = 5.0
_MAIL_CHARS = 16_000  # of one message that are looked through
_NAME = 200
_LINE_LEAST = 80  # characters that a line of a log counts for, at the least
_DIGITS = re.compile(r"\b[0-9a-f]{16,}\b")  # ids and hashes: much to read, and nothing in it
_NUMBERS = re.compile(r"[0-9a-f]{8,}|[0-9]+")


class Asker(Protocol):
    """Who asks: an AsyncClient, or what calls as a component does."""

    @property
    def rights(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def subject(self) -> str: ...
    async def call(
        self, target: str, method: str, /, *args: object, timeout_s: float = 30.0, idempotent: bool = False,
        **kwargs: object,
    ) -> Any: ...  # fmt: skip
    def stream(
        self, target: str, method: str, /, *args: object, timeout_s: float = 30.0, **kwargs: object
    ) -> AsyncGenerator[Any, None]: ...


@dataclass(frozen=True)
class Source:
    """What an answer may stand on: text that is material and no instruction, and where and when it is from."""

    name: str
    text: str
    place: str = ""  # where it was found; empty: this computer
    at_ms: int | None = None  # wall time, by who keeps it; None: not known
    author: str = ""  # who has put it there, as the host knows it; empty: not known

    @property
    def head(self) -> str:
        """What a model is told of it before its text."""
        return f"{self.name}, {shown_time(self.at_ms)}" if self.at_ms is not None else self.name


@dataclass(frozen=True)
class Gathered:
    """Sources for a question; `notes` are sentences on what was not looked through."""

    sources: list[Source]
    notes: list[str] = field(default_factory=list)


class Period(NamedTuple):
    """A time as `secondary/logs` takes it: both ends; an empty `until` is now."""

    since: str
    until: str = ""


def period(text: str, now: datetime) -> Period:
    """Return `today`, `yesterday` (of local time, as `now` is), `FROM..TO` or `FROM` as a period."""
    if text in ("today", "yesterday"):
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if text == "today":
            return Period(_ms_text(midnight))
        return Period(_ms_text(midnight - timedelta(days=1)), str(int(_ms_text(midnight)) - 1))
    since, _, until = text.partition("..")
    return Period(since, until)


def _ms_text(local: datetime) -> str:
    return str(round(local.timestamp() * 1000))


def _expect(client: Asker, target: str, method: str) -> None:
    """Raise Denied, with what to do, where this client has no such right."""
    rights = client.rights.get(target, ())
    if method not in rights and "*" not in rights:
        raise Denied(
            f"this client may not call {method} of {target}: `tlsrt-supervisor component add {target}` adds it where "
            "it is not there, and `tlsrt-supervisor client set` gives this client the right"
        )


async def searched(
    client: Asker, question: str, namespace: str = OWN, *, most: int = PASSAGES, target: str = SEARCH,
    timeout_s: float = 60.0,
) -> Gathered:  # fmt: skip
    """Return the passages of a namespace that are nearest; `.` is the asker's own. Raises what the call does."""
    _expect(client, target, "search")
    more = {} if namespace == OWN else {"namespace": namespace}
    found = await client.call(
        target, "search", question[:4000], limit=most, timeout_s=timeout_s, idempotent=True, **more
    )
    hits = found.get("hits") if isinstance(found, dict) else None
    if not isinstance(hits, list):
        raise Failed(f"{target} answers with what are no passages")
    place = f"{target}, namespace {client.subject if namespace == OWN else namespace}"
    sources = [_passage_untrusted(one, place) for one in hits[:most]]
    outdated = found.get("outdated")
    notes = [f"{outdated} passages are being made anew, and were not searched"] if outdated else []
    return Gathered(sources, notes)


def _passage_untrusted(hit: Any, place: str) -> Source:
    match hit:
        case {"source": str(name), "kind": str(kind), "at_ms": int(at_ms), "text": str(text)}:
            author = hit.get("author")
            return Source(
                f"{kind} {name[:_NAME]}", text[: 2 * PASSAGE], place, at_ms, author if isinstance(author, str) else ""
            )
    raise Failed("the search answers with what is no passage")


async def filed(
    client: Asker, question: str, tree: str, *, most: int = PASSAGES, target: str = FILES, timeout_s: float = 60.0
) -> Gathered:
    """Return the passages of a tree's texts that are nearest, as the asker may read them. Raises what the call does."""
    _expect(client, target, "find")
    tree = tree.removeprefix(f"{target}/")
    found = await client.call(
        target, "find", tree, question[:4000], min(most, 20), timeout_s=timeout_s, idempotent=True
    )
    sources, is_behind = _found_untrusted(found, target, _file_untrusted)
    notes = [_BEHIND] if is_behind else []
    if isinstance(left_out := found.get("left_out"), int) and left_out:
        notes.append(f"{left_out} files of {tree} are no texts, or too large, and are not in its index")
    return Gathered(
        [Source(f"file {one.name}", one.text, f"{target}, tree {tree}", one.at_ms) for one in sources], notes
    )


async def kept(
    client: Asker, question: str, namespace: str = OWN, *, most: int = PASSAGES, target: str = STORE,
    timeout_s: float = 60.0,
) -> Gathered:  # fmt: skip
    """Return the passages of a namespace's texts that are nearest; `.` is the one that the store takes without a name.

    Raises what the call does.
    """
    _expect(client, target, "find")
    more = {} if namespace == OWN else {"namespace": namespace}
    found = await client.call(
        target, "find", question[:4000], min(most, 20), timeout_s=timeout_s, idempotent=True, **more
    )
    sources, is_behind = _found_untrusted(found, target, _value_untrusted)
    place = target if namespace == OWN else f"{target}, namespace {namespace}"
    return Gathered([Source(one.name, one.text, place) for one in sources], [_BEHIND] if is_behind else [])


def _found_untrusted(found: Any, target: str, source: Callable[[Any, str], Source]) -> tuple[list[Source], bool]:
    match found:
        case {"hits": list(hits), "is_behind": bool(is_behind)}:
            return [source(one, target) for one in hits[:20]], is_behind
    raise Failed(f"{target} answers with what are no passages")


def _file_untrusted(hit: Any, target: str) -> Source:
    match hit:
        case {"path": str(path), "at_ms": int(at_ms), "text": str(text)}:
            return Source(path[:_NAME], text[: 2 * PASSAGE], target, at_ms)
    raise Failed(f"{target} answers with what is no passage")


def _value_untrusted(hit: Any, target: str) -> Source:
    match hit:
        case {"key": str(key), "text": str(text)}:
            return Source(f"value {key[:_NAME]}", text[: 2 * PASSAGE], target)
    raise Failed(f"{target} answers with what is no passage")


def _message_untrusted(hit: Any, target: str) -> Source:
    match hit:
        case {"id": str(), "sender": str(sender), "created_ms": int(at_ms), "text": str(text)}:
            name = _mail_name({**hit, "from": sender[:_NAME], "topic": hit.get("topic") or None})
            return Source(name[:_NAME], text[: 2 * PASSAGE], target, at_ms, sender[:_NAME])
    raise Failed(f"{target} answers with what is no passage")


async def logged(
    client: Asker, question: str, when: Period, *, audit: bool = False, most: int = PASSAGES, target: str = LOGS,
    timeout_s: float = 60.0,
) -> Gathered:  # fmt: skip
    """Return lines of a period that have words of the question: of journal and logs, or of the audit log.

    Lines that differ in numbers alone are one, with how often it was there. Without a word in common, the worst and
    then the newest ones. Raises what the calls do.
    """
    method = "query_all" if audit else "query"
    _expect(client, target, method)
    entries, notes, cursor = list[dict[str, Any]](), dict[str, str](), ""
    for _ in range(_PAGES):
        answer = await client.call(
            target, method, sources=["audit"] if audit else None, since=when.since, until=when.until, limit=_PAGE,
            cursor=cursor, timeout_s=timeout_s, idempotent=True,
        )  # fmt: skip
        match answer:
            case {"entries": list(page), "missing": dict(missing), "cursor": str() | None as following}:
                entries[:0] = [_entry_untrusted(one) for one in page]
                notes |= {str(name): str(why) for name, why in missing.items()}
                cursor = following or ""
            case _:
                raise Failed(f"{target} answers with what are no entries of logs")
        if not cursor:
            break
    said = [f"{name}: {why}" for name, why in sorted(notes.items())]
    if cursor and entries:
        said.append(f"what is before {shown_time(entries[0]['at_ms'])} was not looked through: ask for less time")
    return Gathered(_lines(question, entries, target, most * PASSAGE), said)


def _entry_untrusted(entry: Any) -> dict[str, Any]:
    match entry:
        case {"at_ms": int(at_ms), "source": str(log), "text": str(text)}:
            component, priority = entry.get("component"), entry.get("priority")
            return {
                "at_ms": at_ms, "log": log[:_NAME], "text": _DIGITS.sub(_begun, text)[:PASSAGE],
                "component": component[:_NAME] if isinstance(component, str) else "-",
                "priority": priority if isinstance(priority, int) else 6,
            }  # fmt: skip
    raise Failed("the logs answer with what is no entry")


def _begun(digits: re.Match[str]) -> str:
    return f"{digits[0][:8]}..."


def _lines(question: str, entries: Iterable[dict[str, Any]], target: str, room: int) -> list[Source]:
    """Return the entries that fit the question best, in the order of time, as many as there is room for."""
    alike: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in entries:
        alike.setdefault((one["log"], one["component"], _NUMBERS.sub("#", one["text"])), []).append(one)
    groups = [*alike.values()]
    points = scores(question, [f"{group[-1]['component']} {group[-1]['text']}" for group in groups])
    ranked = sorted(
        zip(points, groups, strict=True), key=lambda one: (-one[0], one[1][-1]["priority"], -one[1][-1]["at_ms"])
    )
    has_words = bool(ranked) and ranked[0][0] > 0
    taken: list[Source] = []
    for point, group in ranked:
        last, times = group[-1], len(group)
        often = f" ({times} times since {shown_time(group[0]['at_ms'])})" if times > 1 else ""
        text = f"{last['text']}{often}"
        room -= max(_LINE_LEAST, len(text))
        if room < 0 or (has_words and point <= 0):
            break
        taken.append(Source(last["component"], text, f"{target}, {last['log']}", last["at_ms"]))
    return sorted(taken, key=lambda one: one.at_ms or 0)


async def received(
    client: Asker, question: str, *, most: int = PASSAGES, target: str = MESSAGES, timeout_s: float = 60.0
) -> Gathered:
    """Return passages of the asker's own messages; none counts as read by that.

    They are found by meaning where the host keeps an index of them, else by words of the question.
    """
    rights = client.rights.get(target, ())
    if "find" in rights or "*" in rights:
        with suppress(Unavailable, NotFound):  # no index is kept, or it is away: by words
            found = await client.call(
                target, "find", question[:4000], min(most, 20), timeout_s=timeout_s, idempotent=True
            )  # fmt: skip
            hits, is_behind = _found_untrusted(found, f"{target}, mailbox of {client.subject}", _message_untrusted)
            if hits or not is_behind:
                return Gathered(hits, [_BEHIND] if is_behind else [])
    mails, notes = await mailbox(client, target=target, timeout_s=timeout_s)
    parts = [
        Source(_mail_name(one), part, f"{target}, mailbox of {client.subject}", one["created_ms"], one["from"])
        for one in mails
        for part in textwrap.wrap(one["body"][:_MAIL_CHARS], PASSAGE, replace_whitespace=False)
    ]
    points = scores(question, [f"{one.name} {one.text}" for one in parts])
    ranked = sorted(zip(points, parts, strict=True), key=lambda one: (-one[0], -(one[1].at_ms or 0)))
    has_words = bool(ranked) and ranked[0][0] > 0
    return Gathered([one for point, one in ranked[:most] if point > 0 or not has_words], notes)


def _mail_name(mail: dict[str, Any]) -> str:
    topic = mail.get("topic")
    return f"message {mail['id'][:8]} from {mail['from']}" + (f" on {topic}" if isinstance(topic, str) else "")


async def mailbox(
    client: Asker, *, target: str = MESSAGES, timeout_s: float = 60.0
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the asker's messages that are texts, the oldest first, and what was left out; none is marked as read."""
    _expect(client, target, "inbox")
    _expect(client, target, "watch")
    positions = await _positions(client, target, timeout_s)
    found, left_out = list[dict[str, Any]](), 0
    notes = []
    if len(positions) > _MAILS:
        notes.append(f"only the {_MAILS} newest messages were looked through: acknowledge those that are done")
        before, positions = positions[-_MAILS - 1], positions[-_MAILS:]
    else:
        before = 0
    if not positions:
        return [], []
    items = client.stream(target, "watch", before, timeout_s=timeout_s)
    async with aclosing(items) as closing:
        with suppress(TimeoutError):  # the last one was acknowledged meanwhile: `watch` waits for others
            async with asyncio.timeout(_SILENCE_S) as silence:
                async for one in closing:
                    silence.reschedule(asyncio.get_running_loop().time() + _SILENCE_S)
                    mail = _mail_untrusted(one, target)
                    if isinstance(mail["body"], str):
                        found.append(mail)
                    else:
                        left_out += 1
                    if mail["position"] >= positions[-1]:
                        break
    if left_out:
        notes.append(f"{left_out} messages are no texts, and were left out")
    return found, notes


def _mail_untrusted(mail: dict[str, Any], target: str) -> dict[str, Any]:
    match mail:
        case {"id": str(), "from": str(), "body": str() | bytes(), "created_ms": int(), "position": int()}:
            return mail
    raise Failed(f"{target} answers with what is no message")


async def _positions(client: Asker, target: str, timeout_s: float) -> list[int]:
    """Return the positions of the messages that are there, in the order of arrival."""
    found: list[int] = []
    for _ in range(_MAILBOX // _MAIL_PAGE + 1):
        after = found[-1] if found else 0
        answer = await client.call(
            target, "inbox", limit=_MAIL_PAGE, after=after, timeout_s=timeout_s, idempotent=True
        )  # fmt: skip
        page = answer.get("messages") if isinstance(answer, dict) else None
        if not isinstance(page, list) or not all(isinstance(one, dict) for one in page):
            raise Failed(f"{target} answers with what are no messages")
        positions = [one.get("position") for one in page]
        if not all(isinstance(one, int) and one > after for one in positions):
            raise Failed(f"{target} answers with what are no messages")
        found += sorted(positions)
        if len(positions) < _MAIL_PAGE:
            break
    return found


def expect_some(gathered: Sequence[Gathered], asked_of: Sequence[str]) -> list[Source]:
    """Return all sources in their order. Raises NotFound where there is none: a model would make one up."""
    found = [one for each in gathered for one in each.sources]
    if asked_of and not found:
        raise NotFound(f"there is nothing in {', '.join(asked_of)}: the model was not asked")
    return found
