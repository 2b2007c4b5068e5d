"""Attacked sentence: of XMPP only listed people are heard, and a server that lies gets no password and no memory."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.lying_xmpp_server import DOMAIN, OWN, PASSWORD, LyingXmppServer, Write, archived
from hosts.xmpp_carrier import ANNA, Mail, carrier, until, why

EVE = f"eve@{DOMAIN}"


def text(sender: str, body: str, more: str = "", id: str = "") -> str:
    return f"<message from='{sender}' to='{OWN}' type='chat' id='{id}'><body>{body}</body>{more}</message>"


def run(attack: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(attack())  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it tried again soon."""
    monkeypatch.setattr("tlsrt.loops.external.carrier.FIRST_S", 0.05)


@pytest.fixture
def server(tmp_path: Path) -> LyingXmppServer:
    return LyingXmppServer(tmp_path)


# -- the way to the server ------------------------------------------------------------------------------------


def _no_tls(server: LyingXmppServer) -> None:
    server.offers_tls, server.mechanisms = False, ("PLAIN", "SCRAM-SHA-256")


def _plaintext_behind_proceed(server: LyingXmppServer) -> None:
    server.behind_proceed = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"


def _old_tls(server: LyingXmppServer) -> None:
    server.context.maximum_version = ssl.TLSVersion.TLSv1_2


def _plain_alone(server: LyingXmppServer) -> None:
    server.mechanisms = ("PLAIN", "LOGIN", "X-OAUTH2")


def _no_proof(server: LyingXmppServer) -> None:
    server.proof = lambda right: b""


def _false_proof(server: LyingXmppServer) -> None:
    server.proof = lambda right: b"v=AAAA"


def _early_success(server: LyingXmppServer) -> None:
    server.is_early = True


def _endless_iterations(server: LyingXmppServer) -> None:
    server.iterations = 2**31


def _one_iteration(server: LyingXmppServer) -> None:
    server.iterations = 1


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (_no_tls, "it offers no encryption"),
        (_plaintext_behind_proceed, "it sends stanzas where a stream has to begin anew"),
        (_old_tls, "no TLS 1.3 with it|it closed the connection"),
        (_plain_alone, "it offers the logins LOGIN, PLAIN, X-OAUTH2; the option `mechanisms` allows SCRAM"),
        (_no_proof, "it does not prove that it knows the password"),
        (_false_proof, "it does not prove that it knows the password"),
        (_early_success, "it does not prove that it knows the password"),
        (_endless_iterations, "it asks for 2147483648 iterations"),
        (_one_iteration, "it asks for 1 iterations"),
    ],
)
def test_a_server_that_is_not_genuine_gets_no_password(
    server: LyingXmppServer, lie: Callable[[LyingXmppServer], None], words: str
) -> None:
    lie(server)

    async def attack() -> None:
        mail = Mail()
        mail.put("a secret")
        async with server, carrier(server, mail) as made:
            await why(made, words)
            assert server.logins == 0 and not server.texts and not mail.acknowledged
            assert PASSWORD.encode() not in b"".join(server.clear) and b"auth" not in b"".join(server.clear)

    run(attack)


def test_a_certificate_of_another_name_or_authority_is_refused(tmp_path: Path) -> None:
    async def attack() -> None:
        for number, name in enumerate(("other.test", DOMAIN)):
            folder, trusted = tmp_path / f"{number}", tmp_path / f"trusted{number}"
            folder.mkdir()
            trusted.mkdir()
            async with LyingXmppServer(folder, name) as server:
                if name == DOMAIN:
                    server.ca = LyingXmppServer(trusted).ca
                async with carrier(server, Mail()) as made:
                    await why(made, "its certificate is refused")
                    assert server.logins == 0

    run(attack)


def test_plain_is_used_where_the_option_says_so(server: LyingXmppServer) -> None:
    server.mechanisms = ("PLAIN",)

    async def attack() -> None:
        async with server, carrier(server, Mail(), mechanisms=["PLAIN"]):
            await until(lambda: server.logins)

    run(attack)


