"""Mail from a real IMAP server for mailboxes that are full, and the sentence without the extra. No host."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.imap_server import PASSWORD, USER, ImapServer

from tlsrt.errors import ConfigError, Failed
from tlsrt.loops.external.mail import Mail
from tlsrt.testing import running

PROOF = b"Authentication-Results: mail.example.org; dkim=pass header.d=home.example\n"
NEEDS = {
    "secrets": [{"name": "password", "why": "a test"}], "state_mb": 16, "threads": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def imap() -> Iterator[ImapServer]:
    made = ImapServer()
    yield made
    made.close()


class Warm(Mail):
    """One that is warm, as on a host."""

    async def start(self) -> None:
        self.warm_up()
        await super().start()


class Mailboxes:
    """Messages, where the mailbox of anna is full until `has_room`."""

    def __init__(self) -> None:
        self.has_room = False
        self.kept: list[tuple[str, str]] = []
        self.tries = 0

    async def watch(self, after: int, topic: str | None) -> AsyncIterator[dict[str, Any]]:
        await asyncio.Event().wait()
        yield {}

    def acknowledge(self, positions: list[int]) -> int:
        return 0

    def send(self, to: str, body: str, **more: Any) -> dict[str, Any]:
        self.tries += 1
        if to == "client/anna" and not self.has_room:
            raise Failed("the mailbox of client/anna is full")
        self.kept.append((to, body))
        return {}


def options(imap: ImapServer, **more: Any) -> dict[str, Any]:
    people = {name: {"address": f"{name}@home.example", "to": f"client/{name}"} for name in ("anna", "bob")}
    return {
        "address": USER, "smtp": {"host": "127.0.0.1", "port": 1}, "imap": {"host": "127.0.0.1", "port": imap.port},
        "server": "mail.example.org", "people": people, "ca": str(imap.folder / "ca.pem"), "retry_s": 1, **more,
    }  # fmt: skip


def put(imap: ImapServer, sender: str, text: str) -> None:
    imap.put(PROOF + f"From: {sender}@home.example\nMessage-ID: <{text}@home.example>\n\n{text}\n".encode())


def test_what_cannot_be_handed_in_waits_in_the_folder_and_delays_no_other(imap: ImapServer, tmp_path: Path) -> None:
    mailboxes = Mailboxes()

    async def work() -> None:
        for sender, text in (("anna", "first"), ("bob", "second"), ("anna", "third")):
            await asyncio.to_thread(put, imap, sender, text)
        async with (
            asyncio.timeout(60),
            running(
                Warm, options=options(imap), address="external/mail", needs=NEEDS, state=tmp_path,
                secrets={"password": PASSWORD.encode()}, peers={"external/messages": mailboxes},
            ) as component,
        ):  # fmt: skip
            while mailboxes.kept != [("client/bob", "second")] or mailboxes.tries < 4:  # anna's are tried again
                await asyncio.sleep(0.05)
            assert await asyncio.to_thread(imap.count, flag="SEEN") == 1
            assert "the mailbox of client/anna is full" in str(await component.component.healthy())
            mailboxes.has_room = True
            while len(mailboxes.kept) < 3 or await asyncio.to_thread(imap.count, flag="SEEN") < 3:
                await asyncio.sleep(0.05)
            assert "full" not in str(await component.component.healthy())

    asyncio.run(work())
    assert mailboxes.kept == [("client/bob", "second"), ("client/anna", "first"), ("client/anna", "third")]


def test_more_mail_of_one_person_than_an_hour_allows_waits(imap: ImapServer, tmp_path: Path) -> None:
    mailboxes = Mailboxes()
    mailboxes.has_room = True

    async def work() -> None:
        for number in range(3):
            await asyncio.to_thread(put, imap, "anna", f"n{number}")
        await asyncio.to_thread(put, imap, "bob", "b")
        async with (
            asyncio.timeout(60),
            running(
                Warm, options=options(imap, per_hour=2), address="external/mail", needs=NEEDS, state=tmp_path,
                secrets={"password": PASSWORD.encode()}, peers={"external/messages": mailboxes},
            ),
        ):  # fmt: skip
            while ("client/bob", "b") not in mailboxes.kept:
                await asyncio.sleep(0.05)

    asyncio.run(work())
    assert mailboxes.kept == [("client/anna", "n0"), ("client/anna", "n1"), ("client/bob", "b")]


def test_without_the_extra_it_says_how_to_get_it(imap: ImapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mail_folder", "mail_intake", "mail_submission"):
        monkeypatch.delitem(sys.modules, f"tlsrt.loops.external.{name}", raising=False)
        monkeypatch.delattr(f"tlsrt.loops.external.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "imapclient", None)

    async def work() -> None:
        async with running(
            Warm, options=options(imap), address="external/mail", needs=NEEDS,
            secrets={"password": b"x"}, peers={"external/messages": Mailboxes()},
        ):  # fmt: skip
            pass

    with pytest.raises(ConfigError, match=r"needs aiosmtplib and IMAPClient: pip install 'tlsrt\[mail\]'"):
        asyncio.run(work())
