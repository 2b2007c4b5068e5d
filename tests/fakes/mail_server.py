"""A real SMTP server of 127.0.0.1 (aiosmtpd) that wants STARTTLS and a login, and keeps what it is sent."""

from __future__ import annotations

import ssl
import threading
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from hosts.running_host import free_port


class MailServer:
    """Serves until closed. `refuse` is what it answers to a mail instead of taking it, while it is set."""

    def __init__(self, context: ssl.SSLContext, user: str, password: str) -> None:
        self.mails: list[EmailMessage] = []
        self.refuse = ""
        self._login = LoginPassword(user.encode(), password.encode())
        self._context = context
        self._changed = threading.Condition()
        self.port = free_port()
        self._controller: Any = None
        self.open()

    def open(self) -> None:
        """Serve, at the same port as before."""
        self._controller = Controller(
            self, hostname="127.0.0.1", port=self.port, require_starttls=True, tls_context=self._context,
            authenticator=self._authenticate, auth_required=True,
        )  # fmt: skip
        self._controller.start()

    def close(self) -> None:
        """Be away."""
        self._controller.stop()

    def wait(self, number: int, timeout_s: float = 30.0) -> list[EmailMessage]:
        """Wait until it has taken so many mails; return them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.mails) >= number, timeout_s), len(self.mails)
            return list(self.mails)

    def _authenticate(self, server: SMTP, session: Any, envelope: Any, mechanism: str, login: Any) -> AuthResult:
        return AuthResult(success=login == self._login)

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # aiosmtpd's name
        """Take a mail, or refuse it."""
        if self.refuse:
            return self.refuse
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        with self._changed:
            self.mails.append(mail)
            self._changed.notify_all()
        return "250 taken"