# -- what it sends --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ("<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'>]>", "XML"),
        ("<message>" + "<a>" * 40, "deeper than"),
        ("<message>" + "<a/>" * 5000, "elements"),
        ("<message><body>" + "x" * (600 << 10), "more than 524288 bytes"),
        ("<message " + " ".join(f"a{n}='1'" for n in range(100)) + ">", "elements"),
        ("<message><body>&undefined;</body></message>", "no XML"),
        ("<!-- a comment -->", "a comment"),
        ("<?php x ?>", "a processing instruction"),
        ("<message><body>\x01</body></message>", "no XML"),
        ("<message></iq>", "no XML"),
        ("<a xmlns='urn:xmpp:sm:3' h='4000000000'/>", "it acknowledges what was not sent"),
        ("<stream:error><host-gone xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "host-gone"),
    ],
    ids=[
        "bomb", "deep", "wide", "long", "attributes", "entity", "comment", "instruction", "control", "broken", "h",
        "end",
    ],
)  # fmt: skip
def test_what_breaks_a_bound_ends_the_connection_and_not_the_carrier(
    server: LyingXmppServer, lie: str, words: str
) -> None:
    told: list[int] = []

    async def lies(write: Write) -> None:
        told.append(1)
        write(lie if len(told) == 1 else text(ANNA, "still here", id="a" * 20))

    server.at_presence = lies

    async def attack() -> None:
        mail = Mail()
        async with server, carrier(server, mail) as made:
            await why(made, words)
            assert await until(lambda: mail.sent) == [("client/anna", "still here")]

    run(attack)


def test_a_document_type_at_the_beginning_of_a_stream_is_refused(server: LyingXmppServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        "fakes.lying_xmpp_server._HEADER", "<!DOCTYPE x [<!ENTITY a 'a'>]><stream:stream xmlns:stream='x'>"
    )

    async def attack() -> None:
        async with server, carrier(server, Mail()) as made:
            await why(made, "it sends a document type, which XMPP forbids")

    run(attack)


def test_no_one_but_the_listed_is_heard_and_nothing_wrapped_is(server: LyingXmppServer) -> None:
    forged = text(ANNA, "forged").replace("<message", "<message xmlns='jabber:client'")
    inner = f"<forwarded xmlns='urn:xmpp:forward:0'>{forged}</forwarded>"
    lies = [
        text(EVE, "a stranger"),
        text(f"{ANNA}.eve.test/x", "nearly"),
        text(f"x/{ANNA}", "as a resource"),
        text("", "from no one"),
        text(OWN, "from ourselves"),
        text(DOMAIN, "from the server"),
        text("@@@", "no address"),
        text(ANNA, "an error").replace("type='chat'", "type='error'"),
        text(ANNA, "a room").replace("type='chat'", "type='groupchat'"),
        archived("guessed", "1" * 20, ANNA, "an archive of no question"),
        archived("", "1" * 20, ANNA, "an archive without a question"),
        archived("", "1" * 20, ANNA, "an archive of another", by=EVE),
        *(
            f"<message from='{by}' to='{OWN}'><{kind} xmlns='urn:xmpp:carbons:2'>{inner}</{kind}></message>"
            for by in (OWN, EVE, ANNA) for kind in ("sent", "received")
        ),
        f"<presence from='{EVE}' type='subscribe'/>",
        f"<iq from='{EVE}' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
        f"<iq from='{EVE}' type='set' id='2'><query xmlns='jabber:iq:roster'><item jid='{EVE}'/></query></iq>",
        f"<presence from='{ANNA}' type='subscribe'/>",
        text(f"{ANNA.upper()}/x", "in capitals", id="b" * 20),
    ]  # fmt: skip

    async def tell(write: Write) -> None:
        write("".join(lies))

    server.at_presence = tell

    async def attack() -> None:
        mail = Mail()
        async with server, carrier(server, mail):
            await until(lambda: mail.sent)
            await until(lambda: [one for one in server.said if one.get("type") == "subscribed"])
            assert mail.sent == [("client/anna", "in capitals")]
            assert not [one for one in server.said if EVE in one.get("to", "")] and not server.texts

    run(attack)


