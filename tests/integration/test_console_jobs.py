"""Jobs in a real Chromium at a real host: put off where a call is made, seen, paused, resumed and removed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.console_page import CONSOLE, ConsolePage, console_page
from hosts.running_host import RunningHost, running

from tlsrt import Client

pytestmark = pytest.mark.once  # the page and the browser know no version of Python
PACKAGE = Path(__file__).parent.parent / "hosts" / "job_package" / "putting"
KETTLE, COOK = "third/kettle", "secondary/cook"
HOSTILE = "<img src=x onerror=alert(1)>\u202egnp"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, packages=[PACKAGE], clients=["ops"], extra=CONSOLE,
        components={KETTLE: {"class": "putting:Kettle"}, COOK: {"class": "putting:Cook"}},
        policy={f"client/ops -> {KETTLE}": "*"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def ops(host: RunningHost) -> Client:
    return host.client("ops")


@pytest.fixture(scope="module")
def page(host: RunningHost) -> Iterator[ConsolePage]:
    with console_page(host, "anna", {KETTLE: "[boil, boiled, drip]", COOK: "[plan]"}) as page:
        yield page


def choose(page: ConsolePage, id: str, value: str) -> None:
    """Choose in a list, once it has the value."""
    page.until(f"[...document.querySelectorAll('#{id} option')].some(one => one.value === '{value}')")
    told = "one.dispatchEvent(new Event('change', {bubbles: true}))"
    page.run(f"(one => {{ one.value = '{value}'; {told} }})(document.getElementById('{id}'))")


def form(page: ConsolePage, method: str, kind: str, due: str, **values: str) -> None:
    """Fill in when a method of the kettle is to be called."""
    of_method(page, method)
    page.type_in(**values)
    choose(page, "job-kind", kind)
    page.run(f"document.querySelector('main [name=job-time]').value = '{due}'")
    page.run("document.querySelector('main [name=job-time]').dispatchEvent(new Event('input', {bubbles: true}))")


def of_method(page: ConsolePage, method: str) -> None:
    """Open the form of a method of the kettle."""
    page.open_screen("health")  # a new form
    page.open_screen("methods")
    choose(page, "component", KETTLE)
    choose(page, "method", method)
    page.until(f"document.querySelector('main form h3')?.textContent === '{KETTLE} {method}'")


def row(page: ConsolePage, words: str, cell: int, text: str) -> None:
    """Wait until the row with these words says so in a cell."""
    page.until(
        f"[...document.querySelectorAll('main tbody tr')].some(row => row.textContent.includes({words!r})"
        f" && row.cells[{cell}]?.textContent.includes({text!r}))"
    )


def test_a_call_is_put_off_and_made_with_the_rights_of_its_browser(page: ConsolePage, ops: Client) -> None:
    form(page, "boil", "in", "1s", name=HOSTILE)
    page.until("document.querySelector('main form .main').textContent === 'Put it off'")
    page.until("document.querySelector('main .command').textContent.endsWith('--in 1s')")
    page.press_button("Put it off")
    asked = page.answer(yes=True)
    assert "with the rights that this client has at that time" in asked
    page.shows("It is put off, as job ")
    until = time.monotonic() + 15
    while f"client/anna {HOSTILE}" not in ops.call(KETTLE, "boiled"):
        assert time.monotonic() < until, "the job did not run"
        time.sleep(0.05)
    page.open_screen("jobs")
    row(page, f"{KETTLE} boil", 5, "done")
    assert page.run("[...document.querySelectorAll('main button')].every(one => one.textContent !== 'Pause')")
    page.press_button("Remove")
    page.answer(yes=True)
    page.shows("This client has put nothing off")
    assert page.wrong == []


def test_a_job_is_seen_paused_resumed_and_removed(page: ConsolePage, ops: Client) -> None:
    form(page, "boil", "every", "30s", name=HOSTILE)
    page.press_button("Put it off")
    page.answer(yes=True)
    page.shows("It is put off, as job ")
    page.open_screen("jobs")
    row(page, f"{KETTLE} boil", 1, "every 30s")
    page.press_button("Show")
    page.shows("<img src=x onerror=alert(1)>")  # as text
    assert page.run("document.querySelectorAll('main img').length") == 0
    page.shows("is made up for")
    page.press_button("Pause")
    row(page, f"{KETTLE} boil", 5, "paused")
    page.press_button("Resume")
    row(page, f"{KETTLE} boil", 5, "–")
    page.press_button("Remove")
    page.answer(yes=False)
    row(page, f"{KETTLE} boil", 1, "every 30s")
    page.press_button("Remove")
    assert "it runs no more" in page.answer(yes=True).lower()
    page.shows("This client has put nothing off")


def test_jobs_of_others_are_not_seen(page: ConsolePage, ops: Client) -> None:
    job = ops.put_off("every 30s", KETTLE, "boil", "others")
    form(page, "boil", "cron", "30 6 * * *", name="mine")
    page.press_button("Put it off")
    page.answer(yes=True)
    page.shows("It is put off, as job ")
    page.open_screen("jobs")
    row(page, f"{KETTLE} boil", 1, "30 6 * * *")
    assert page.run("document.querySelectorAll('main tbody tr').length") == 1
    assert [one["id"] for one in ops.jobs()] == [job]
    page.press_button("Remove")
    page.answer(yes=True)
    page.shows("This client has put nothing off")
    ops.remove_job(job)


@pytest.mark.parametrize(
    ("kind", "due", "words"),
    [
        ("in", "soon", 'cannot read the duration "soon": write 90s, 10m, 2h or 7d'),
        ("every", "5s", "5s is not between 30 s and 366d"),
        ("cron", "6 30", "write five fields as cron has them"),
        ("at", "2020-01-01T00:00", "is over: say a time that comes"),
        ("cron", "99 6 * * *", "invalid_argument"),  # the host's own sentence
    ],
)
def test_a_wrong_time_gets_one_sentence(page: ConsolePage, kind: str, due: str, words: str) -> None:
    form(page, "boil", kind, due, name="never")
    page.press_button("Put it off")
    if words == "invalid_argument":
        page.answer(yes=True)
    page.until(f"document.querySelector('main form [role=alert]:not(:empty)')?.textContent.includes({words!r})")


def test_what_streams_has_no_time(page: ConsolePage) -> None:
    of_method(page, "drip")
    assert page.run("document.getElementById('job-kind')") is None


def test_a_browser_that_has_lost_the_right_is_not_served_by_its_job(
    host: RunningHost, page: ConsolePage, ops: Client
) -> None:
    form(page, "boil", "in", "6s", name="stolen")
    page.press_button("Put it off")
    page.answer(yes=True)
    page.shows("It is put off, as job ")
    changed = host.cli("client", "set", "anna", "--allow", f"{KETTLE}: [boiled, drip]")
    assert changed.returncode == 0, changed.stderr
    try:
        until = time.monotonic() + 30
        while "policy" not in (listed := host.cli("jobs", "list").stdout):
            assert time.monotonic() < until, listed
        page.open_screen("jobs")
        row(page, f"{KETTLE} boil", 5, "policy")
        assert "client/anna stolen" not in ops.call(KETTLE, "boiled")
        page.press_button("Remove")
        page.answer(yes=True)
        page.shows("This client has put nothing off")
    finally:
        host.cli("client", "set", "anna", "--allow", f"{KETTLE}: [boil, boiled, drip]", "--allow", f"{COOK}: [plan]")
