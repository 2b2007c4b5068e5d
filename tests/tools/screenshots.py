"""`make screenshots`: pictures of the console's screens for the documents, from a host that runs, over its real door.

The host has the same name, services, files and history each time; what it measures of itself (memory, times) is that of
its run. A picture has at most 60 KB, so that the documents stay light.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
from pathlib import Path

from hosts.console_browser import ConsoleBrowser, Tab
from hosts.shown_page import choose, open_screen

from tools.pictured_host import ALLOWED, pictured_host, write_to

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


def take(tab: Tab, name: str) -> int:
    """Write what is seen; return how many bytes that are."""
    for quality in (80, 60, 40, 30):
        data = base64.b64decode(tab.ask("Page.captureScreenshot", {"format": "webp", "quality": quality})["data"])
        if len(data) <= SIZE_MOST:
            (FOLDER / f"{name}.webp").write_bytes(data)
            return len(data)
    raise SystemExit(f"the picture {name} has {len(data)} bytes, at most {SIZE_MOST}: show less in it")


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


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    shutil.rmtree(FOLDER)
    FOLDER.mkdir()
    with pictured_host() as host, ConsoleBrowser(host.admin.ca_pem) as browser:
        made = host.cli("console", "phone", *(word for one in ALLOWED for word in ("--allow", one)), "--json")
        assert made.returncode == 0, made.stderr
        tab = browser.tab(json.loads(made.stdout)["link"])
        tab.until("document.querySelector('#enrol')")
        show(tab, PHONE)
        print("enrolment_phone", take(tab, "enrolment_phone"))
        tab.run("document.querySelector('#enrol').requestSubmit()")
        tab.until("document.querySelector('#verdict')?.textContent")
        write_to(host, "phone")
        for name, screen, size, whole in PICTURES:
            show(tab, size)
            open_screen(tab, f"#/{screen}")
            arrange(tab, screen)
            tab.until(whole)
            tab.run("scrollTo(0, 0)")
            print(name, take(tab, name))
        assert browser.wrong == [], browser.wrong
    return 0


if __name__ == "__main__":
    sys.exit(main())
