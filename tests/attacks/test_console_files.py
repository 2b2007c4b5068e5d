"""A service of files that lies to the console: no lie ends as a file, and its words stay words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.console_page import CONSOLE, ConsolePage, console_page
from hosts.running_host import RunningHost, running

pytestmark = pytest.mark.once  # the page and the browser know no version of Python
FILES = "third/files"
PACKAGE = Path(__file__).resolve().parents[1] / "hosts" / "lying_package" / "lying"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, packages=[PACKAGE], components={FILES: {"class": "lying:Files"}}, extra=CONSOLE)


@pytest.fixture(scope="module")
def page(host: RunningHost) -> Iterator[ConsolePage]:
    with console_page(host, "anna", {FILES: "[list, stat, read_stream]"}) as page:
        page.run(
            "window.showSaveFilePicker = undefined; window.saved = []; URL.createObjectURL = one => { saved.push(one) }"
        )
        page.open_screen("files")
        page.shows("<b>\\u{202e}aaa")
        page.run("document.querySelector('main tbody button').click()")
        page.shows("other bytes")
        yield page


@pytest.mark.parametrize(
    ("name", "why"),
    [("other bytes", "other SHA-256"), ("more bytes", "more bytes came than were announced"),
     ("huge", "says of it neither size nor SHA-256"), ("no digest", "says of it neither size nor SHA-256")],
)  # fmt: skip
def test_no_lie_about_a_file_ends_as_a_file(page: ConsolePage, name: str, why: str) -> None:
    page.press_button("Fetch", name)
    page.until(f"document.querySelector('.transfers li').innerText.includes({name!r})")
    page.until(f"document.querySelector('.transfers li').innerText.includes({why!r})")
    assert page.run("saved.length") == 0 and "complete" not in page.run(
        "document.querySelector('.transfers').innerText"
    )


def test_a_service_that_is_slow_is_said_to_be(page: ConsolePage) -> None:
    page.until(
        "/third.files was asked at .* and has not answered yet/.test(document.querySelector('.fresh').innerText)"
    )
    page.until("document.querySelector('.fresh').innerText.startsWith('as of')")
    assert page.run("document.querySelectorAll('main b').length") <= 4  # those of the transfers, none of a name
