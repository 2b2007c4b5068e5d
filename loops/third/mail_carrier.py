"""Mail as a carrier: SMTP with TLS always, in a thread, by the standard library. What a server says is untrusted.

A server may answer slowly for ever, a byte at a time, which no timeout of a socket ends. So an attempt has a deadline
as a whole: at it the connection is shut down, and the thread ends with an error.
"""

from __future__ import annotations

import asyncio
import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Annotated, Any, BinaryIO, Literal

from tlsrt import Length, Range
from tlsrt.loops.third.notice import CarrierAwayError, Message, UndeliverableError, one_line

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){0,8}")
_OWN_NAME = "tlsrt.invalid"  # what EHLO says: the host is named to no one
_ANSWER_BYTES = 64 << 10  # of one connection; a usual one has less than 2 KiB
_SAID = 160  # characters of what a server says
Work = Callable[..., Coroutine[Any, Any, Any]]


@dataclass(frozen=True, kw_only=True)
class MailOptions:
    """A mail server, and who gets mail through it."""

    host: Annotated[str, Length(253, 1), "The server; `needs: egress` must list it."]
    sender: Annotated[str, Length(254, 3), "The address that it comes from."]
    to: Annotated[tuple[str, ...], Length(16, 1), "The addresses that get it."]
    port: Annotated[int, Range(1, 65535), "587 for STARTTLS, 465 for TLS at once."] = 587
    security: Annotated[Literal["starttls", "tls"], "When TLS begins; there is none without."] = "starttls"
    user: Annotated[str, Length(254), "The account; empty for none."] = ""
    secret: Annotated[str, Length(64), "The secret of this component that has its password."] = "smtp"  # noqa: S105
    ca: Annotated[str, Length(1024), "A file of certificates to trust alone; empty for those of the host."] = ""
    timeout_s: Annotated[float, Range(1, 120), "For all of one mail, seconds."] = 30.0

    def __post_init__(self) -> None:
        for address in (self.sender, *self.to):
            if not _ADDRESS.fullmatch(address):
                raise ValueError(f"{address!r} is no mail address such as ops@example.org")


class MailCarrier:
    """Sends each message as one mail, in one connection."""

    def __init__(self, options: MailOptions, context: ssl.SSLContext, password: str, work: Work) -> None:
        self.timeout_s = options.timeout_s + 1  # its own deadline comes first
        self._options = options
        self._context = context
        self._password = password
        self._work = work

    async def deliver(self, message: Message) -> None:
        session = _Session(self._options, self._context, self._password)
        try:
            async with asyncio.timeout(self._options.timeout_s):
                await self._work(session.send, mail_of(message, self._options))
        except TimeoutError:
            raise CarrierAwayError(
                f"{self._options.host} did not take the mail within {self._options.timeout_s:g} s"
            ) from None
        finally:
            session.abort()

    def take_back(self, number: int) -> None:
        """A mail that was sent stays."""