def test_the_archive_of_another_is_not_read_while_ours_is_asked(server: LyingXmppServer, tmp_path: Path) -> None:
    """Also: what is in it of others, to others, or twice; and a second start goes on behind it."""
    server.has_archive = True
    asked: list[str] = []

    def archive(query: str, after: str) -> str:
        asked.append(after)
        if after == "" and len(asked) == 1:
            return archived(query, "first", ANNA, "before the first start")
        if after in ("first", "sixteen-and-more-2"):
            return "".join((
                archived(query, "forged-by-another-1", ANNA, "of another archive", by=EVE),
                archived("x" + query, "other-question-11", ANNA, "of another question"),
                archived(query, "sixteen-and-more-1", EVE, "a stranger"),
                archived(query, "to-someone-else-111", ANNA, "to another", to=EVE),
                archived(query, "own-words-11111111", OWN, "ours"),
                archived(query, "sixteen-and-more-2", ANNA, "in the archive"),
            ))  # fmt: skip
        return ""

    server.archive = archive

    async def attack() -> None:
        mail = Mail()
        state = tmp_path / "state"
        state.mkdir()
        async with server:
            async with carrier(server, mail, state):
                await until(lambda: mail.sent)
                server.write(text(ANNA, "in the archive", id="sixteen-and-more-2"))
                server.write(text(ANNA, "live", id="c" * 20))
                await until(lambda: len(mail.sent) > 1)
            async with carrier(server, mail, state):
                await until(lambda: asked[-1] == "sixteen-and-more-2" and server.logins == 2)
                server.write(text(ANNA, "again", id="d" * 20))
                await until(lambda: ("client/anna", "again") in mail.sent)
            assert [body for _, body in mail.sent] == ["in the archive", "live", "again"]

    run(attack)


def test_an_archive_without_an_end_or_with_more_than_a_page_ends_the_connection(server: LyingXmppServer) -> None:
    server.has_archive = True
    server.archive = lambda query, after: "".join(archived(query, f"{n}", EVE, "x") for n in range(60))

    async def attack() -> None:
        async with server, carrier(server, Mail()) as made:
            await why(made, "its archive gives more than it was asked for")

    run(attack)


def test_a_flood_of_one_person_is_cut_and_told_to_them_once(server: LyingXmppServer) -> None:
    async def flood(write: Write) -> None:
        for n in range(400):
            write(text(ANNA, f"{n}", id=f"{n:020}"))

    server.at_presence = flood

    async def attack() -> None:
        mail = Mail()
        async with server, carrier(server, mail, per_minute=20):
            await until(lambda: server.handled >= 400)
            assert len(mail.sent) == 20 and len(server.texts) == 1
            told = server.texts[0].findtext("{jabber:client}body", "")
            assert told == "more than 20 messages in a minute: wait, and send it again"

    run(attack)


def test_what_finds_no_room_is_told_and_gets_no_receipt(server: LyingXmppServer) -> None:
    async def say(write: Write) -> None:
        write(text(ANNA, "x", "<request xmlns='urn:xmpp:receipts'/>", id="e" * 20))

    server.at_presence = say

    async def attack() -> None:
        mail = Mail()
        mail.is_full = True
        async with server, carrier(server, mail):
            [told] = await until(lambda: server.texts)
            assert told.findtext("{jabber:client}body") == "not kept: the mailbox of client/anna is full"
            assert not [one for one in server.said if one.find("{urn:xmpp:receipts}received") is not None]

    run(attack)


# -- what it acknowledges -------------------------------------------------------------------------------------


def test_a_server_that_acknowledges_and_drops_is_asked_again_under_the_same_id(server: LyingXmppServer) -> None:
    async def attack() -> None:
        mail = Mail()
        mail.put("important")
        async with server, carrier(server, mail, again_s=1):
            await until(lambda: len(server.texts) >= 2)
            assert len({one.get("id") for one in server.texts}) == 1 and not mail.acknowledged
            id = server.texts[0].get("id")
            forged = f"<received xmlns='urn:xmpp:receipts' id='{id}'/>"
            server.write(f"<message from='{EVE}' to='{OWN}' type='chat'>{forged}</message>")
            server.write(text(EVE, "x").replace("type='chat'", "type='error'").replace("id=''", f"id='{id}'"))
            count = len(server.texts)
            await until(lambda: len(server.texts) > count)
            assert not mail.acknowledged and not mail.sent
            server.write(f"<message from='{ANNA}/x' to='{OWN}' type='chat'>{forged}</message>")
            await until(lambda: mail.acknowledged)

    run(attack)
