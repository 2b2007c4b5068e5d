"""Mail that goes out: SMTP with TLS always (RFC 8314, RFC 3207) and a login, by aiosmtplib. Answers are untrusted.

A connection is kept for a moment, as more may follow. A mail has a deadline as a whole, at which it is closed.
"""

from __future__ import annotations

import asyncio
import ssl

import aiosmtplib
from aiosmtplib import SMTP

from tlsrt.loops.external.carrier import NotTaken, Refused
from tlsrt.loops.external.mail_options import SmtpOptions
from tlsrt.loops.external.mail_parts import words_untrusted

CONNECTIONS = 4
IDLE_S = 5.0
_OWN_NAME = "tlsrt.invalid"  # what EHLO says: the host is named to no one


class MailSubmission:
    """Hands mail to one server, over up to CONNECTIONS connections."""

    def __init__(
        self, options: SmtpOptions, account: str, password: str, context: ssl.SSLContext, timeout_s: float
    ) -> None:
        self._options = options
        self._account = account
        self._password = password
        self._context = context
        self._timeout_s = timeout_s
        self._room = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[tuple[SMTP, asyncio.TimerHandle]] = []

    async def send(self, sender: str, to: str, content: bytes) -> None:
        """Hand one mail over; when this returns the server has it. Raises NotTaken, Refused."""
        host = self._options.host
        async with self._room:
            client: SMTP | None = None
            try:
                async with asyncio.timeout(self._timeout_s):
                    client = self._waiting() or await self._connected()
                    await client.sendmail(sender, [to], content)
                self._keep(client)
                client = None
            except TimeoutError:
                raise NotTaken(f"{host} did not take the mail within {self._timeout_s:g} s") from None
            except aiosmtplib.SMTPException as error:
                raise self._reason(error) from None
            except ssl.SSLCertVerificationError as error:
                raise NotTaken(f"{host} has a certificate that is not trusted: {error.verify_message}") from None
            except (OSError, ValueError, RuntimeError) as error:
                raise NotTaken(f"{host}:{self._options.port} cannot be reached: {_line(error)}") from None
            finally:
                if client is not None:
                    client.close()

    def close(self) -> None:
        """End all connections."""
        while self._idle:
            client, timer = self._idle.pop()
            timer.cancel()
            client.close()

    def _waiting(self) -> SMTP | None:
        while self._idle:
            client, timer = self._idle.pop()
            timer.cancel()
            if client.is_connected:
                return client
        return None

    def _keep(self, client: SMTP) -> None:
        def end() -> None:
            self._idle[:] = [one for one in self._idle if one[0] is not client]
            client.close()

        self._idle.append((client, asyncio.get_running_loop().call_later(IDLE_S, end)))

    async def _connected(self) -> SMTP:
        is_tls = self._options.security == "tls"
        client = SMTP(
            hostname=self._options.host, port=self._options.port, use_tls=is_tls, start_tls=not is_tls,
            tls_context=self._context, timeout=self._timeout_s, local_hostname=_OWN_NAME,
        )  # fmt: skip
        try:
            await client.connect()
            await client.ehlo()  # what it said before TLS began counts for nothing
            methods = client.supported_auth_methods
            if "plain" in methods:  # one alone: of several a server that refuses may make each wait
                await client.auth_plain(self._account, self._password)
            elif "login" in methods:
                await client.auth_login(self._account, self._password)
            else:
                raise NotTaken(f"{self._options.host} has no login by PLAIN or LOGIN")
        except BaseException:
            client.close()
            raise
        return client

    def _reason(self, error: aiosmtplib.SMTPException) -> NotTaken | Refused:
        host = self._options.host
        if isinstance(error, aiosmtplib.SMTPAuthenticationError):
            return NotTaken(f"{host} refuses the account {self._account}: {_said(error)}")
        if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
            first = error.recipients[0]
            kind = Refused if first.code >= 500 else NotTaken
            return kind(f"{host} does not take mail for {first.recipient}: {_said(first)}")
        if isinstance(error, aiosmtplib.SMTPDataError):
            kind = Refused if error.code >= 500 else NotTaken
            return kind(f"{host} refuses the mail: {_said(error)}")
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            return NotTaken(f"{host} has a certificate that is not trusted: {error.__cause__.verify_message}")
        if isinstance(error, aiosmtplib.SMTPResponseException):
            return NotTaken(f"{host} refuses: {_said(error)}")
        return NotTaken(f"{host}:{self._options.port}: {_line(error)}")


def _said(error: aiosmtplib.SMTPResponseException) -> str:
    return f"{error.code} {words_untrusted(error.message)[:160]}"


def _line(error: BaseException) -> str:
    return words_untrusted(str(error))[:160] or type(error).__name__
