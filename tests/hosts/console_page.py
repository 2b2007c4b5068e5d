"""A page of the console in a real Chromium, as a client of a real host by its door."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hosts.page_browser import PageBrowser
from hosts.running_host import RunningHost
from hosts.shown_page import open_screen

CONSOLE = {"door": {"console": True}}  # `extra` of the host


class ConsolePage(PageBrowser):
    """One page that is a client."""

    def open_screen(self, name: str) -> None:
        """Go to a screen, and wait until it is the one that is shown."""
        open_screen(self, f"#/{name}")

    def text(self) -> str:
        """Return what is read on the screen."""
        return str(self.run("document.querySelector('main').innerText"))

    def shows(self, words: str) -> None:
        """Wait until these words can be read on the screen."""
        self.until(f"document.querySelector('main')?.innerText.includes({json.dumps(words)})")

    def hides(self, words: str) -> None:
        """Wait until these words cannot be read on the screen any more."""
        self.until(f"!document.querySelector('main').innerText.includes({json.dumps(words)})")

    def press_button(self, words: str, within: str = "") -> None:
        """Press the button with these words, in the row that has the words `within`, or in a dialog."""
        find = (
            "(() => { const rows = [...document.querySelectorAll('main tr, main li, main fieldset')]"
            f".filter(one => one.textContent.includes({json.dumps(within)}));"
            f"const places = {json.dumps(bool(within))} ? rows : [document];"
            "for (const place of places) for (const one of place.querySelectorAll('button'))"
            f" if (one.textContent.trim() === {json.dumps(words)} && !one.disabled) return one }})()"
        )
        self.until(find)
        self.run(f"{find}.click()")

    def answer(self, yes: bool) -> str:
        """Answer the question that is asked, and return it."""
        self.until("document.querySelector('dialog[open] #no') === document.activeElement")
        asked = str(self.run("document.querySelector('dialog').innerText"))
        self.run(f"document.querySelector('{'#yes' if yes else '#no'}').click()")
        self.until("!document.querySelector('dialog')")
        return asked

    def type_in(self, **values: str) -> None:
        """Fill in fields of the screen."""
        for name, value in values.items():
            self.until(f"document.querySelector('main [name={name}]')")
            self.run(
                f"(one => {{ one.value = {json.dumps(value)}; one.dispatchEvent(new Event('input', {{bubbles: true}}));"
                f" one.dispatchEvent(new Event('change', {{bubbles: true}})) }})"
                f"(document.querySelector('main [name={name}]'))"
            )

    def choose_files(self, selector: str, *paths: str) -> None:
        """Choose files of this machine in a field, as a person does."""
        self.until(f"document.querySelector({json.dumps(selector)})")
        found = self.ask("Runtime.evaluate", {"expression": f"document.querySelector({json.dumps(selector)})"})
        self.ask("DOM.setFileInputFiles", {"files": [*paths], "objectId": found["result"]["objectId"]})


@contextmanager
def console_page(host: RunningHost, name: str, allow: Mapping[str, str]) -> Iterator[ConsolePage]:
    """Enrol a browser by a link, as a person does; `allow` is what it may call. No error may be left at the end."""
    words = [word for target, methods in allow.items() for word in ("--allow", f"{target}: {methods}")]
    made = host.cli("client", "add", name, *words, "--json")
    assert made.returncode == 0, made.stderr
    with ConsolePage() as page:
        page.go(f"https://127.0.0.1:{host.port}/#{json.loads(made.stdout)['code']}")
        page.until("document.querySelector('#enrol')")
        page.run("document.querySelector('#enrol').requestSubmit()")
        page.until("document.querySelector('nav [aria-current]')")
        yield page
        assert page.wrong == []  # no error, and no report of the content security policy
