"""`tlsrt ask` over what the asker may read: notes, files, messages and yesterday's logs, by real models, offline."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hosts.language_model import asking, brought, model_file
from hosts.running_host import RunningHost, running
from tools.extras import need_extra

from tlsrt.channels.cli.main import main as command
from tlsrt.errors import EX_NOPERM

ASK, SEARCH, LOGS, MESSAGES, FILES = (
    "secondary/ask", "secondary/search", "secondary/logs", "external/messages", "third/files",
)  # fmt: skip
HEAD = "Sources that the model was given, whether its answer stands on them or not:"
pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]
YESTERDAY = datetime.now() - timedelta(days=1)


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, shelf: Path) -> Iterator[RunningHost]:
    model = model_file()
    need_extra("ai", "wordllama")
    spaces = {"house": {"read": ["client/admin", "client/anna"], "write": ["client/admin"]}}
    components = {
        ASK: asking(model), SEARCH: brought(SEARCH, namespaces=spaces), LOGS: brought(LOGS),
        MESSAGES: brought(MESSAGES), FILES: brought(FILES, trees={"shelf": {"path": str(shelf)}}),
    }  # fmt: skip
    components[FILES]["needs"]["read"] = [{"path": str(shelf), "why": "a test"}]
    policy = {f"client/admin -> {one}": "*" for one in components}
    policy |= {f"client/anna -> {one}": "*" for one in (ASK, SEARCH, MESSAGES)} | {f"client/guest -> {ASK}": "*"}
    for host in running(request, clients=["anna", "guest"], components=components, policy=policy):
        yesterday(host)
        yield host


@pytest.fixture(scope="module")
def shelf() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="shelf.") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "pump.txt").write_text("The pump in the cellar is cleaned every four weeks.\n")
        (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
        yield folder


def yesterday(host: RunningHost) -> None:
    """Write what processes of this host have said on the day before, as the part of a log that was moved away."""
    lines = [
        f"{YESTERDAY:%Y-%m-%d} 03:{at // 60:02}:{at % 60:02},120 INFO third/io: looked {at} times" for at in range(900)
    ]
    lines.insert(500, f"{YESTERDAY:%Y-%m-%d} 03:08:20,500 WARNING third/io: the cellar door was opened by a key")
    (host.config.log_dir / "third.log.1").write_text("\n".join(lines) + "\n")


Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(host: RunningHost, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run `tlsrt` as a client; return its status, and what it has printed."""

    def run(*words: str, client: str = "admin") -> tuple[int, str, str]:
        capsys.readouterr()
        status = command([*words, "--bundle", str(host.folder / f"{client}.tlsrt"), "--timeout", "200"])
        return status, *capsys.readouterr()

    return run


def asked(run: Said, *words: str, client: str = "admin") -> tuple[str, list[str]]:
    """Ask with a few tokens; return the answer, and the lines of its sources."""
    status, out, err = run("ask", "--tokens", "2", "--passages", "2", *words, client=client)
    assert status == 0, out + err
    answer, head, listed = out.partition(HEAD)
    assert head, out
    return answer, listed.strip().splitlines()


def test_yesterdays_events_are_answered_with_the_lines_that_fit(run: Said) -> None:
    answer, lines = asked(run, "--logs", "yesterday", "when was the cellar door opened", "--tokens", "12")
    assert answer.strip()
    (where, said) = lines[:2]
    assert where.split(", ")[1:] == [LOGS, "logs", f"{YESTERDAY:%Y-%m-%d} 03:08:20"]
    assert said.strip().endswith("WARNING third/io: the cellar door was opened by a key")
    assert len(lines) <= 4, "lines without a word of the question are left out"
    status, out, _ = run("ask", "--json", "--tokens", "1", "--passages", "1", "--logs", "yesterday", "what has looked")
    (listed,) = [one["sources"] for one in map(json.loads, out.splitlines()) if "sources" in one]
    assert status == 0 and "(900 times since" in listed[0]["text"]


def test_the_audit_log_is_a_right_of_its_own(run: Said) -> None:
    _, lines = asked(run, "--audit", "today", "which session was opened", "--passages", "1")
    assert f"{LOGS}, audit" in lines[0] and "session" in lines[1]
    status, _, err = run("ask", "--audit", "today", "which session was opened", client="anna")
    assert status == EX_NOPERM and "component add secondary/logs" in err


