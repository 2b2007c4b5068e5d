"""Messages by mail: a carrier with a mailbox, an account at a mail server, and egress rules of its own.

What is sent to `external/mail` with the topic PERSON, or PERSON.MORE, goes to the address of that person, and is
acknowledged when the server has it. What they write comes in, if it is believed to be theirs (mail_proof.py): to whom
the options name, or to whose message it answers. The sender at this host is `external/mail`; no one outside is another.
"""

from __future__ import annotations

import ssl
import time
from functools import partial
from typing import Any

from tlsrt import CallError, Component, ConfigError, Failed, database, handler
from tlsrt.loops.external import mail_tables as tables
from tlsrt.loops.external.carrier import MESSAGES, Carrier, NotTaken, Refused
from tlsrt.loops.external.mail_message import mail_of, message_id_of, subject_of
from tlsrt.loops.external.mail_options import MailOptions
from tlsrt.loops.external.mail_parts import CHARSETS
from tlsrt.loops.external.mail_proof import token_of
from tlsrt.loops.external.mail_reading import read_mail_untrusted

_SAMPLE = {
    "id": "0" * 32, "from": "client/ä", "topic": "x.y", "content_type": "text/plain", "body": "ä", "created_ms": 1,
}  # fmt: skip
_READ_S = 300.0


class Mail(Component):
    """Carries messages as mail, out by SMTP and in by IMAP."""

    Options = MailOptions
    db = database(steps=tables.STEPS)

    def warm_up(self) -> None:
        """Read certificates and have libraries load what they load at first use, while files can be opened."""
        try:
            from tlsrt.loops.external import mail_folder, mail_intake, mail_submission  # only with the extra
        except ImportError:
            raise ConfigError(f"{self.address} needs aiosmtplib and IMAPClient: pip install 'tlsrt[mail]'") from None
        self._make_submission, self._make_folder = mail_submission.MailSubmission, mail_folder.MailFolder
        self._make_intake = mail_intake.MailIntake
        ca = self.options.ca
        try:
            self._context = ssl.create_default_context(cafile=ca or None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"cannot read certificates in {ca}: {error}; see `read` under its needs") from None
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        for charset in CHARSETS:
            b"x ".decode(charset, "replace")
        sample = mail_of(_SAMPLE, "a@b.example", "c@d.example", "ä", "", None, [("ä.jpg", b"x")])
        read_mail_untrusted(sample, len(sample), self.options, b"x")
        "x".encode("idna")
        time.localtime()

    async def start(self) -> None:
        options = self.options
        password = self._password()
        self._tokens = self.secret("addresses", None)
        needs = [name for name, one in options.people.items() if one.to and "token" in one.proof]
        if needs and options.imap and self._tokens is None:
            raise ConfigError(
                f"people: {needs[0]} has an address with a word in it: `tlsrt-supervisor secret make {self.address} "
                "addresses` draws what it is made of"
            )
        self._carrier = Carrier(self, options.retry_s, "person")
        self._submission = self._make_submission(
            options.smtp, options.account, password, self._context, options.timeout_s
        )
        for name in options.people:
            self._carrier.carry(name, partial(self._post, name), name)
        self._carrier.refuse_others(options.people)
        if options.imap is not None:
            make = partial(
                self._make_folder, options.imap, options.account, password, self._context, self.work, options.timeout_s
            )
            intake = self._make_intake(self, options, self.db, self._carrier, self._tokens, make, self.log)
            self.spawn(intake.run, name="folder")

    async def stop(self) -> None:
        self._submission.close()

    def _password(self) -> str:
        try:
            return self.secret("password").decode().rstrip("\n")
        except UnicodeDecodeError:
            raise ConfigError(f"secret password of {self.address} is no text") from None

    async def healthy(self) -> str | None:
        return await self.db.check() or self._carrier.trouble()

    @handler(idempotent=True)
    async def people(self) -> dict[str, str | None]:
        """The people, and why mail to one does not go now: it waits meanwhile."""
        return {name: self._carrier.away.get(name) for name in self.options.people}

    @handler(idempotent=True)
    async def folder(self) -> str | None:
        """Why no mail comes in now; none if it does."""
        if self.options.imap is None:
            return "the options name no server that has mail (`imap`)"
        return self._carrier.away.get("folder")

    @handler(idempotent=True)
    async def addresses(self) -> dict[str, str]:
        """The address that each person with `proof: token` writes to: tell it to that person alone."""
        found = {name: self._reply_to(name) for name, one in self.options.people.items() if "token" in one.proof}
        if found and self._tokens is None:
            raise Failed(f"these are made of a secret: `tlsrt-supervisor secret make {self.address} addresses`")
        return found

    def _reply_to(self, name: str) -> str:
        """Return the address that answers of a person go to, if it is another than that of the host."""
        if self._tokens is None or "token" not in self.options.people[name].proof:
            return ""
        local, _, domain = self.options.address.partition("@")
        return f"{local}+{token_of(self._tokens, name)}@{domain}"

    # -- out --------------------------------------------------------------------------------------------------

    async def _post(self, name: str, message: dict[str, Any]) -> None:
        """Send a message once as mail. Raises NotTaken, Refused."""
        options, to = self.options, self.options.people[name].address
        most = options.mail_mb << 20
        if sum(one["size"] for one in message["attachments"]) > most:
            raise Refused(f"its attachments have more than {options.mail_mb} MiB, and so much goes by mail (`mail_mb`)")
        try:
            answers = message["in_reply_to"]
            thread = await self.db.query(tables.thread_of, answers, name) if answers else None
            message_id = message_id_of(message, options.address)
            if await self.db.transaction(tables.send, message_id, message, name):
                return  # the server had it before this was killed
            files = [(one["name"], await self._file(message["id"], one)) for one in message["attachments"]]
            subject = subject_of(message, name, options.subject, thread)
            content = await self.work(
                mail_of, message, options.address, to, subject, self._reply_to(name), thread, files
            )
        except CallError as error:
            raise NotTaken(error.message) from None
        await self._submission.send(options.address, to, content)
        self.count("sent")
        try:
            await self.db.transaction(tables.is_taken, message_id)
        except CallError as error:  # the disk; its health tells the operator
            self.log.warning("cannot note that a mail was taken: %s", error.message)

    async def _file(self, id: str, about: dict[str, Any]) -> bytes:
        data = bytearray()
        async for piece in self.stream(MESSAGES, "read_stream", f"{id}/{about['name']}", timeout_s=_READ_S):
            data += piece
            if len(data) > about["size"]:
                break
        if len(data) != about["size"]:
            raise Failed(f"the attachment {about['name']} did not come whole")
        return bytes(data)
