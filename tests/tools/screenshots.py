"""`make screenshots`: pictures of the console's screens for the documents, from a host that runs, over its real door.

The host has the same name, services, files and history each time; what it measures of itself (memory, times) is that of
its run. A picture has at most 60 KB, so that the documents stay light.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import sys
from pathlib import Path
from unittest.mock import patch

from hosts import running_host
from hosts.console_browser import ConsoleBrowser, Tab
from hosts.running_host import RunningHost
from hosts.shown_page import open_screen
from hosts.web_client import WebPeer

from tlsrt.config.deception import PATHS

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
SIZE_MOST = 60_000  # bytes
PORT = 7443  # as on a host of a reader
PHONE, DESK = (390, 780), (1280, 760)
SERVICES = ("third/status", "secondary/logs")
ALLOWED = (*(f"{name}: *" for name in SERVICES), "third/files: *", "primary/events: *", "secondary/store: *")
# name of the picture, its screen, its size, and what is there when it is whole
PICTURES = (
    ("health", "health", DESK, "document.querySelectorAll('.chart polyline').length > 1"),
    ("health_phone", "health", PHONE, "document.querySelector('#verdict')"),
    ("processes", "tree", DESK, "document.querySelectorAll('#tree summary').length > 5"),
    ("events_phone", "events", PHONE, "document.querySelectorAll('.row').length > 5"),
    ("attacks_phone", "attacks", PHONE, "document.querySelector('main').innerText.includes('decoy')"),
    ("rights_phone", "rights", PHONE, "document.querySelectorAll('main tr').length > 5"),
    ("audit_phone", "audit", PHONE, "document.querySelectorAll('.row').length > 5"),
    ("logs", "logs", DESK, "document.querySelectorAll('main tr').length > 3"),
    ("files_phone", "files", PHONE, "document.querySelectorAll('main tr').length > 3"),
    ("methods_phone", "methods", PHONE, "document.querySelector('form [name=key]')"),
)  # fmt: skip


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
    for quality in (80, 60, 40):
        data = base64.b64decode(tab.ask("Page.captureScreenshot", {"format": "webp", "quality": quality})["data"])
        if len(data) <= SIZE_MOST:
            (FOLDER / f"{name}.webp").write_bytes(data)
            return len(data)
    raise SystemExit(f"the picture {name} has {len(data)} bytes, at most {SIZE_MOST}: show less in it")


async def touch_a_decoy(host: RunningHost) -> None:
    async with WebPeer(host.admin.ca_pem, host.port) as peer:
        await peer.ask(PATHS[0])


def furnish(host: RunningHost) -> None:
    """Give the host what there is to see: services, files, values, a process that was started anew, an attack."""
    folder = host.base / "papers"
    (folder / "photos").mkdir(parents=True, mode=0o755)
    for name, size in (("front door.jpg", 184_320), ("minutes.txt", 1_204), ("heating.csv", 45_056)):
        (folder / name).write_bytes(b"x" * size)
        os.utime(folder / name, (1_796_000_000, 1_796_000_000))
    added = [
        host.cli("component", "add", name, "--yes", "--allow", 'client/admin: "*"') for name in SERVICES
    ] + [
        host.cli(
            "component", "add", "third/files", "--yes", "--option", f"trees={{papers: {{path: {folder}}}}}",
            "--needs", f"read=[{{path: {folder}, why: shows it}}]", "--allow", 'client/admin: "*"',
        )
    ]  # fmt: skip
    for done in added:
        assert done.returncode == 0, done.stderr
    client = host.client()
    client.call("secondary/store", "put", "greeting", "hello")
    host.respawn("forth")
    asyncio.run(touch_a_decoy(host))


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    shutil.rmtree(FOLDER)
    FOLDER.mkdir()
    with patch.object(running_host, "free_port", lambda: PORT):
        host = RunningHost(extra={"door": {"console": True}}, policy={"client/admin -> secondary/store": "*"})
    with host, ConsoleBrowser(host.admin.ca_pem) as browser:
        furnish(host)
        made = host.cli("console", "phone", *(word for one in ALLOWED for word in ("--allow", one)), "--json")
        assert made.returncode == 0, made.stderr
        tab = browser.tab(json.loads(made.stdout)["link"])
        tab.until("document.querySelector('#enrol')")
        show(tab, PHONE)
        print("enrolment_phone", take(tab, "enrolment_phone"))
        tab.run("document.querySelector('#enrol').requestSubmit()")
        tab.until("document.querySelector('#verdict')?.textContent")
        for name, screen, size, whole in PICTURES:
            show(tab, size)
            open_screen(tab, f"#/{screen}")
            if screen == "files":
                tab.until("document.querySelector('main [data-key=\"in papers\"]')")
                tab.run("document.querySelector('main [data-key=\"in papers\"]').click()")
            if screen == "methods":
                tab.until("document.querySelector('#component')")
                tab.run(
                    "document.querySelector('#component').value = 'secondary/store';"
                    "document.querySelector('#component').dispatchEvent(new Event('change'))"
                )
            tab.until(whole)
            tab.run("scrollTo(0, 0)")
            print(name, take(tab, name))
        assert browser.wrong == [], browser.wrong
    return 0


if __name__ == "__main__":
    sys.exit(main())
