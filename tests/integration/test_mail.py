"""Messages by mail on a real host: to a real SMTP server and from a real IMAP server, away and killed meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import ssl
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from fakes.imap_server import PASSWORD, USER, ImapServer
from fakes.mail_server import MailServer
from hosts.joined_messages import MESSAGES, set_secret, until
from hosts.running_host import RunningHost

from tlsrt.errors import Denied
from tlsrt.loops.external.mail_folder import MailFolder
from tlsrt.loops.external.mail_options import ImapOptions

MAIL, PROCESS = "external/mail", "external.mail"
DOMAIN = "Authentication-Results: mail.example.org; dkim=pass header.d=home.example\r\n"
KILLS = int(os.environ.get("MAIL_KILLS", "5"))
CLIENT = "[send, sent, inbox, read, acknowledge, watch, begin_put, go_on_put, stat, read_stream]"


class Peers:
    """Both servers, with one certificate."""

    def __init__(self) -> None:
        self.imap = ImapServer()
        self.smtp = MailServer(self.imap.context, USER, PASSWORD)

    def close(self) -> None:
        self.smtp.close()
        self.imap.close()


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    made = Peers()
    yield made
    made.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, peers: Peers) -> Iterator[RunningHost]:
    failed = request.session.testsfailed
    made = RunningHost(
        clients=["anna", "bob", "eve"], extra={"supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}}
    )
    read = [{"path": str(peers.imap.folder), "why": "the authority of a test"}]
    egress = [{"to": [f"127.0.0.1:{peers.smtp.port}", f"127.0.0.1:{peers.imap.port}"], "why": "mail of the house"}]
    people = {
        "anna": {"address": "anna@home.example", "to": "client/anna"},
        "bob": {"address": "bob@work.example", "to": "client/bob", "proof": ["token"]},
    }
    options = {
        "address": USER, "smtp": {"host": "127.0.0.1", "port": peers.smtp.port, "security": "starttls"},
        "imap": {"host": "127.0.0.1", "port": peers.imap.port}, "ca": str(peers.imap.folder / "ca.pem"),
        "server": "mail.example.org", "people": people, "retry_s": 1, "per_hour": 10_000,
    }  # fmt: skip
    steps: tuple[tuple[str, dict[str, Any], dict[str, Any], list[str]], ...] = (
        (MESSAGES, {}, {}, [f"client/{name}: {CLIENT}" for name in ("anna", "bob", "eve", "admin")]),
        (MAIL, options, {"egress": egress, "read": read}, ["client/admin: *"]),
    )
    try:
        made.start()
        for address, values, needs, allow in steps:
            words = [f"--option={key}={json.dumps(value)}" for key, value in values.items()]
            words += [f"--needs={key}={json.dumps(value)}" for key, value in needs.items()]
            words += [f"--allow={rule}" for rule in allow]
            added = made.cli("component", "add", address, "--yes", *words)
            assert added.returncode == 0 or "secret" in added.stdout + added.stderr, added
        for name, value in (("password", PASSWORD.encode()), ("addresses", b"a" * 32)):
            set_secret(made, name, value, MAIL)
        made.until(lambda status: made.loop(PROCESS)["state"] == "active", "started mail")
        yield made
        if request.session.testsfailed > failed:
            made.print_logs()
            print(peers.imap.log())
    except BaseException:
        made.print_logs()
        raise
    finally:
        made.close()


def written(text: str, number: int, sender: str = "Anna <anna@home.example>", **fields: str) -> bytes:
    """Return a mail as a person writes it."""
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, fields.pop("to", USER)
    mail["Subject"], mail["Message-ID"] = fields.pop("subject", "the cat"), f"<{number}@home.example>"
    for name, value in fields.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    return mail.as_bytes()


def arrived(host: RunningHost, client: str, number: int = 1) -> list[dict[str, Any]]:
    """Wait for messages in the mailbox of a client; return them with bodies, and take them out."""
    with host.client(client) as one:
        until(lambda: len(one.call(MESSAGES, "inbox")["messages"]) >= number)
        found = [one.call(MESSAGES, "read", each["id"]) for each in one.call(MESSAGES, "inbox")["messages"]]
        one.call(MESSAGES, "acknowledge", [each["id"] for each in found])
        return found


def test_a_message_goes_out_as_mail_with_its_attachment(host: RunningHost, peers: Peers) -> None:
    data = bytes(range(256)) * 1000
    about = ("photo.jpg", len(data), hashlib.sha256(data).hexdigest())
    with host.client("anna") as anna:
        anna.upload(MESSAGES, "go_on_put", data, *about, anna.call(MESSAGES, "begin_put", *about)["offset"])
        attached = [dict(zip(("name", "size", "sha256"), about, strict=True))]
        id = anna.call(MESSAGES, "send", MAIL, "für dich", topic="bob.garden", attachments=attached)["id"]
        [mail] = peers.smtp.wait(1)
        until(lambda: states(anna, id) == ["acknowledged"])
    assert (mail["To"], mail["Subject"], mail["From"]) == ("bob@work.example", "garden", f"client/anna <{USER}>")
    assert mail["Reply-To"].startswith("house+") and mail["Auto-Submitted"] is None
    assert mail.get_body().get_content().strip() == "für dich"  # type: ignore[union-attr]
    [file] = mail.iter_attachments()
    assert (file.get_filename(), file.get_content_type(), file.get_content()) == ("photo.jpg", "image/jpeg", data)
    with host.client("anna") as anna:
        anna.call(MESSAGES, "send", MAIL, "x", topic="carol")
    [told] = arrived(host, "anna")
    assert told["body"] == "the topic 'carol' names no person: use one of anna, bob"


def states(client: Any, id: str) -> list[str]:
    found = client.call(MESSAGES, "sent")["messages"]
    return [one["state"] for message in found if message["id"] == id for one in message["recipients"]]


def test_a_conversation_goes_both_ways(host: RunningHost, peers: Peers) -> None:
    peers.imap.put(DOMAIN.encode() + written("Is the cat in?", 1))
    [message] = arrived(host, "anna")
    assert (message["from"], message["topic"]) == (MAIL, "anna")
    assert message["body"] == "Subject: the cat\n\nIs the cat in?"
    until(lambda: peers.imap.count(flag="SEEN") == 1)
    before = len(peers.smtp.mails)
    with host.client("anna") as anna:
        sent = anna.call(MESSAGES, "send", MAIL, "it is", topic="anna", in_reply_to=message["id"])["id"]
    mail = peers.smtp.wait(before + 1)[-1]
    assert (mail["In-Reply-To"], mail["Subject"]) == ("<1@home.example>", "Re: the cat")
    # Eve's message is answered: the answer comes to her, though mail of anna is for client/anna.
    with host.client("eve") as eve:
        id = eve.call(MESSAGES, "send", MAIL, "who are you?", topic="anna")["id"]
    mail = peers.smtp.wait(before + 2)[-1]
    assert sent != id
    peers.imap.put(DOMAIN.encode() + written("Anna", 2, In_Reply_To=mail["Message-ID"]))
    [answer] = arrived(host, "eve")
    assert (answer["in_reply_to"], answer["from"], answer["body"][-4:]) == (id, MAIL, "Anna")


def test_a_word_in_the_address_is_a_proof(host: RunningHost, peers: Peers) -> None:
    with host.client() as admin:
        address = admin.call(MAIL, "addresses")["bob"]
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Message-ID"] = "bob@work.example", address, "<3@work.example>"
    mail.set_content("see the file")
    mail.add_attachment(b"PK\3\4 a bomb", maintype="application", subtype="zip", filename="../../a b.zip")
    peers.imap.put(mail.as_bytes())
    [message] = arrived(host, "bob")
    assert [one["name"] for one in message["attachments"]] == ["a_b.zip"]


def test_mail_that_is_not_proved_stays_in_its_folder(host: RunningHost, peers: Peers) -> None:
    before, first = peers.imap.count(flag="SEEN"), 100
    inside = "Authentication-Results: mail.example.org; dkim=pass header.d=home.example\r\n"
    server = "Authentication-Results: mail.example.org; dkim=fail header.d=home.example\r\n"
    forged = [
        written("no proof", first), server.encode() + inside.encode() + written("its own proof", first + 1),
        DOMAIN.replace("home.example", "evil.example").encode() + written("of another", first + 2),
        DOMAIN.replace("mail.example.org", "mail.evil.example").encode() + written("by another", first + 3),
        DOMAIN.encode() + written("a machine", first + 4, Auto_Submitted="auto-replied"),
        DOMAIN.encode() + written("a stranger", first + 5, "eve@home.example"),
        DOMAIN.encode() + written("two", first + 6, "anna@home.example, eve@home.example"),
        b"From: bob@work.example\r\nTo: house+aaaaaaaaaaaaaaaaaaaa@example.org\r\n\r\na guess",
        DOMAIN.encode() + written("comes back", first + 7).replace(
            b"<107@home.example>", peers.smtp.mails[-1]["Message-ID"].encode()
        ),
    ]  # fmt: skip
    for mail in forged:
        peers.imap.put(mail)
    peers.imap.put(DOMAIN.encode() + written("the last one", first + 8))
    [message] = arrived(host, "anna")
    assert message["body"].endswith("the last one")
    until(lambda: peers.imap.count(flag="SEEN") == before + 1)


def test_each_mail_comes_once_also_with_other_uids_and_after_the_server_was_away(
    host: RunningHost, peers: Peers
) -> None:
    peers.imap.stop()
    with host.client() as admin:
        until(lambda: admin.call(MAIL, "folder", timeout_s=60) is not None)
    peers.imap.renumber()
    peers.imap.open()
    peers.imap.put(DOMAIN.encode() + written("after that", 200))
    peers.imap.put(DOMAIN.encode() + written("after that", 200))
    peers.imap.put(DOMAIN.encode() + written("and that", 201))
    found: list[dict[str, Any]] = []
    while len(found) < 2:
        found += arrived(host, "anna")
    assert {one["body"].rpartition("\n")[2] for one in found} == {"after that", "and that"} and len(found) == 2


def test_bombs_harm_no_mail_that_comes_after_them(host: RunningHost, peers: Peers) -> None:
    pid = host.loop(PROCESS)["pid"]
    head = DOMAIN.encode() + b"From: anna@home.example\nMessage-ID: <%d@bombs.example>\n"
    deep = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(5000))
    bombs = [
        head % 1 + b"Subject: large\n\n" + b"x" * (20 << 20), head % 2 + b"Subject: deep\n" + deep,
        head % 3 + b"Subject: many\nContent-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\na\n" * 100_000,
        head % 4 + b"Subject: fields\n" + b"X-A: b\n" * 100_000 + b"\nx",
        head % 5 + b"Subject: charset\nContent-Type: text/plain; charset=utf-7\n\n+AEE-\xff\xfe",
        head % 6 + b"Subject: =?utf-8?b?%%%?=\nContent-Type: text/html\n\n" + b"<!--" * 100_000,
        head % 7 + b"Subject: base64\nContent-Transfer-Encoding: base64\n\n=====!!!!A",
    ]  # fmt: skip
    for bomb in [*bombs, DOMAIN.encode() + written("still here", 300)]:
        peers.imap.put(bomb)
    found: list[dict[str, Any]] = []
    while not any(one["body"].endswith("still here") for one in found):
        found += arrived(host, "anna")
    subjects = {one["body"].partition("\n")[0][9:] for one in found}
    assert subjects == {"large", "deep", "many", "charset", "=?utf-8?b?%%%?=", "base64", "the cat"}
    assert any("were taken: the rest is in the mailbox" in one["body"] for one in found)
    assert host.loop(PROCESS)["pid"] == pid and host.loop(PROCESS)["violations"] == 0


def test_what_the_server_refuses_for_good_is_told(host: RunningHost, peers: Peers) -> None:
    peers.smtp.refuse = "554 5.7.1 not here"
    try:
        with host.client("eve") as eve:
            id = eve.call(MESSAGES, "send", MAIL, "x", topic="anna")["id"]
        [told] = arrived(host, "eve")
    finally:
        peers.smtp.refuse = ""
    assert (told["in_reply_to"], told["body"]) == (id, "127.0.0.1 refuses the mail: 554 5.7.1 not here")


def test_clients_have_no_right_at_the_carrier(host: RunningHost) -> None:
    with host.client("anna") as anna, pytest.raises(Denied):
        anna.call(MAIL, "addresses")
    assert host.loop(PROCESS)["violations"] == 0


def test_mail_that_was_told_of_before_an_idle_is_not_waited_for(peers: Peers) -> None:
    """A server tells of new mail in any answer, and not once more in the IDLE that follows."""

    async def work() -> None:
        context = ssl.create_default_context(cafile=str(peers.imap.folder / "ca.pem"))
        options = ImapOptions(host="127.0.0.1", port=peers.imap.port)
        folder = MailFolder(options, "other@example.org", PASSWORD, context, asyncio.to_thread, 30)
        await folder.open()
        assert await folder.uids(0, 1) == []
        await asyncio.to_thread(peers.imap.put, b"From: a@b\n\nx", "other@example.org")
        folder.has_idle = False
        await folder.wait(0, 0)  # asks as one without IDLE: in the answer the mail is told of
        folder.has_idle = True
        async with asyncio.timeout(15):
            await folder.wait(600, 600)
        assert await folder.uids(0, 1) == [1]
        await folder.close()

    asyncio.run(work())


def test_nothing_is_lost_or_comes_twice_when_it_is_killed(host: RunningHost, peers: Peers) -> None:
    ending, sent, put = threading.Event(), list[str](), list[str]()

    def write() -> None:
        with host.client("bob") as bob:
            while not ending.is_set():
                number = len(sent)
                bob.call(MESSAGES, "send", MAIL, f"out {number}", topic="anna", id=f"{number:032x}", idempotent=True)
                sent.append(f"out {number}")
                peers.imap.put(DOMAIN.encode() + written(f"in {number}", 1000 + number))
                put.append(f"in {number}")

    before = len(peers.smtp.mails)
    writer = threading.Thread(target=write)
    writer.start()
    taken: list[str] = []
    for _ in range(KILLS):
        host.respawn(PROCESS)
        taken += texts(host, "anna")
    ending.set()
    writer.join()
    while len(taken) < len(put):
        taken += texts(host, "anna")
    until(lambda: {text_of(one) for one in peers.smtp.mails[before:]} >= set(sent))
    assert sorted(taken) == sorted(put), "each came once"
    assert len({one["Message-ID"] for one in peers.smtp.mails[before:]}) == len(sent), "what goes twice is recognised"
    print(f"{KILLS} kills: {len(sent)} out, {len(peers.smtp.mails) - before - len(sent)} of these twice; {len(put)} in")


def text_of(mail: EmailMessage) -> str:
    return str(mail.get_body().get_content()).strip()  # type: ignore[union-attr]


def texts(host: RunningHost, client: str) -> list[str]:
    """Return the last lines of what is in a mailbox, and take it out."""
    with host.client(client) as one:
        found = one.call(MESSAGES, "inbox", limit=100)["messages"]
        lines = [one.call(MESSAGES, "read", each["id"])["body"].rpartition("\n")[2] for each in found]
        if found:
            one.call(MESSAGES, "acknowledge", [each["id"] for each in found])
        return lines
