"""JSON-RPC 2.0 in lines, as a program speaks it on its descriptor 3. Pure: bytes in, messages out.

Each message is one JSON object in one line of UTF-8, ended by a line feed (https://www.jsonrpc.org/specification;
batches are not taken). We ask, the program answers; besides it may notify. Everything that it writes is untrusted:

- A line is at most `LINE_MOST` bytes, which is what one message of ours could carry on; a longer one cannot be told
  from what follows, and raises TooLong.
- A value is as deep as our own messages may be, its whole numbers have 64 bits, its texts are Unicode, and it holds
  neither NaN nor Infinity: all that comes out of here can be sent on.
- The id of an answer is a number that we have given; what is no message raises NotJsonRpc with a sentence.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tlsrt.channels.frames.frame import BODY_MAX
from tlsrt.channels.frames.structure import CONTAINERS_MAX, DEPTH_MAX
from tlsrt.errors import InvalidArgument
from tlsrt.text import printable

LINE_MOST = BODY_MAX
WORDS_MOST = 300  # characters of a sentence of the program that is told to others
METHOD_MOST = 64
INVALID_PARAMS, METHOD_NOT_FOUND = -32602, -32601  # of the specification
CANCEL = "cancel"  # our notification: the caller of this id has given up
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1  # of msgpack
_DIGITS_MOST = 20


class NotJsonRpc(Exception):
    """A line that is no message of JSON-RPC 2.0; the text says why."""


class TooLong(Exception):
    """A line without an end: nothing that follows can be read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request."""

    id: int
    result: Any


@dataclass(frozen=True, slots=True)
class Fault:
    """Why nothing came of a request; without an id, of a line of ours that the program could not read."""

    id: int | None
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Notification:
    """What the program tells unasked; `params` is empty if it gave none by name."""

    method: str
    params: Mapping[str, Any]


Message = Answer | Fault | Notification


def encode_request(number: int, method: str, params: Mapping[str, object]) -> bytes:
    """Return the line of a request. Raises InvalidArgument for arguments that JSON does not have."""
    return _line({"jsonrpc": "2.0", "id": number, "method": method, "params": dict(params)})


def encode_cancel(number: int) -> bytes:
    """Return the line that says that the caller has given up."""
    return _line({"jsonrpc": "2.0", "method": CANCEL, "params": {"id": number}})


def _line(message: Mapping[str, object]) -> bytes:
    try:
        line = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"an argument cannot be written as JSON: {printable(str(error), 100)}") from None
    if len(line) >= LINE_MOST:
        raise InvalidArgument(f"the arguments are longer than the {LINE_MOST} bytes that a program is given")
    return line + b"\n"


class Lines:
    """The lines in a stream of bytes, of which at most one is kept unfinished."""

    def __init__(self, most: int = LINE_MOST) -> None:
        self._most = most
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that are whole now, without their ends. Raises TooLong."""
        begin = len(self._rest)
        self._rest += data
        start = 0
        while (end := self._rest.find(b"\n", max(start, begin))) >= 0:
            if end - start > self._most:
                raise TooLong
            line = bytes(self._rest[start:end])
            start = end + 1
            if line.strip():
                yield line
        del self._rest[:start]
        if len(self._rest) > self._most:
            raise TooLong


def decode_untrusted(line: bytes) -> Message:
    """Return the message of a line. Raises NotJsonRpc, and nothing else."""
    try:
        value = json.loads(line.decode(), parse_int=_whole, parse_float=_fraction, parse_constant=_refuse)
    except UnicodeDecodeError:
        raise NotJsonRpc("it is not UTF-8 text") from None
    except (ValueError, RecursionError):
        raise NotJsonRpc("it is not JSON") from None
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise NotJsonRpc('it is not an object with "jsonrpc": "2.0"')
    _check_structure(value)
    if b"\\u" in line:
        _check_text(value)
    return _notification(value) if "method" in value else _answer(value)


def _notification(value: dict[str, Any]) -> Notification:
    method, params = value["method"], value.get("params")
    if not isinstance(method, str) or not 0 < len(method) <= METHOD_MOST:
        raise NotJsonRpc(f"its method is no text of at most {METHOD_MOST} characters")
    if "id" in value:
        raise NotJsonRpc(f"it asks for {printable(method, 40)}, and a program can only notify")
    return Notification(method, params if isinstance(params, dict) else {})


def _answer(value: dict[str, Any]) -> Answer | Fault:
    number, has_result, error = value.get("id"), "result" in value, value.get("error")
    if type(number) is not int and not (number is None and error is not None):
        raise NotJsonRpc("its id is not one that was given")
    if has_result == (error is not None):
        raise NotJsonRpc("it has not one of result and error")
    if has_result:
        assert isinstance(number, int)
        return Answer(number, value["result"])
    code, message = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
    if type(code) is not int or not isinstance(message, str):
        raise NotJsonRpc("its error has not a code, which is a number, and a message")
    return Fault(number, code, printable(message, WORDS_MOST))


def _whole(digits: str) -> int:
    if len(digits) <= _DIGITS_MOST and _LEAST <= (number := int(digits)) <= _MOST:
        return number
    raise NotJsonRpc("it holds a number that has not 64 bits")


def _fraction(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise NotJsonRpc("it holds a number that is too large")
    return number


def _refuse(word: str) -> Any:
    raise NotJsonRpc(f"it holds {word}, which JSON does not have")


def _check_structure(value: dict[str, Any]) -> None:
    """Refuse what no message of ours could carry: too deep, or of too many parts."""
    level: list[Any] = [value]
    count = 0
    for _ in range(DEPTH_MAX):
        count += len(level)
        if count > CONTAINERS_MAX:
            raise NotJsonRpc(f"it has more than {CONTAINERS_MAX} lists and objects")
        inner = (each for one in level for each in (one.values() if isinstance(one, dict) else one))
        level = [each for each in inner if isinstance(each, (dict, list))]
        if not level:
            return
    raise NotJsonRpc(f"it is nested more than {DEPTH_MAX} deep")


def _check_text(value: Any) -> None:
    """Refuse half characters, which an escape can write and no text in UTF-8 has."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NotJsonRpc("it holds half a character") from None
