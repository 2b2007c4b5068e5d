"""Text of logs for a caller: one printable line within a bound, as who has written it may be hostile. Pure."""

from __future__ import annotations

from tlsrt.loops.secondary.log_query import TEXT_MOST


def shown(text: str, most: int = TEXT_MOST) -> tuple[str, bool]:
    r"""Return text with escapes for what could steer a terminal or end the line (`\x1b`, `\n`), and whether it is cut.

    Also for what turns the direction of writing, which is not printable. The bound counts characters with escapes.
    """
    if text.isprintable() and len(text) <= most:
        return text, False
    pieces: list[str] = []
    room = most
    for number, sign in enumerate(text[: most + 1]):
        piece = sign if sign.isprintable() or sign == "\t" else sign.encode("unicode_escape", "surrogatepass").decode()
        room -= len(piece)
        if room < 0 or number == most:
            return "".join(pieces), True
        pieces.append(piece)
    return "".join(pieces), False
