"""The answering machine: real Chromium rings, real Whisper writes down, and processes are killed meanwhile."""

from __future__ import annotations

import array
import io
import os
import time
import wave
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import psutil
import pytest
from hosts.calling_browser import CallingBrowser
from hosts.calling_host import CALLS, TELEPHONE, Spoken, ring, until
from hosts.joined_networks import JoinedNetworks, inside
from hosts.running_host import RunningHost
from hosts.voicemail_host import MESSAGES, VOICEMAIL, speech, until_tone, voicemail_host

from tlsrt import Client, Denied, NotFound

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the network of a host is root's"),
    pytest.mark.once,
]
SAID = "I have a parcel for your neighbour."
Made = tuple[RunningHost, JoinedNetworks]


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    with voicemail_host(request, "vmail") as one:
        yield one


@pytest.fixture(scope="module")
def page(made: Made) -> Iterator[CallingBrowser]:
    with inside(made[1].peer):
        browser = CallingBrowser()
    with browser:
        yield browser


@pytest.fixture
def browser(page: CallingBrowser) -> CallingBrowser:
    page.fresh()
    return page


@pytest.fixture
def host(made: Made) -> RunningHost:
    """Nothing is left of the test before."""
    with made[0].client("anna") as anna, made[0].client() as admin:
        until(lambda: not admin.call(VOICEMAIL, "waiting")["recordings"], 60)
        anna.call(MESSAGES, "acknowledge", [one["id"] for one in anna.call(MESSAGES, "inbox")["messages"]])
    return made[0]


def newest(anna: Client) -> dict[str, Any]:
    """Wait for a message and take it; the sound of it is `wav`."""
    [found] = until(lambda: anna.call(MESSAGES, "inbox")["messages"], 60)
    message: dict[str, Any] = anna.call(MESSAGES, "read", found["id"])
    [file] = message["attachments"]
    data = b"".join(anna.stream(MESSAGES, "read_stream", f"{message['id']}/{file['name']}"))
    assert len(data) == file["size"]
    anna.call(MESSAGES, "acknowledge", [message["id"]])
    return {**message, "wav": wave.open(io.BytesIO(data))}


def seconds(message: dict[str, Any]) -> float:
    wav = message["wav"]
    assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (16_000, 1, 2)
    return float(wav.getnframes() / 16_000)


def test_who_rings_in_vain_leaves_a_message_that_is_written_down(host: RunningHost, browser: CallingBrowser) -> None:
    with host.client("anna") as anna, host.client("ben") as ben:
        begun_s = time.monotonic()
        spoken, call = ring(ben, browser, "home")
        assert spoken.next("answered")["by"] == VOICEMAIL
        print(f"answered after {time.monotonic() - begun_s:.3f} s")
        until_tone(browser)
        browser.say(speech(SAID))
        assert spoken.next("ended")["why"] == "hung up"
        ended_s = time.monotonic()
        message = newest(anna)
        print(f"in the mailbox {time.monotonic() - ended_s:.3f} s after the end: {message['body']}")
        assert (message["from"], message["topic"]) == (VOICEMAIL, "voicemail")
        assert message["body"].startswith("client/ben rang home, was not answered, and left a message of ")
        assert "parcel" in message["body"] and 3 < seconds(message) < 8
        for one in (anna, ben):
            [record, *_] = one.call(CALLS, "calls")
            assert (record["call"], record["taken_by"], record["outcome"]) == (call, VOICEMAIL, "away"), record
        assert anna.call(CALLS, "calls", 0, True)[0]["call"] == call
        assert ben.call(CALLS, "calls", 0, True) == []


def recorded_s(host: RunningHost) -> float:
    with host.client() as admin:
        found = admin.call(VOICEMAIL, "waiting")["recordings"]
    return max((float(one["seconds"]) for one in found), default=0.0)


def recording(host: RunningHost, browser: CallingBrowser, ben: Client) -> tuple[Spoken, str]:
    """Ring in vain, and say a tone of 440 Hz until some of it is kept."""
    spoken, call = ring(ben, browser, "home", 440)
    spoken.next("answered")
    until_tone(browser)
    until(lambda: recorded_s(host) >= 2)
    return spoken, call


def expect_one(host: RunningHost, least_s: float, most_s: float) -> dict[str, Any]:
    """Wait for the message, and for no other one."""
    with host.client("anna") as anna:
        message = newest(anna)
        assert least_s <= seconds(message) <= most_s, seconds(message)
        until(lambda: not recorded_s(host))
        assert anna.call(MESSAGES, "inbox")["messages"] == []
    return message


def lock(host: RunningHost) -> None:
    assert host.cli("lock").returncode == 0
    assert host.cli("unlock").returncode == 0


def kill_voicemail(host: RunningHost) -> None:
    host.kill("external.voicemail")


def kill_calls(host: RunningHost) -> None:
    host.kill("external.calls")


def kill_primary(host: RunningHost) -> None:
    host.kill("primary")