def test_notes_of_a_namespace_say_who_has_added_them_and_others_do_not_see_them(run: Said, tmp_path: Path) -> None:
    (tmp_path / "bins.txt").write_text("The bins are emptied on Tuesdays.\n")
    (tmp_path / "cat.bin").write_bytes(b"\xff\xfe\x00")
    status, out, err = run("search", "add", str(tmp_path), "--namespace", "house")
    assert status == 0 and f"added {tmp_path}/bins.txt" in out and "is no UTF-8 text" in out, out + err
    _, lines = asked(run, "--search", "house", "when are the bins emptied", client="anna")
    assert lines[0].strip().startswith(f"1  file {tmp_path}/bins.txt, {SEARCH}, namespace house, ")
    assert lines[0].endswith("by client/admin") and "Tuesdays" in lines[1]
    status, out, _ = run("search", "find", "bins", "--namespace", "house", client="anna")
    assert status == 0 and "Tuesdays" in out
    status, _, err = run("search", "add", str(tmp_path), "--namespace", "house", client="anna")
    assert status == EX_NOPERM and "may not write in namespace 'house'" in err
    status, _, err = run("ask", "--search", "client/admin", "bins", client="anna")
    assert status == EX_NOPERM and "may not read" in err
    status, _, err = run("ask", "--search", ".", "bins", client="anna")
    assert status != 0 and "there is nothing in namespace .: the model was not asked" in err


def test_files_of_the_host_are_read_with_the_rights_of_who_adds_them(run: Said) -> None:
    status, out, err = run("search", "add", "--host", "third/files/shelf", "--namespace", "house")
    assert (
        status == 0 and "added third/files/shelf/pump.txt" in out and "left out third/files/shelf/photo.jpg" in out
    ), err
    _, lines = asked(run, "--search", "house", "how often is the pump cleaned", client="anna")
    assert "file third/files/shelf/pump.txt" in lines[0] and "every four weeks" in lines[1]
    status, _, err = run("search", "add", "--host", "third/files/shelf", client="anna")
    assert status == EX_NOPERM and err.count("\n") == 1
    status, out, _ = run("search", "remove", "third/files/shelf/pump.txt", "--namespace", "house")
    assert status == 0
    status, out, _ = run("search", "list", "--namespace", "house", client="anna")
    assert status == 0 and "pump.txt" not in out


def test_messages_are_those_of_the_asker_and_none_counts_as_read(host: RunningHost, run: Said) -> None:
    with host.client("anna") as anna, host.client() as admin:
        anna.call(MESSAGES, "send", "client/admin", "The plumber comes on Friday at nine.", "house.water")
        admin.call(MESSAGES, "send", "client/anna", "The plumber has been paid.")
        _, lines = asked(run, "--messages", "when does the plumber come")
        assert "from client/anna on house.water" in lines[0] and lines[0].endswith("by client/anna")
        assert "Friday" in lines[1] and "paid" not in "\n".join(lines)
        (state,) = [one["state"] for one in admin.call(MESSAGES, "inbox")["messages"]]
        assert state == "new"
    status, out, _ = run("search", "add", "--messages")
    assert status == 0 and "from client/anna" in out
    _, lines = asked(run, "--search", ".", "plumber")
    assert "Friday" in lines[1]


def test_who_may_not_search_gets_one_sentence(run: Said) -> None:
    for words in (["--search", "house"], ["--messages"], ["--logs", "today"]):
        status, out, err = run("ask", *words, "what is new", client="guest")
        assert status == EX_NOPERM and not out and err.count("\n") == 1 and "this client may not call" in err


def test_a_file_of_the_asker_is_a_source_too(run: Said, tmp_path: Path) -> None:
    minutes = tmp_path / "minutes.txt"
    minutes.write_text("It was decided to buy a red kettle.\nIt is delivered next week.\n")
    began = time.monotonic()
    _, lines = asked(run, "--source", str(minutes), "what was decided", client="guest")
    print(f"answered in {time.monotonic() - began:.2f} s")
    assert lines[0].strip() == f"1  {minutes}" and "red kettle" in lines[1]


def test_what_is_no_time_is_said(run: Said) -> None:
    status, _, err = run("ask", "--logs", "last week", "what was")
    assert status != 0 and "is no time" in err and err.count("\n") == 1
