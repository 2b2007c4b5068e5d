"""The text of a mail as people read it: of its text part, or made of HTML by the standard library. Pure.

HTML is data: nothing is fetched, run or followed; a link is shown with its address, so that what it says of itself
hides nothing.
"""

from __future__ import annotations

from html.parser import HTMLParser

from tlsrt.loops.external.mail_parts import Part, content_untrusted, decoded_untrusted

TEXT_BYTES = 48 * 1024  # of UTF-8, so that a subject and remarks fit into a message beside it
_HTML_BYTES = 64 * 1024  # that are looked at; old versions of the parser are slow for what is hostile and long
_BREAKS = frozenset(
    {"p", "br", "div", "tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "hr", "table"}
)
_UNSEEN = frozenset({"script", "style", "head", "title", "template"})
_LINK = 300


def text_of(data: bytes, parts: list[Part]) -> tuple[str, bool, Part | None]:
    """Return the text of a mail, whether it was cut, and the part that it is of; of none if there is no text."""
    for kind in ("text/plain", "text/html"):
        for part in parts:
            if part.type == kind and not part.is_attachment:
                raw = content_untrusted(data, part, _HTML_BYTES if kind == "text/html" else 4 * TEXT_BYTES)
                text = decoded_untrusted(raw, part.charset or "utf-8")
                shown, is_cut = bounded(text_of_html_untrusted(text) if kind == "text/html" else text)
                return shown, is_cut or part.end - part.start > 4 * TEXT_BYTES, part
    return "", False, None


def bounded(text: str) -> tuple[str, bool]:
    """Return text without what steers a terminal, at most TEXT_BYTES of it, and whether there was more."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(each if each in "\n\t" or each.isprintable() else " " for each in text[: TEXT_BYTES + 1]).strip(
        "\n "
    )
    data = text.encode("utf-8", "replace")
    if len(data) <= TEXT_BYTES:
        return data.decode(), False
    return data[:TEXT_BYTES].decode("utf-8", "ignore"), True


def text_of_html_untrusted(html: str) -> str:
    """Return what HTML says, without its looks. Cannot fail."""
    reader = _Reader()
    try:
        reader.feed(html)
        reader.close()
    except (AssertionError, ValueError, RecursionError):  # of what is no HTML, what was read until there
        pass
    lines = (" ".join(line.split()) for line in "".join(reader.words).split("\n"))
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._hidden = 0
        self._link = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._hidden += 1
        elif tag in _BREAKS:
            self.words.append("\n")
        elif tag == "a":
            self._link = (dict(attrs).get("href") or "")[:_LINK]

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in _BREAKS:
            self.words.append("\n")
        elif tag == "a" and self._link:
            self.words.append(f" <{self._link}>")
            self._link = ""

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)
