"""Jobs in a real Chromium at a real host: put off where a call is made, seen, paused, resumed and removed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hosts.console_page import CONSOLE, ConsolePage, console_page
from hosts.running_host import RunningHost, running
from hosts.shown_page import choose

from tlsrt import Client

pytestmark = pytest.mark.once  # the page and the browser know no version of Python
PACKAGE = Path(__file__).parent.parent / "hosts" / "job_package" / "putting"
KETTLE, COOK = "third/kettle", "secondary/cook"
ANNA = {KETTLE: "[boil, boiled, drip]", COOK: "[plan]"}  # what the browser may call
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
    with console_page(host, "anna", ANNA) as page:
        yield page


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


@contextmanager
def allowed(host: RunningHost, *rights: str) -> Iterator[None]:
    """Let the browser of `page` call this and no more, for a while."""
    try:
        changed = host.cli("client", "set", "anna", *(word for one in rights for word in ("--allow", one)))
        assert changed.returncode == 0, changed.stderr
        yield
    finally:
        words = [word for target, methods in ANNA.items() for word in ("--allow", f"{target}: {methods}")]
        assert host.cli("client", "set", "anna", *words).returncode == 0


def take_over(page: ConsolePage) -> None:
    """Get hold of what the page keeps to itself, as a script that was injected into it could."""
    page.run("globalThis.taken = {}")
    for module, name, keep in (("client", "Client", "client = this[0]"), ("endpoint", "Endpoint", "endpoints = this")):
        made = {"expression": f"import('/{module}.js').then(one => one.{name}.prototype)", "awaitPromise": True}
        like = page.ask("Runtime.evaluate", made)["result"]["objectId"]
        found = page.ask("Runtime.queryObjects", {"prototypeObjectId": like})["objects"]["objectId"]
        function = f"function () {{ globalThis.taken.{keep} }}"
        page.ask("Runtime.callFunctionOn", {"objectId": found, "functionDeclaration": function})


def put(page: ConsolePage, job: str, when: str, name: str) -> str:
    """Put a job by a page that was taken over, and that asks no right of its own; return what came of it."""
    return str(page.run(
        "(async () => { const { packRequest } = await import('/wire.js'), { unhex } = await import('/bytes.js');"
        f"for (const one of taken.endpoints) one.grant?.rights.get('{KETTLE}')?.methods.push('boil');"
        f"const one = {{ job: unhex('{job}'), target: '{KETTLE}', method: 'boil', when: '{when}', missed: 'once',"
        f" body: packRequest([], {{ name: '{name}' }}, null) }};"
        "return taken.client.putJob(one).then(() => 'is put', ({ code, message }) => `${code}: ${message}`) })()"
    ))  # fmt: skip


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


def test_a_browser_that_has_lost_the_right_is_not_served_by_its_job(
    host: RunningHost, page: ConsolePage, ops: Client
) -> None:
    take_over(page)
    form(page, "boil", "in", "6s", name="stolen")
    page.press_button("Put it off")
    page.answer(yes=True)
    page.shows("It is put off, as job ")
    page.open_screen("jobs")
    page.press_button("Pause")
    row(page, f"{KETTLE} boil", 5, "paused")  # so it cannot be due before the right is gone
    with allowed(host, f"{KETTLE}: [boiled, drip]"):
        page.until(
            f"taken.client.rights.get('{KETTLE}')?.methods.sort().join() === 'boiled,describe,drip'"
        )  # in a new session
        page.press_button("Resume")
        row(page, f"{KETTLE} boil", 5, "policy")
        assert "client/anna stolen" not in ops.call(KETTLE, "boiled")
        page.press_button("Remove")
        page.answer(yes=True)
        page.shows("This client has put nothing off")


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


def test_the_methods_follow_the_rights(host: RunningHost, page: ConsolePage) -> None:
    of_method(page, "boil")
    page.type_in(name="typed")
    methods = "[...document.querySelectorAll('#method option')].map(one => one.value).sort().join()"
    with allowed(host, f"{KETTLE}: [boil]", f"{COOK}: [plan]"):
        page.until(f"{methods} === 'boil'")
        assert page.run("document.querySelector('main form [name=name]').value") == "typed"  # its form is the same
    page.until(f"{methods} === 'boil,boiled,drip'")
    assert page.run("document.querySelector('main form [name=name]').value") == "typed"
    with allowed(host, f"{KETTLE}: [drip]", f"{COOK}: [plan]"):
        page.until(f"{methods} === 'drip'")
        page.until(f"document.querySelector('main form h3')?.textContent === '{KETTLE} drip'")
    with allowed(host, f"{COOK}: [plan]"):
        page.until(f"document.querySelector('main form h3')?.textContent === '{COOK} plan'")
        assert page.run("document.querySelectorAll('#component option').length") == 1
    page.until("document.querySelectorAll('#component option').length === 2")
    assert page.run("document.querySelector('#component').value") == COOK  # what is shown stays


def test_a_page_that_was_taken_over_puts_no_job_without_the_right(
    host: RunningHost, page: ConsolePage, ops: Client
) -> None:
    take_over(page)
    with allowed(host, f"{KETTLE}: [boiled, drip]"):
        page.until(f"taken.client.rights.get('{KETTLE}')?.methods.sort().join() === 'boiled,describe,drip'")
        take_over(page)
        assert (
            put(page, "0011223344556677", "+1", "forged") == "rejected: the gate of the host has refused it (rejected)"
        )
        assert host.cli("jobs", "list").stdout.count("client/anna") == 0
    page.until(f"taken.client.rights.get('{KETTLE}')?.methods.includes('boil')")
    assert "client/anna forged" not in ops.call(KETTLE, "boiled")


def test_a_job_that_is_put_twice_runs_once(page: ConsolePage, ops: Client) -> None:
    take_over(page)
    first = "8899aabbccddeeff"
    assert put(page, first, "+1", "twice") == put(page, first, "+1", "twice") == "is put"
    assert put(page, first, "+1", "another").startswith("conflict: a job of this id was put before")
    page.open_screen("jobs")
    row(page, f"{KETTLE} boil", 5, "done")
    assert page.run("document.querySelectorAll('main tbody tr').length") == 1
    assert put(page, first, "+1", "twice") == "is put"  # it was: it is the one that is done
    second = "ffeeddccbbaa9988"
    assert put(page, second, "+1", "behind") == "is put"
    until = time.monotonic() + 15
    while "client/anna behind" not in (boiled := ops.call(KETTLE, "boiled")):
        assert time.monotonic() < until, "the job did not run"
        time.sleep(0.05)
    assert (boiled.count("client/anna twice"), boiled.count("client/anna another")) == (1, 0)
    page.open_screen("health")
    page.open_screen("jobs")
    page.until("document.querySelectorAll('main tbody tr').length === 2")
    for left in (1, 0):
        page.press_button("Remove")
        page.answer(yes=True)
        page.until(f"document.querySelectorAll('main tbody tr').length === {left}")
    page.shows("This client has put nothing off")


@pytest.mark.parametrize(
    ("off_h", "due_h", "words"),
    [
        (-48, -24, "cannot put a job off to a time that has passed"),  # the page takes it for a time that comes
        (48, 24, "is over: say a time that comes"),  # the page takes it for one that has passed
    ],
)
def test_a_browser_whose_clock_is_wrong_is_told_so(page: ConsolePage, off_h: int, due_h: int, words: str) -> None:
    page.run(f"globalThis.right ??= Date.now; Date.now = () => right() + {off_h} * 3600000")
    try:
        due = page.run(
            f"(at => new Date(at - new Date(at).getTimezoneOffset() * 60000).toISOString().slice(0, 16))"
            f"(right() + {due_h} * 3600000)"
        )
        form(page, "boil", "at", due, name="never")
        page.press_button("Put it off")
        if off_h < 0:
            page.answer(yes=True)
        page.until(
            f"[...document.querySelectorAll('main form [role=alert]')].some(one => one.textContent.includes({words!r}))"
        )
        form(page, "boil", "in", "1h", name="later")  # no clock is asked for that
        page.press_button("Put it off")
        page.answer(yes=True)
        page.shows("It is put off, as job ")
        page.open_screen("jobs")
        row(page, f"{KETTLE} boil", 1, "once")
        page.press_button("Remove")
        page.answer(yes=True)
        page.shows("This client has put nothing off")
    finally:
        page.run("Date.now = right")


def test_a_revocation_ends_the_jobs_of_a_browser(host: RunningHost, ops: Client) -> None:
    with console_page(host, "beth", {KETTLE: "[boil, boiled]"}) as page:
        for kind, due in (("in", "1h"), ("every", "30s")):
            form(page, "boil", kind, due, name="of beth")
            page.press_button("Put it off")
            page.answer(yes=True)
            page.shows("It is put off, as job ")
        assert host.cli("jobs", "list").stdout.count("client/beth") == 2
        assert host.cli("client", "revoke", "beth").returncode == 0
        page.until("document.querySelector('#connection').textContent.startsWith('closed: rejected')")
        until = time.monotonic() + 15
        while "client/beth" in (listed := host.cli("jobs", "list").stdout):
            assert time.monotonic() < until, listed
        assert all("beth" not in line for line in ops.call(KETTLE, "boiled"))
