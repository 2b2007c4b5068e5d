"""An index that follows trees, mailboxes and notes by itself, also when its processes are killed at any moment."""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hosts.indexed_host import DIARY, FILES, MESSAGES, POLICY, STORE, components, tlsrt, trees, until
from hosts.language_model import asking, model_file
from hosts.running_host import RunningHost, running

from tlsrt import CallError, Client
from tlsrt.loops.indexing.feeder import part_of

ASK = "secondary/ask"
pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]
YESTERDAY = datetime.now() - timedelta(days=1)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with trees() as folder:
        (folder / "work" / "pump.txt").write_text("The pump in the cellar is cleaned every four weeks.\n")
        yield folder


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, folder: Path) -> Iterator[RunningHost]:
    more = {ASK: asking(model_file())}
    policy = {**POLICY, f"client/admin -> {ASK}": "*"}
    extra = {"supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}}
    made = {**components(folder), **more}
    yield from running(request, clients=["anna"], components=made, policy=policy, extra=extra)


def found(client: Client, text: str, tree: str = "work") -> list[dict[str, Any]]:
    return list(client.call(FILES, "find", tree, text, timeout_s=90)["hits"])


def indexed(host: RunningHost, part: str = f"{FILES}:work") -> dict[str, int]:
    """Return how often each text is in the index, read from its database."""
    folder = host.config.state_dir / "secondary.search" / "search"
    with tempfile.TemporaryDirectory() as place:  # a copy: its process alone may open it
        for path in folder.glob("data.sqlite*"):
            shutil.copy(path, place)
        with closing(sqlite3.connect(Path(place) / "data.sqlite")) as base:
            rows = base.execute("SELECT name, count(*) FROM sources WHERE space = ? GROUP BY name", (part,))
            return dict(rows.fetchall())


def settled(client: Client, tree: str = "work") -> bool:
    try:
        return client.call(FILES, "find", tree, "pump", timeout_s=20)["is_behind"] is False
    except CallError:
        return False


def test_files_are_found_as_they_come_change_move_and_go(host: RunningHost, folder: Path) -> None:
    client, work = host.client(), folder / "work"
    (hit,) = until(lambda: found(client, "how often is the pump cleaned"))[:1]
    assert (hit["path"], hit["start"]) == ("work/pump.txt", 0) and "four weeks" in hit["text"]
    (work / "2026" / "May").mkdir(parents=True)
    (work / "2026" / "May" / "bins.txt").write_text("Payments.\n\nThe bins are emptied on Tuesdays.\n")
    hit = until(lambda: [one for one in found(client, "when are the bins emptied") if "bins" in one["path"]])[0]
    assert hit["path"] == "work/2026/May/bins.txt" and hit["text"] == "The bins are emptied on Tuesdays."
    (work / "2026" / "May" / "bins.txt").write_text("The bins are emptied on Fridays.\n")
    until(lambda: [one for one in found(client, "when are the bins emptied") if "Fridays" in one["text"]])
    (work / "2026").rename(work / "later")
    until(lambda: [one for one in found(client, "bins") if one["path"] == "work/later/May/bins.txt"])
    (work / "later" / "May" / "bins.txt").unlink()
    assert not [one for one in found(client, "bins") if "bins" in one["path"]], "at once, whatever the index holds"
    until(lambda: settled(client) and "later/May/bins.txt" not in indexed(host))
    (work / "picture.txt").write_bytes(b"\xff\xd8\xff\xe0")
    until(lambda: client.call(FILES, "find", "work", "x")["left_out"] == 1)
    (work / "picture.txt").unlink()


def test_nothing_is_lost_and_nothing_is_there_twice_after_kills_at_any_moment(host: RunningHost, folder: Path) -> None:
    client, work, chance = host.client(), folder / "work", random.Random(7)
    victims = ["third.files", "secondary.search"]
    for number in range(120):
        (work / f"n{number:03}.txt").write_text(f"Remember the number {number}.\n")
        if number % 3 == 0:
            (work / f"n{chance.randrange(number + 1):03}.txt").unlink(missing_ok=True)
        if number % 20 == 10:
            host.kill(victims[number // 20 % 2])
            time.sleep(chance.random())  # at any moment
    host.until(lambda status: all(one["state"] == "active" for one in status["loops"]), "all processes again")
    there = {one.name for one in work.glob("*.txt")}
    until(lambda: settled(client) and set(indexed(host)) == there)
    assert set(indexed(host).values()) == {1}
    for path in work.glob("n*.txt"):
        path.unlink()
    until(lambda: settled(client) and set(indexed(host)) == {"pump.txt"})


def test_messages_are_found_in_the_mailbox_of_who_asks_until_they_are_acknowledged(host: RunningHost) -> None:
    admin, anna = host.client(), host.client("anna")
    sent = anna.call(MESSAGES, "send", "client/admin", "The plumber comes on Friday at nine.", "house.water")
    hits = until(lambda: admin.call(MESSAGES, "find", "when does somebody repair the pipes")["hits"])
    assert (hits[0]["id"], hits[0]["sender"], hits[0]["topic"]) == (sent["id"], "client/anna", "house.water")
    assert [one["state"] for one in admin.call(MESSAGES, "inbox")["messages"]] == ["new"]
    host.respawn("external.messages")
    host.respawn("secondary.search")
    assert until(lambda: admin.call(MESSAGES, "find", "plumber", timeout_s=60)["hits"])[0]["id"] == sent["id"]
    admin.call(MESSAGES, "acknowledge", [sent["id"]])
    assert admin.call(MESSAGES, "find", "plumber")["hits"] == []


def test_notes_of_the_store_are_found_as_they_come_change_expire_and_go(host: RunningHost) -> None:
    client = host.client()
    put = client.call(STORE, "put", "pipes", "Remember:\n\nThe plumber comes on Friday at nine.")
    client.call(STORE, "put", "number", 7)  # no text
    client.call(STORE, "put", "secret", "The cat sleeps on the boiler.", namespace=DIARY)

    def hits(question: str, **more: Any) -> Any:
        return client.call(STORE, "find", question, timeout_s=60, **more)["hits"]

    hit = until(lambda: [one for one in hits("when does someone repair the water") if "Friday" in one["text"]])[0]
    assert (hit["key"], hit["revision"]) == ("pipes", put["revision"])
    assert "Remember:\n\nThe plumber comes on Friday at nine."[hit["start"] :].startswith(hit["text"])
    assert [one["key"] for one in until(lambda: hits("animals", namespace=DIARY))] == ["secret"]
    client.call(STORE, "put", "pipes", "The plumber comes on Monday.")
    until(lambda: ["Monday" in one["text"] for one in hits("plumber")] == [True])
    client.call(STORE, "put", "soon", "The bins are emptied on Tuesdays.")
    until(lambda: [one for one in hits("when are the bins emptied") if one["key"] == "soon"])
    client.call(STORE, "put", "soon", "The bins are emptied on Tuesdays.", ttl_s=0.2)
    until(lambda: indexed(host, f"{STORE}:{part_of('')}") == {"pipes": 1})
    client.call(STORE, "put", "pipes", {"no": "text"})
    assert hits("plumber") == [], "at once, whatever the index holds"
    until(lambda: indexed(host, f"{STORE}:{DIARY}") == {"secret": 1})
    until(lambda: client.call(STORE, "find", "plumber")["is_behind"] is False)


def test_no_note_is_lost_and_none_is_there_twice_after_kills_at_any_moment(host: RunningHost) -> None:
    client, chance = host.client(), random.Random(11)
    victims = ["secondary.store", "secondary.search"]
    for number in range(120):
        until(partial(stored, client, f"n{number:03}", f"Remember the number {number}."))
        if number % 3 == 0:
            client.call(STORE, "delete", f"n{number:03}", namespace=DIARY)
        if number % 20 == 10:
            host.kill(victims[number // 20 % 2])
            time.sleep(chance.random())  # at any moment
            host.until(lambda status: all(one["state"] == "active" for one in status["loops"]), "all processes again")
    there = {"secret", *(f"n{number:03}" for number in range(120) if number % 3)}
    until(lambda: set(indexed(host, f"{STORE}:{DIARY}")) == there)
    assert set(indexed(host, f"{STORE}:{DIARY}").values()) == {1}


def stored(client: Client, key: str, text: str) -> bool:
    try:
        return bool(client.call(STORE, "put", key, text, namespace=DIARY))
    except CallError:
        return False


def test_a_person_asks_about_yesterday_and_gets_an_answer_with_its_sources(host: RunningHost, folder: Path) -> None:
    """The sentence of the issue, by `tlsrt` alone: a file and a message of yesterday, and four processes killed."""
    told = f"{YESTERDAY:%Y-%m-%d}: the cellar door was opened at eight by the plumber, who has mended the pump."
    (folder / "work" / "diary.txt").write_text(f"Diary of the house\n\n{told}\n")
    sent = tlsrt(host, "send", "client/admin", "Yesterday the plumber has left the key of the cellar.", client="anna")
    assert sent.returncode == 0, sent.stderr
    for name in ("third.files", "secondary.search", "external.messages", "secondary.ask"):
        host.respawn(name)
    client = host.client()
    until(lambda: settled(client) and found(client, "cellar door"))
    until(lambda: client.call(MESSAGES, "find", "the key", timeout_s=60)["hits"])
    client.call(STORE, "put", "door", "The cellar door sticks since yesterday.", namespace=DIARY)
    until(lambda: "sticks" in str(client.call(STORE, "find", "the cellar door", namespace=DIARY, timeout_s=60)))
    places = ["--files", "work", "--store", DIARY, "--messages"]
    words = ["ask", *places, "--passages", "2", "--tokens", "16", "--timeout", "150"]
    said = tlsrt(host, *words, "what happened to the cellar door yesterday")
    assert said.returncode == 0, said.stdout + said.stderr
    answer, head, listed = said.stdout.partition("Sources that the model was given")
    assert answer.strip() and head
    assert "file work/diary.txt, third/files, tree work" in listed and "opened at eight by the plumber" in listed
    assert f"value door, {STORE}, namespace {DIARY}" in listed and "sticks since yesterday" in listed
    assert "from client/anna" in listed and "left the key of the cellar" in listed
    (folder / "work" / "diary.txt").unlink()
    again = tlsrt(host, *words, "what happened to the cellar door yesterday")
    assert again.returncode == 0 and "diary.txt" not in again.stdout
