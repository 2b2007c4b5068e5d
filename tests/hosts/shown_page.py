"""What a person does on every screen of the console: open it, wait until it is drawn, choose in a list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol

MAIN = "document.querySelector('main').innerText"


class Shown(Protocol):
    """A page in a browser, whichever."""

    def run(self, words: str) -> Any:
        """Evaluate JavaScript in the page."""

    def until(self, words: str) -> None:
        """Evaluate it until it is true there."""


def open_screen(page: Shown, hash: str) -> None:
    """Go to a screen, and wait until it is the one that is shown."""
    page.run(f"void (location.hash = {json.dumps(hash)})")
    page.until(f"document.querySelector('nav [aria-current]')?.hash === {json.dumps(hash)}")


def all_screens(page: Shown) -> Iterator[str]:
    """Open one screen after the other; give the hash of each once it has said what it has."""
    for screen in page.run("[...document.querySelectorAll('nav a')].map((one) => one.hash)"):
        open_screen(page, screen)
        page.until(f"{MAIN}.length > 30 && !{MAIN}.includes('loading …')")
        yield screen


def choose(page: Shown, id: str, value: str) -> None:
    """Choose in a list, once it has the value."""
    page.until(f"[...document.querySelectorAll('#{id} option')].some((one) => one.value === '{value}')")
    told = "one.dispatchEvent(new Event('change', { bubbles: true }))"
    page.run(f"((one) => {{ one.value = '{value}'; {told} }})(document.getElementById('{id}'))")
