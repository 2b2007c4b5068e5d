"""The screens of messages and notifications in a real Chromium at a real host: live, with files, and texts as text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.console_page import CONSOLE, ConsolePage, console_page
from hosts.readable_page import unreadable
from hosts.running_host import RunningHost, running

from tlsrt import Client

pytestmark = pytest.mark.once  # the page and the browser know no version of Python
MESSAGES, NOTIFY = "external/messages", "third/notify"
STILL = {"name": "prefers-reduced-motion", "value": "reduce"}
HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.exe\x07" + "a" * 4096


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    for host in running(request, extra={**CONSOLE, "supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}}):
        for name, options in ((MESSAGES, []), (NOTIFY, ["--option", "readers=[client/*]"])):
            added = host.cli("component", "add", name, "--yes", "--allow", 'client/admin: "*"', *options)
            assert added.returncode == 0, added.stderr
        yield host


@pytest.fixture(scope="module")
def admin(host: RunningHost) -> Client:
    return host.client()


@pytest.fixture(scope="module")
def page(host: RunningHost) -> Iterator[ConsolePage]:
    with console_page(host, "anna", {MESSAGES: '"*"', NOTIFY: '"*"'}) as page:
        yield page


def readable(page: ConsolePage) -> None:
    for scheme in ("light", "dark"):
        page.ask("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}, STILL]})
        size = {"width": 320, "height": 700, "deviceScaleFactor": 1, "mobile": True}
        page.ask("Emulation.setDeviceMetricsOverride", size)
        assert unreadable(page, 320) == []
        page.ask("Emulation.clearDeviceMetricsOverride")


def test_a_message_comes_live_and_its_sender_sees_that_it_was_read_and_acknowledged(
    page: ConsolePage, admin: Client
) -> None:
    page.open_screen("messages")
    page.shows("The mailbox is empty")
    sent = admin.call(MESSAGES, "send", "client/anna", "dinner is ready", topic="house.kitchen")["id"]
    page.shows("dinner is ready")
    page.press_button("Read", "dinner is ready")
    page.shows("From client/admin, house.kitchen")
    page.press_button("Answer")
    page.until("document.activeElement.name === 'body'")
    page.type_in(body="I come\nat eight")
    page.press_button("Send this message")
    page.shows("Send this message: done")
    found = admin.call(MESSAGES, "inbox")["messages"][0]
    answer = admin.call(MESSAGES, "read", found["id"])
    assert answer["body"].replace("\r", "") == "I come\nat eight" and answer["in_reply_to"] == sent
    page.until("document.querySelector('main').innerText.includes('client/admin: read')")  # a receipt
    admin.call(MESSAGES, "acknowledge", [found["id"]])
    page.until("document.querySelector('main').innerText.includes('client/admin: acknowledged')")
    page.press_button("Acknowledge", "dinner is ready")
    page.shows("The mailbox is empty")
    state = admin.call(MESSAGES, "sent")["messages"][0]["recipients"][0]["state"]
    assert state == "acknowledged"


def test_files_go_with_a_message_both_ways(page: ConsolePage, admin: Client, tmp_path: Path) -> None:
    page.open_screen("messages")
    data = b"\x00\x01" * 300_000
    (tmp_path / "photo 1.jpg").write_bytes(data)
    page.type_in(to="client/admin", body="look")
    page.choose_files("#attach", str(tmp_path / "photo 1.jpg"))
    page.press_button("Send this message")
    page.shows("Send this message: done")
    found = admin.call(MESSAGES, "inbox")["messages"][0]
    path = f"{found['id']}/photo_1.jpg"
    assert b"".join(admin.stream(MESSAGES, "read_stream", path)) == data
    about = ("plan.bin", len(data), hashlib.sha256(data).hexdigest())
    admin.call(MESSAGES, "begin_put", *about)
    admin.upload(MESSAGES, "go_on_put", data, *about, 0)
    admin.call(
        MESSAGES, "send", "client/anna", "the plan",
        attachments=[{"name": about[0], "size": about[1], "sha256": about[2]}],
    )  # fmt: skip
    page.press_button("Read", "the plan")
    page.shows("plan.bin")
    page.run("window.showSaveFilePicker = undefined")
    page.ask("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.press_button("Fetch")
    page.shows(f"complete: 586 KiB, SHA-256 {about[2]}")


def test_what_cannot_be_sent_says_why_and_a_message_is_sent_once(page: ConsolePage, admin: Client) -> None:
    page.open_screen("messages")
    page.type_in(to="nobody", body="x")
    page.press_button("Send this message")
    page.until("document.querySelector('main [role=alert]')?.textContent.includes('to')")
    assert page.run("document.querySelector('main [name=body]').value") == "x"  # what was written is still there
    page.type_in(to="client/never-there")
    page.press_button("Send this message")
    page.shows("No one has looked into the mailbox of client/never-there yet")


def test_texts_of_others_are_texts(page: ConsolePage, admin: Client) -> None:
    page.open_screen("messages")
    admin.call(MESSAGES, "send", "client/anna", HOSTILE, topic="x")
    page.shows("<img src=x onerror=alert(1)>")
    page.press_button("Read", "<img")
    page.until("document.querySelector('article')?.innerText.includes('\\\\u{202e}gnp.exe\\\\u{7}aaa')")
    assert page.run("document.querySelectorAll('main img').length") == 0
    readable(page)


def test_the_screen_goes_on_after_its_service_died(page: ConsolePage, host: RunningHost, admin: Client) -> None:
    page.open_screen("messages")
    page.until("document.querySelector('.fresh').textContent.startsWith('as of')")
    host.respawn("external.messages")
    admin.call(MESSAGES, "send", "client/anna", "after the death", idempotent=True)
    page.shows("after the death")
    page.until("document.querySelector('.fresh').textContent.startsWith('as of')")


def test_notifications_come_live_and_are_acknowledged(page: ConsolePage, admin: Client) -> None:
    page.open_screen("notices")
    page.shows("There is none")
    sent = admin.call(NOTIFY, "send", "the kettle boils", "<b>hot</b>\u202e", severity="warning", topic="kitchen")
    page.shows("the kettle boils")
    page.shows("<b>hot</b>")
    admin.call(NOTIFY, "send", "<script>alert(1)</script>", "b" * 4000)
    page.shows("<script>alert(1)</script>")
    readable(page)
    page.type_in(comment="switched off")
    page.press_button("Acknowledge", "the kettle boils")
    page.hides("<b>hot</b>")
    known = admin.call(NOTIFY, "show", sent["id"])
    assert (known["state"], known["by"], known["comment"]) == ("acknowledged", "client/anna", "switched off")
    page.type_in(state="")
    page.shows("switched off")
    other = admin.call(NOTIFY, "send", "another")["id"]
    page.press_button("Acknowledge", "another")
    page.until("[...document.querySelectorAll('main tr')].some(one => /another[^]*acknowledged/.test(one.textContent))")
    assert admin.call(NOTIFY, "show", other)["state"] == "acknowledged"
