"""The page for people: it says who they are, and nothing on it runs."""

from __future__ import annotations

from html.parser import HTMLParser

from tlsrt.loops.http.page import page


class Reader(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_it_says_who_the_client_is_and_what_it_may_call() -> None:
    reader = Reader()
    reader.feed(page("client/web", {"third/io": ("notify", "describe"), "secondary/store": ("*",)}, "1.2.3").decode())
    for words in ("client/web", "secondary/store", "all methods", "describe, notify"):
        assert words in reader.text
    assert reader.links == ["/v1/openapi.json", "/v1/"]


def test_what_a_loop_calls_itself_is_text_and_nothing_runs() -> None:
    reader = Reader()
    reader.feed(page("client/<script>", {"a/<img src=x>": ("<b onclick=y>",)}, '"><style>').decode())
    assert reader.tags <= {"html", "head", "meta", "title", "body", "h1", "p", "b", "dl", "dt", "dd", "code", "a"}
