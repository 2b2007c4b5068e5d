"""Pictures of a camera in a call: a real ffmpeg, a real Chromium that sees them, and cameras that lie."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from hosts.calling_browser import CallingBrowser
from hosts.calling_host import CALLS, CAMERA, NUMBERS, TELEPHONE, Spoken, add_camera, calling_host, ring, until
from hosts.joined_networks import inside
from hosts.running_host import RunningHost

from tlsrt import InvalidArgument, NotFound

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's")
LYING = "third/eye"
LIES = ("odd", "large", "bomb", "raw", "endless")
SEEN: dict[str, Any] = {
    "seen": {"rings": [TELEPHONE], "camera": f"{CAMERA}/pattern"},
    "large": {"rings": [TELEPHONE], "camera": f"{CAMERA}/large"},
    "hidden": {"rings": [TELEPHONE], "camera": f"{CAMERA}/hidden"},
    "ben": {"rings": ["client/ben"], "camera": f"{CAMERA}/pattern"},
    **{f"lie-{name}": {"rings": [TELEPHONE], "camera": f"{LYING}/{name}"} for name in LIES},
}
SOURCES = (
    "{pattern: {pattern: true, width: 320, height: 180, fps: 10},"
    " large: {pattern: true, width: 1920, height: 1080, fps: 5, format: rgb24},"
    " hidden: {pattern: true, readers: [client/admin]}}"
)


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    made = calling_host(
        request, "seen", numbers={**NUMBERS, **SEEN}, more={LYING: {"class": "telephones:LyingCamera"}},
        rights={f"{CALLS} -> {LYING}": ["frames"]},
    )  # fmt: skip
    with made as (host, networks):
        add_camera(host, SOURCES)
        with inside(networks.peer):
            request.module.PAGE = CallingBrowser()
        with request.module.PAGE:
            yield host


@pytest.fixture
def browser(host: RunningHost, request: pytest.FixtureRequest) -> CallingBrowser:
    page: CallingBrowser = request.module.PAGE
    page.fresh()
    return page


def picture(browser: CallingBrowser) -> dict[str, Any]:
    found: dict[str, Any] = browser.run("picture()")
    return found


def is_still(browser: CallingBrowser) -> bool:
    return bool(browser.run("Date.now() - all.seenAt > 700"))


def hears(browser: CallingBrowser) -> None:
    until(lambda: abs(browser.run("loudest()")["hertz"] - 440) < 12)


def test_who_rings_sees_the_camera_and_its_picture_changes(host: RunningHost, browser: CallingBrowser) -> None:
    with host.client("anna") as anna, host.client("ben") as ben:
        begun_s = time.monotonic()
        browser.run("watch()")
        spoken, call = ring(anna, browser, "seen", pictures="recvonly")
        spoken.next("connected")
        until(lambda: picture(browser)["width"])
        print("from the ring to the first picture, s:", round(time.monotonic() - begun_s, 3))
        first = picture(browser)
        assert (first["width"], first["height"]) == (320, 180)
        until(lambda: picture(browser)["colours"] > 6)  # a test pattern, and not grey
        until(lambda: picture(browser)["sum"] != first["sum"])
        process = psutil.Process(host.pids()["external.calls"])
        before, frames, at_s = process.cpu_times(), picture(browser)["frames"], time.monotonic()
        until(lambda: picture(browser)["frames"] >= frames + 60, 60)
        after, seconds = process.cpu_times(), time.monotonic() - at_s
        spent = after.user + after.system - before.user - before.system
        print(f"60 pictures in {seconds:.1f} s, processor of a call with them: {100 * spent / seconds:.0f} %")
        hears(browser)
        sides = until(lambda: told(anna.call(CALLS, "status", call)))
        print(sides)
        assert sides["client/anna"]["to"]["round_trip_ms"] >= 0 and sides["client/anna"]["to"]["lost"] == 0
        assert sides["client/anna"]["from"]["packets"] > 100 and sides["client/anna"]["pictures"]["packets"] > 60
        until(lambda: "round_trip_ms" in anna.call(CALLS, "metrics")["gauges"])
        with pytest.raises(NotFound):  # of another one it is not told
            ben.call(CALLS, "status", call)
        anna.call(CALLS, "hold", call)
        spoken.next("held")
        until(lambda: is_still(browser))
        frames = picture(browser)["frames"]
        anna.call(CALLS, "hold", call, False)
        until(lambda: picture(browser)["frames"] > frames)
        anna.call(CALLS, "hang_up", call)
        assert spoken.next("ended")["why"] == "hung up"
    assert host.loop("external.calls")["violations"] == 0
    host.until(lambda _: not running_programs(host), "the end of ffmpeg, as nobody reads")


def told(status: dict[str, Any]) -> dict[str, Any] | None:
    sides: dict[str, Any] = status["sides"]
    mine = sides["client/anna"]
    return sides if mine.get("to", {}).get("round_trip_ms") and "lost" in mine.get("pictures", {}) else None


def running_programs(host: RunningHost) -> list[Any]:
    found: list[Any] = next(
        one["running"] for one in host.loop("third.camera")["programs"] if "ffmpeg" in one["name"]
    )  # fmt: skip
    return found


def test_a_large_picture_is_made_smaller_and_who_answers_sees_too(host: RunningHost, browser: CallingBrowser) -> None:
    with host.client("anna") as anna, host.client("ben") as ben:
        spoken, call = ring(anna, browser, "large", pictures="recvonly")
        spoken.next("connected")
        until(lambda: picture(browser)["width"] == 1280, 40)
        anna.call(CALLS, "hang_up", call)
        browser.fresh()
        waiting = Spoken(ben, "watch")
        waiting.next("waits")
        begun = Spoken(anna, "ring", "ben", browser.offer())  # whose page asks for no pictures
        call = waiting.next("rings")["call"]
        sdp = begun.next("rings")["sdp"]
        assert "m=video" not in sdp
        browser.fresh()
        taken = Spoken(ben, "answer", call, browser.offer(pictures="recvonly"))
        browser.accept(taken.next("answered")["sdp"])
        until(lambda: picture(browser)["width"] == 320)
        ben.call(CALLS, "hang_up", call)


def test_without_a_right_or_a_camera_there_is_sound_and_no_picture(host: RunningHost, browser: CallingBrowser) -> None:
    with host.client("anna") as anna:
        for number in ("hidden", "door"):
            spoken, call = ring(anna, browser, number, pictures="recvonly")
            spoken.next("connected")
            hears(browser)
            if number == "hidden":  # the camera is asked beside the sound, and no more once the call has ended
                until(lambda: "no camera hidden" in host.log("external.calls"))
            assert picture(browser)["width"] == 0
            anna.call(CALLS, "hang_up", call)
            browser.fresh()
        assert host.log("external.calls").count("no camera hidden") == 1
        for pictures in ("sendrecv", "sendonly"):
            with pytest.raises(InvalidArgument, match="say recvonly"):
                next(anna.stream(CALLS, "ring", "seen", browser.offer(pictures=pictures)))
            browser.fresh()


@pytest.mark.parametrize("lie", LIES)
def test_a_camera_that_lies_costs_no_sound(host: RunningHost, browser: CallingBrowser, lie: str) -> None:
    with host.client("carl") as carl:
        spoken, call = ring(carl, browser, f"lie-{lie}", pictures="recvonly")
        spoken.next("connected")
        hears(browser)
        until(lambda: counted(host, lie))
        hears(browser)
        assert picture(browser)["width"] == 0
        carl.call(CALLS, "hang_up", call)
        assert spoken.next("ended")["why"] == "hung up"
    loop = host.loop("external.calls")
    assert (loop["violations"], loop["restarts"]) == (0, 0)


def counted(host: RunningHost, lie: str) -> bool:
    if lie in ("bomb", "raw"):
        with host.client("ben") as ben:
            return int(ben.call(CALLS, "metrics")["counters"].get("pictures_wrong", 0)) > 3
    return f"{LYING}/{lie}: the camera gives" in host.log("external.calls")


def lock(host: RunningHost) -> None:
    assert host.cli("lock").returncode == 0


def revoke(host: RunningHost) -> None:
    assert host.cli("revoke", "client", "anna").returncode == 0


@pytest.mark.parametrize("cut", [lock, revoke])
def test_no_picture_comes_once_a_right_has_ended(
    host: RunningHost, browser: CallingBrowser, cut: Callable[[RunningHost], None]
) -> None:
    browser.run("watch()")
    with host.client("anna") as anna:
        spoken, _ = ring(anna, browser, "seen", pictures="recvonly")
        spoken.next("connected")
        until(lambda: picture(browser)["width"])
        cut(host)
        done_s = time.time()
    until(lambda: is_still(browser))
    last_s = browser.run("all.seenAt") / 1000 - done_s
    print(f"{cut.__name__}: the last picture {last_s:.3f} s after the command")
    assert last_s < 0.2
    words = ["unlock"] if cut is lock else ["restore", "client", "anna"]
    assert host.cli(*words).returncode == 0
