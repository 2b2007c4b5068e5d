"""The picture of a number's camera in the console: a real page at a real door, and a real ffmpeg."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hosts.calling_host import CALLS, CAMERA, TELEPHONE, add_camera, calling_host
from hosts.console_browser import Tab
from hosts.joined_networks import inside
from hosts.page_contrast import CONTRAST
from hosts.talking_page import enrolled, talking_browser

pytestmark = [
    pytest.mark.once,  # the page and the browser know no version of Python
    pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's"),
]
NUMBERS = {"front": {"rings": [TELEPHONE], "camera": f"{CAMERA}/pattern"}, "door": {"rings": [TELEPHONE]}}
SOURCES = "{pattern: {pattern: true, width: 320, height: 180, fps: 10}}"
SHOWN = "document.querySelector('#talk #call-picture')"
DRAWN = f"""(() => {{
  const canvas = new OffscreenCanvas(32, 18), drawing = canvas.getContext('2d')
  drawing.drawImage({SHOWN}, 0, 0, 32, 18)
  return drawing.getImageData(0, 0, 32, 18).data.reduce((all, one, at) => (all * 31 + one * at) % 1000003, 7)
}})()"""


@pytest.fixture(scope="module")
def tab(request: pytest.FixtureRequest) -> Iterator[Tab]:
    with calling_host(request, "look", console=True, numbers=NUMBERS) as (host, networks):
        add_camera(host, SOURCES)
        with inside(networks.host):
            browser = talking_browser(host)
        with browser:
            found, _ = enrolled(host, browser, "desk", f'{CALLS}: "*"')
            found.run("location.hash = '#/call'")
            found.until("document.body.innerText.includes('This page is rung')")
            yield found


def ring(tab: Tab, number: str) -> None:
    tab.click(f"document.querySelector('button[data-number={number}]')")
    tab.until("document.querySelector('#talk')?.innerText.includes('talking')")


def hang_up(tab: Tab) -> None:
    tab.click("document.querySelector('#hang-up')")
    tab.until("!document.querySelector('#talk') && !document.querySelector('video')")
    assert tab.run("wrong") == []


def test_the_page_shows_the_camera_of_a_call_and_nothing_after_it(tab: Tab) -> None:
    tab.ask("Emulation.setDeviceMetricsOverride", {"width": 300, "height": 640, "deviceScaleFactor": 1, "mobile": True})
    ring(tab, "front")
    tab.until(f"{SHOWN}?.videoWidth === 320 && {SHOWN}.videoHeight === 180")
    first = tab.run(DRAWN)
    tab.until(f"{DRAWN} !== {first}")
    tab.click("document.querySelector('#mute')")  # the screen is drawn anew, and the picture goes on
    shown = tab.run(f"{SHOWN}.getVideoPlaybackQuality().totalVideoFrames")
    tab.until(f"!{SHOWN}.paused && {SHOWN}.getVideoPlaybackQuality().totalVideoFrames > {shown} + 5")
    assert tab.run("document.documentElement.scrollWidth") <= 300
    assert tab.run(CONTRAST) == []
    hang_up(tab)


def test_a_call_without_a_camera_has_no_picture(tab: Tab) -> None:
    ring(tab, "door")
    tab.until("document.querySelector('#talk').innerText.includes('Heard: ')")  # statistics of the sound alone
    assert tab.run("document.querySelector('video')") is None
    hang_up(tab)