def mail_of(message: Message, options: MailOptions) -> EmailMessage:
    """Return a notification as a mail. A mail with the same Message-ID is the same delivery, tried again."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = options.sender
    mail["To"] = ", ".join(options.to)
    again = f"reminder {message.reminder}: " if message.reminder else ""
    mail["Subject"] = one_line(f"[{message.severity}] {again}{message.title}")
    mail["Date"] = formatdate(message.sent_ms / 1000)
    mail["Message-ID"] = f"<{message.delivery}@{options.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answer by a machine
    facts = [
        f"notification {message.id}, {message.severity}", f"from {message.sender}",
        *([f"topic {message.topic}"] if message.topic else []),
        *([f"{message.count} times"] if message.count > 1 else []),
    ]  # fmt: skip
    text = "\n".join([message.title, "", *([message.body, ""] if message.body else []), "-- ", *facts])
    mail.set_content(text + "\n", cte="quoted-printable")
    return mail


class _Session:
    """One connection, used by a thread and ended by another."""

    def __init__(self, options: MailOptions, context: ssl.SSLContext, password: str) -> None:
        self._options = options
        self._context = context
        self._password = password
        self._client: smtplib.SMTP | None = None
        self._is_aborted = False

    def send(self, mail: EmailMessage) -> None:
        """Send a mail. Raises CarrierAwayError, UndeliverableError."""
        try:
            self._converse(mail)
        except (CarrierAwayError, UndeliverableError):
            if not self._is_aborted:  # else no one waits for it any more
                raise

    def _converse(self, mail: EmailMessage) -> None:
        host = self._options.host
        try:
            self._send(mail)
        except smtplib.SMTPAuthenticationError as error:
            raise CarrierAwayError(f"{host} refuses the account {self._options.user}: {_said(error)}") from None
        except smtplib.SMTPRecipientsRefused as error:
            code, words = next(iter(error.recipients.values()))
            kind = UndeliverableError if all(one[0] >= 500 for one in error.recipients.values()) else CarrierAwayError
            raise kind(f"{host} takes mail for no recipient: {code} {_words(words)}") from None
        except smtplib.SMTPDataError as error:
            kind = UndeliverableError if error.smtp_code >= 500 else CarrierAwayError
            raise kind(f"{host} refuses the mail: {_said(error)}") from None
        except smtplib.SMTPNotSupportedError as error:
            raise CarrierAwayError(
                f"{host} has no STARTTLS or no login that is known: {one_line(str(error))}"
            ) from None
        except smtplib.SMTPResponseException as error:
            raise CarrierAwayError(f"{host} refuses: {_said(error)}") from None
        except smtplib.SMTPException as error:
            raise CarrierAwayError(f"{host} ends the conversation: {_words(str(error))}") from None
        except ssl.SSLCertVerificationError as error:
            raise CarrierAwayError(f"{host} has a certificate that is not trusted: {error.verify_message}") from None
        except (OSError, ValueError) as error:  # ValueError: a reply that is none
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise CarrierAwayError(f"{host}:{self._options.port} cannot be reached: {_words(reason)}") from None

    def _send(self, mail: EmailMessage) -> None:
        options = self._options
        if options.security == "tls":
            client: smtplib.SMTP = _SafeClient(
                local_hostname=_OWN_NAME, timeout=options.timeout_s, context=self._context
            )
        else:
            client = _Bounded(local_hostname=_OWN_NAME, timeout=options.timeout_s)
        self._client = client
        client._host = options.host  # type: ignore[attr-defined]  # the name that TLS verifies; connect() sets none
        code, words = client.connect(options.host, options.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, words)
        if options.security == "starttls":
            client.starttls(context=self._context)
        if options.user:
            client.login(options.user, self._password)
        client.send_message(mail)
        with suppress(OSError, smtplib.SMTPException):  # it has the mail already
            client.quit()

    def abort(self) -> None:
        """End the connection, whatever the thread waits for."""
        self._is_aborted = True
        sock = self._client.sock if self._client is not None else None
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class _Answers:
    """What a server says in one connection. smtplib bounds a line, and not the number of lines."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _ANSWER_BYTES
        self.close = file.close

    def readline(self, size: int) -> bytes:
        """Read one line. Raises OSError when the server has said too much."""
        line = self._file.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise OSError(f"it says more than {_ANSWER_BYTES >> 10} KiB")
        return line


class _Bounded(smtplib.SMTP):
    """A client that bounds what it is answered, in the clear until STARTTLS."""

    def getreply(self) -> tuple[int, bytes]:
        """Read an answer. Raises as smtplib's does, and SMTPServerDisconnected beyond the bound."""
        if self.file is None and self.sock is not None:
            self.file = _Answers(self.sock.makefile("rb"))
        return super().getreply()


class _SafeClient(_Bounded, smtplib.SMTP_SSL):
    """TLS from the beginning."""


def _said(error: smtplib.SMTPResponseException) -> str:
    return f"{error.smtp_code} {_words(error.smtp_error)}"


def _words(words: object) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    return one_line(text)[:_SAID]