@pytest.mark.parametrize("cut", [lock, kill_voicemail, kill_calls, kill_primary])
def test_what_was_said_until_the_call_was_cut_off_arrives_once(
    host: RunningHost, browser: CallingBrowser, cut: Callable[[RunningHost], None]
) -> None:
    with host.client("ben") as ben:
        recording(host, browser, ben)
        cut(host)
    message = expect_one(host, 2.0, 10.0)
    with message["wav"] as wav:
        samples = array.array("h", wav.readframes(wav.getnframes()))[16_000:24_000]
    crossings = sum((one < 0) != (two < 0) for one, two in pairwise(samples))
    assert abs(crossings - 440) < 15, crossings


@pytest.mark.parametrize(
    "killed", [["external.messages"], ["secondary.speech"], ["external.messages", "secondary.speech"]]
)
def test_what_is_kept_arrives_once_whoever_is_killed_meanwhile(
    host: RunningHost, browser: CallingBrowser, killed: list[str]
) -> None:
    with host.client("ben") as ben:
        spoken, call = recording(host, browser, ben)
        ben.call(CALLS, "hang_up", call)
        for _ in range(3):
            pids = {loop: host.kill(loop) for loop in killed}
            until(lambda: all(host.pids().get(loop, pid) != pid for loop, pid in pids.items()))  # noqa: B023
        assert spoken.next("ended")["why"] == "hung up"
    expect_one(host, 2.0, 10.0)


def test_who_says_nothing_leaves_nothing(host: RunningHost, browser: CallingBrowser) -> None:
    with host.client("ben") as ben, host.client("anna") as anna:
        spoken, _ = ring(ben, browser, "home", 440)
        browser.silent()
        spoken.next("answered")
        until_tone(browser)
        assert spoken.next("ended")["why"] == "hung up"
        with host.client() as admin:
            until(lambda: not admin.call(VOICEMAIL, "waiting")["recordings"])
        assert anna.call(MESSAGES, "inbox")["messages"] == []


def test_a_key_ends_it_and_two_tones_say_so(host: RunningHost, browser: CallingBrowser) -> None:
    with host.client("ben") as ben:
        spoken, call = recording(host, browser, ben)
        ben.call(CALLS, "press", call, "#")
        until(lambda: abs(browser.run("loudest()")["hertz"] - 800) < 15)
        until(lambda: abs(browser.run("loudest()")["hertz"] - 600) < 15)
        assert spoken.next("ended")["why"] == "hung up"
    expect_one(host, 2.0, 10.0)


def test_who_never_stops_is_cut_off(host: RunningHost, browser: CallingBrowser) -> None:
    """And what it takes of the processor meanwhile."""
    with host.client("ben") as ben:
        spoken, _ = recording(host, browser, ben)
        process = psutil.Process(host.pids()["external.voicemail"])
        before, begun_s = process.cpu_times(), time.monotonic()
        time.sleep(4)
        after, took_s = process.cpu_times(), time.monotonic() - begun_s
        used = (after.user + after.system - before.user - before.system) / took_s
        print(f"records with {100 * used:.1f} % of a core, {process.memory_info().rss >> 20} MiB resident")
        assert spoken.next("ended")["why"] == "hung up"
    expect_one(host, 9.9, 10.2)


def test_whom_no_one_answers_and_who_is_declined_leave_one_too(host: RunningHost, browser: CallingBrowser) -> None:
    with host.client("anna") as anna, host.client("ben") as ben:
        watch = Spoken(anna, "watch")
        watch.next("waits")
        spoken, call = ring(ben, browser, "home", 440)
        assert watch.next("rings")["call"] == call
        assert watch.next("over")["why"] == "not answered"
        assert spoken.next("answered")["by"] == VOICEMAIL
        late = Spoken(anna, "answer", call, browser.offer())
        assert late.next("closed") and isinstance(late.error, NotFound), late.error
        ben.call(CALLS, "hang_up", call)
        spoken.next("ended")
        browser.fresh()
        spoken, call = ring(ben, browser, "two", 440)
        anna.call(CALLS, "decline", watch.next("rings")["call"])
        assert spoken.next("answered")["by"] == VOICEMAIL
        ben.call(CALLS, "hang_up", call)
        spoken.next("ended")
        missed = anna.call(CALLS, "calls", 0, True)
        assert [one["outcome"] for one in missed[:2]] == ["declined", "not answered"], missed[:2]


@pytest.mark.parametrize(("number", "why"), [("nobox", "away"), ("away", "away"), ("stuck", "")])
def test_what_is_rung_last_and_does_not_answer_changes_nothing(
    host: RunningHost, browser: CallingBrowser, number: str, why: str
) -> None:
    with host.client("ben") as ben, host.client() as admin:
        spoken, call = ring(ben, browser, number, 440)
        if why:
            assert spoken.next("ended")["why"] == why
            return
        assert spoken.next("answered")["by"] == VOICEMAIL  # a component that rang on is told that it need not any more
        until(lambda: not admin.call(TELEPHONE, "report")["is_in"])
        ben.call(CALLS, "hang_up", call)
        spoken.next("ended")


def test_no_one_but_external_calls_makes_it_record(host: RunningHost) -> None:
    with host.client("ben") as ben, host.client("anna") as anna:
        for one in (ben, anna):
            with pytest.raises(Denied):
                one.call(VOICEMAIL, "waiting")
            with pytest.raises(Denied):
                list(one.exchange(VOICEMAIL, "take_call", iter([]), "1", "client/anna", "", "home"))
