"""The protocol of NUT's upsd, as far as it is read here: lines of words, quoted where they have spaces. Pure.

RFC 9271, section 4. An answer is `VAR UPS NAME "VALUE"` or `ERR NAME`; inside of quotes a backslash stands before a
quote or a backslash.
"""

from __future__ import annotations

import re

LINE_MAX = 512  # characters of a line; NUT's own buffers have 512
PORT = 3493
STATUS = "ups.status"
CHARGE = "battery.charge"
_WORD = re.compile(r'"((?:[^"\\]|\\["\\])*)"|([^\s"\\]+)')
UPS = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class NutError(Exception):
    """What came is no answer of a upsd; or it says an error, by its name."""


def question(ups: str, variable: str) -> bytes:
    """Return the line that asks for a variable."""
    return f"GET VAR {ups} {variable}\n".encode()


def value_untrusted(line: bytes, ups: str, variable: str) -> str:
    """Return the value in an answer. Raises NutError for any other line, and for an error that it says."""
    words = words_untrusted(line)
    if words[:1] == ["ERR"] and len(words) >= 2:
        raise NutError(f"it says {words[1][:40]}")
    if len(words) != 4 or words[:3] != ["VAR", ups, variable]:
        raise NutError("that is no answer of a upsd")
    return words[3]


def words_untrusted(line: bytes) -> list[str]:
    """Return the words of a line without its end. Raises NutError."""
    if len(line) > LINE_MAX:
        raise NutError(f"a line has more than {LINE_MAX} characters")
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise NutError("a line is no UTF-8") from None
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at] == " ":
            at += 1
            continue
        found = _WORD.match(text, at)
        end = found.end() if found is not None else at
        if found is None or (end < len(text) and text[end] != " "):
            raise NutError("a line is not made of words")
        words.append(found[2] if found[2] is not None else re.sub(r'\\(["\\])', r"\1", found[1]))
        at = end
    return words


def is_low(status: str) -> bool:
    """Tell whether a status says that the UPS will soon be empty: on battery and low, or forced to shut down."""
    flags = status.split()
    return "FSD" in flags or ("OB" in flags and "LB" in flags)


def on_battery(status: str) -> bool | None:
    """Tell whether a status says that the UPS is on its battery; None if it does not say."""
    flags = status.split()
    return True if "OB" in flags else False if "OL" in flags else None
