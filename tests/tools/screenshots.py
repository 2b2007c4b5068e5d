"""`make screenshots`: pictures of the console's screens for the documents, from hosts that run, over their real doors.

A host has the same name, services, files and history each time; what it measures of itself (memory, times) is that of
its run. A picture has at most 60 KB, so that the documents stay light, and what it shows breaks no rule of axe.
`OF=talk` takes only those of calls and models, `OF=units` of services, `OF=house` all others.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

from hosts.console_browser import ConsoleBrowser, Tab
from hosts.shown_page import choose, open_screen

from tools import pictured_talk
from tools.axe import broken
from tools.pictured_host import ALLOWED, pictured_host, write_to
from tools.pictured_units import pictured_units

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
SIZE_MOST = 60_000  # bytes
PHONE, DESK = (390, 780), (1280, 760)
ROWS, LINES = "document.querySelectorAll('main tr').length", "document.querySelectorAll('.row').length"
SAYS = "document.querySelector('main').innerText.includes"
# name of the picture, its screen, its size, and what is there when it is whole
PICTURES = (
    ("health", "health", DESK, "document.querySelectorAll('.chart polyline').length > 1"),
    ("health_phone", "health", PHONE, "document.querySelector('#verdict')"),
    ("processes", "tree", DESK, "document.querySelectorAll('#tree summary').length > 5"),
    ("events_phone", "events", PHONE, f"{LINES} > 5"),
    ("attacks_phone", "attacks", PHONE, f"{SAYS}('decoy')"),
    ("rights_phone", "rights", PHONE, f"{ROWS} > 5"),
    ("audit_phone", "audit", PHONE, f"{LINES} > 5"),
    ("logs", "logs", DESK, f"{ROWS} > 3"),
    ("files_phone", "files", PHONE, f"{ROWS} > 3"),
    ("methods_phone", "methods", PHONE, "document.querySelector('form [name=key]')"),
    ("jobs_phone", "jobs", PHONE, f"{SAYS}('secondary/store put')"),
    ("messages_phone", "messages", PHONE, f"{SAYS}('plumber')"),
    ("notices_phone", "notices", PHONE, f"{SAYS}('cellar')"),
    ("store", "store", DESK, f"{SAYS}('heating.celsius')"),
    ("secrets_phone", "secrets", PHONE, f"{SAYS}('boiler')"),
    ("network", "network", DESK, f"{SAYS}('Links')"),
    ("power_phone", "power", PHONE, f"{SAYS}('State')"),
    ("updates_phone", "updates", PHONE, f"{ROWS} > 0"),
    ("pages_phone", "pages", PHONE, f"{SAYS}('It is')"),
)


def show(tab: Tab, size: tuple[int, int]) -> None:
    """Show the page in light, in a window of this size, without what moves."""
    features = [
        {"name": "prefers-color-scheme", "value": "light"},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    tab.ask("Emulation.setEmulatedMedia", {"features": features})
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    tab.ask("Emulation.setDeviceMetricsOverride", metrics)


def take(tab: Tab, name: str) -> None:
    """Write what is seen."""
    if wrong := broken(tab):
        raise SystemExit(f"the picture {name} breaks rules of axe: {json.dumps(wrong, indent=1)}")
    for quality in (80, 60, 40, 30):
        data = base64.b64decode(tab.ask("Page.captureScreenshot", {"format": "webp", "quality": quality})["data"])
        if len(data) <= SIZE_MOST:
            (FOLDER / f"{name}.webp").write_bytes(data)
            return print(name, len(data))
    raise SystemExit(f"the picture {name} has {len(data)} bytes, at most {SIZE_MOST}: show less in it")


def take_from(tab: Tab, name: str, selector: str) -> None:
    """Take a picture that begins with this element, below the list of screens, which stays."""
    tab.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView()")
    tab.run("scrollBy(0, -document.querySelector('nav').getBoundingClientRect().height)")
    take(tab, name)


def put_off(tab: Tab) -> None:
    """Leave a job, from the form that is shown."""
    choose(tab, "job-kind", "every")
    for name, value in (("key", "heating.celsius"), ("value", "21"), ("job-time", "12h")):
        tab.run(f"void (document.querySelector('form [name={name}]').value = '{value}')")
    tab.run("document.querySelector('form').requestSubmit()")
    tab.until("document.querySelector('dialog #yes')")
    tab.run("document.querySelector('dialog #yes').click()")
    tab.until("document.querySelector('.result')?.textContent.includes('It is put off, as job ')")


def arrange(tab: Tab, screen: str) -> None:
    """Do on a screen what a person does before there is something to see."""
    if screen == "files":
        tab.until("document.querySelector('main [data-key=\"in papers\"]')")
        tab.run("document.querySelector('main [data-key=\"in papers\"]').click()")
    if screen == "methods":
        choose(tab, "component", "secondary/store")
        choose(tab, "method", "put")
        tab.until("document.querySelector('form [name=key]')")
    if screen == "secrets":
        tab.run(
            "((one) => { one.value = 'heating'; one.dispatchEvent(new Event('change')) })"
            "(document.querySelector('main [name=namespace]'))"
        )
    if screen == "jobs":
        open_screen(tab, "#/methods")
        arrange(tab, "methods")
        put_off(tab)
        open_screen(tab, "#/jobs")


def take_house() -> None:
    """Take those of a host with something to see on every screen."""
    with pictured_host() as host, ConsoleBrowser(host.admin.ca_pem) as browser:
        made = host.cli("console", "phone", *(word for one in ALLOWED for word in ("--allow", one)), "--json")
        assert made.returncode == 0, made.stderr
        tab = browser.tab(json.loads(made.stdout)["link"])
        tab.until("document.querySelector('#enrol')")
        show(tab, PHONE)
        take(tab, "enrolment_phone")
        tab.run("document.querySelector('#enrol').requestSubmit()")
        tab.until("document.querySelector('#verdict')?.textContent")
        write_to(host, "phone")
        for name, screen, size, whole in PICTURES:
            show(tab, size)
            open_screen(tab, f"#/{screen}")
            arrange(tab, screen)
            tab.until(whole)
            tab.run("scrollTo(0, 0)")
            take(tab, name)
        assert browser.wrong == [], browser.wrong


def take_talk() -> None:
    """Take those of a call that rings, goes on and is over, and of answers of models."""
    with pictured_talk.pictured_talk() as (host, browser, phone, kitchen):
        show(phone, PHONE)
        pictured_talk.rung(phone, kitchen)
        take_from(phone, "call_rings_phone", "body")
        pictured_talk.talk(phone, kitchen)
        take_from(phone, "call_talk_phone", "#talk")
        pictured_talk.hang_up(phone)
        take_from(phone, "call_over_phone", "#ended")
        pictured_talk.answer(phone)
        take_from(phone, "ask_phone", "#ask")
        pictured_talk.transcribe(phone, pictured_talk.spoken_file(host))
        take_from(phone, "transcribe_phone", "section:has(> #hear)")
        pictured_talk.search(phone)
        take_from(phone, "search_phone", "section:has(> #find)")
        assert browser.wrong == [], browser.wrong


def take_units() -> None:
    """Take those of services of systemd."""
    with pictured_units() as tab:
        show(tab, DESK)
        open_screen(tab, "#/units")
        tab.until(f"{SAYS}('Heating of the house') && {SAYS}('failed')")
        tab.run("document.querySelector('[data-key=\"look heating.service\"]').click()")
        tab.until("document.querySelector('main h3 ~ table, main h3 ~ .scrolls, main h3 ~ pre')")
        take(tab, "services")


TAKEN = {"house": take_house, "talk": take_talk, "units": take_units}


def main(*of: str) -> int:
    FOLDER.mkdir(exist_ok=True)
    if not of:
        for old in FOLDER.glob("*.webp"):
            old.unlink()
    for name in of or TAKEN:
        TAKEN[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
