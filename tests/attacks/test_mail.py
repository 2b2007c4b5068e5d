"""Attacked sentence: a mail server that lies costs the carrier a sentence, no memory, no password and no time."""

from __future__ import annotations

import asyncio
import resource
import ssl
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.lying_imap_server import WAYS, LyingImapServer
from fakes.lying_mail_server import WAYS as SMTP_WAYS
from fakes.lying_mail_server import LyingMailServer
from fakes.own_certificate import server_context

from tlsrt.loops.external.carrier import NotTaken
from tlsrt.loops.external.mail_folder import FolderAwayError, MailFolder
from tlsrt.loops.external.mail_options import ImapOptions, SmtpOptions
from tlsrt.loops.external.mail_submission import MailSubmission

PASSWORD = "correct horse battery"
LIMIT_S = 1.0
HARMLESS = {"nothing_there"}  # a mail may go at any time


@pytest.fixture(scope="module")
def contexts() -> Iterator[tuple[ssl.SSLContext, ssl.SSLContext]]:
    with tempfile.TemporaryDirectory(prefix="tlsrt-lies.") as name:
        server = server_context(Path(name))
        yield server, ssl.create_default_context(cafile=f"{name}/ca.pem")


def folder_of(port: int, context: ssl.SSLContext) -> MailFolder:
    return MailFolder(
        ImapOptions(host="127.0.0.1", port=port), "house@example.org", PASSWORD, context, asyncio.to_thread, LIMIT_S
    )


async def converse(folder: MailFolder) -> list[object]:
    """Do all that the carrier does once."""
    try:
        await folder.open()
        found: list[object] = [await folder.uids(0, 1), await folder.about([1]), await folder.content(1, 1000)]
        await folder.finish([1])
        await folder.wait(0.2, 0.1)
        return found
    finally:
        await folder.close()


@pytest.mark.parametrize("way", sorted(WAYS))
def test_an_imap_server_that_lies_is_a_sentence(way: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server = LyingImapServer(contexts[0], way)
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async def work() -> None:
        folder = folder_of(server.port, contexts[1])
        if way in HARMLESS:
            assert (await converse(folder))[2] is None
            return
        with pytest.raises(FolderAwayError) as caught:
            await converse(folder)
        words = str(caught.value)
        assert words.isprintable() and words.startswith("127.0.0.1") and len(words) < 260 and PASSWORD not in words

    try:
        asyncio.run(work())  # ends when its threads have ended
    finally:
        server.close()
    assert time.monotonic() - began < 15
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 48 << 10  # KiB: not the 64 MiB that came


def test_a_server_without_the_right_certificate_gets_no_word(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server = LyingImapServer(contexts[0], "none")

    async def work() -> None:
        with pytest.raises(FolderAwayError, match="a certificate that is not trusted"):
            await converse(folder_of(server.port, ssl.create_default_context()))
        assert await converse(folder_of(server.port, contexts[1])) == [[1], {1: (3, False)}, b"abc"]

    try:
        asyncio.run(work())
    finally:
        server.close()


@pytest.mark.parametrize("way", SMTP_WAYS)
def test_an_smtp_server_that_lies_gets_no_password(way: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server = LyingMailServer(way)
    began = time.monotonic()

    async def work() -> None:
        options = SmtpOptions(host="127.0.0.1", port=server.port, security="starttls")
        submission = MailSubmission(options, "house@example.org", PASSWORD, contexts[1], LIMIT_S)
        with pytest.raises(NotTaken) as caught:
            await submission.send("house@example.org", "anna@example.org", b"From: a@b\r\n\r\nx\r\n")
        assert str(caught.value).isprintable() and "127.0.0.1" in str(caught.value)

    try:
        asyncio.run(work())
    finally:
        server.close()
    assert b"AUTH" not in server.heard.upper() and b"MAIL FROM" not in server.heard.upper()
    assert time.monotonic() - began < 15


def test_no_address_or_mail_begins_a_command() -> None:
    async def work() -> None:
        options = SmtpOptions(host="127.0.0.1", port=1)
        submission = MailSubmission(options, "u", PASSWORD, ssl.create_default_context(), LIMIT_S)
        with pytest.raises(NotTaken, match="Error connecting"):
            await submission.send("house@example.org", "a@b>\r\nRCPT TO:<eve@evil.example", b"")

    asyncio.run(work())
