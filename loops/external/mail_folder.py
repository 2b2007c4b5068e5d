"""The folder that mail comes into: IMAP over TLS (RFC 9051, RFC 8314), by IMAPClient in a thread.

Answers are untrusted. TLS begins with the first byte, so there is nothing before it that could be stripped or said by
another. All that a server says for one command is bounded, a literal before it is read; a command has a deadline, at
which the connection is shut down and the thread ends with an error.
"""

from __future__ import annotations

import asyncio
import imaplib
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple

from imapclient import IMAPClient

from tlsrt import CallError
from tlsrt.loops.external.mail_options import ImapOptions
from tlsrt.loops.external.mail_parts import words_untrusted

ANSWER_BYTES = 1 << 20  # of one command, beside the mail that it asks for
BATCH = 50
_CHUNK = 64 << 10
_NEWS_S = 0.1  # after news the folder is looked into again; one who tells of nothing for ever is not asked for ever
_EXISTS = re.compile(rb"\* [0-9]+ EXISTS", re.IGNORECASE)
Work = Callable[..., Coroutine[Any, Any, Any]]


class FolderAwayError(Exception):
    """The server cannot be reached, refuses, or says what is no IMAP. The text says which, for people."""


class Opened(NamedTuple):
    """What a server says of the folder."""

    uidvalidity: int
    uidnext: int


class About(NamedTuple):
    """What a server says of a mail."""

    size: int
    is_seen: bool


class MailFolder:
    """One connection to one folder."""

    def __init__(
        self, options: ImapOptions, account: str, password: str, context: ssl.SSLContext, work: Work, timeout_s: float
    ) -> None:
        self._options = options
        self._account = account
        self._password = password
        self._context = context
        self._work = work
        self._timeout_s = timeout_s
        self._wire = _Wire(options.host, options.port, context, timeout_s)
        self._client: Any = None
        self.has_idle = False

    async def open(self) -> Opened:
        """Connect, log in and select the folder. Raises FolderAwayError."""
        opened: Opened = await self._run(self._open)
        return opened

    async def uids(self, after: int, unseen_below: int) -> list[int]:
        """Return the UIDs behind one, of those below `unseen_below` what is not seen, in their order."""
        found: list[int] = await self._run(self._uids, after, unseen_below)
        return found

    async def about(self, uids: list[int]) -> dict[int, About]:
        """Return what is said of up to BATCH mails; those that are no longer there are missing."""
        found: dict[int, About] = await self._run(self._about, uids)
        return found

    async def content(self, uid: int, most: int) -> bytes | None:
        """Return the first bytes of a mail, None if it is not there any more. It stays unseen."""
        found: bytes | None = await self._run(self._content, uid, most)
        return found

    async def finish(self, uids: list[int]) -> None:
        """Mark mails as seen, or move them where the options say."""
        if uids:
            await self._run(self._finish, uids)

    async def wait(self, seconds: float, poll_s: float) -> None:
        """Wait until the server tells of something, or for `seconds`; without IDLE for `poll_s`.

        What it has told of since the last `uids` was asked for, it does not tell again in an IDLE.
        """
        if self._wire.has_news:
            await asyncio.sleep(_NEWS_S)
        elif self.has_idle:
            await self._run(self._idle, seconds, within_s=seconds + self._timeout_s)
        else:
            await asyncio.sleep(min(seconds, poll_s))
            await self._run(self._ask)

    async def close(self) -> None:
        """End the connection, whatever the thread waits for."""
        self._wire.abort()

    async def _run(self, function: Callable[..., Any], *args: object, within_s: float | None = None) -> Any:
        host, limit_s = self._options.host, within_s or self._timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await self._work(self._guarded, function, *args)
        except TimeoutError:
            raise FolderAwayError(f"{host} did not answer within {limit_s:g} s") from None
        except CallError as error:
            raise FolderAwayError(error.message) from None
        except BaseException:
            self._wire.abort()
            raise

    def _guarded(self, function: Callable[..., Any], *args: object) -> Any:
        """In a thread: do something, and say what goes wrong in one sentence."""
        host = self._options.host
        try:
            with self._wire:
                self._wire.left = ANSWER_BYTES
                return function(*args)
        except FolderAwayError:
            raise
        except ssl.SSLCertVerificationError as error:
            raise FolderAwayError(f"{host} has a certificate that is not trusted: {error.verify_message}") from None
        except imaplib.IMAP4.error as error:  # refusals, and what IMAPClient and imaplib find wrong
            raise FolderAwayError(f"{host} refuses, or ends the conversation: {_line(error)}") from None
        except OSError as error:
            raise FolderAwayError(f"{host}:{self._options.port}: {error.strerror or _line(error)}") from None
        except Exception as error:  # whatever a library makes of what is no IMAP
            raise FolderAwayError(f"{host} says what is no IMAP: {type(error).__name__}") from None

    # -- in the thread ----------------------------------------------------------------------------------------

    def _open(self) -> Opened:
        self._client = _Client(self._wire, self._options.host, self._options.port, self._context, self._timeout_s)
        try:
            self._client.login(self._account, self._password)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            raise FolderAwayError(f"{self._options.host} refuses the account {self._account}: {_line(error)}") from None
        self.has_idle = bool(self._client.has_capability("IDLE"))
        try:
            said = self._client.select_folder(self._options.folder)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            raise FolderAwayError(f"folder {self._options.folder}: {_line(error)}") from None
        uidvalidity, uidnext = said.get(b"UIDVALIDITY"), said.get(b"UIDNEXT")
        if not _is_uid(uidvalidity) or not _is_uid(uidnext):
            raise FolderAwayError(f"{self._options.host} says no UIDVALIDITY and UIDNEXT of the folder")
        return Opened(uidvalidity, uidnext)

    def _uids(self, after: int, unseen_below: int) -> list[int]:
        self._wire.has_news = False
        words = ["UID", f"{after + 1}:*"]
        if after + 1 < unseen_below:
            words += ["OR", "UID", f"{unseen_below}:*", "UNSEEN"]
        found = self._client.search(words)
        return sorted({one for one in found if _is_uid(one) and one > after})  # `*` names the last one in any case

    def _about(self, uids: list[int]) -> dict[int, About]:
        found = self._client.fetch(uids, ["RFC822.SIZE", "FLAGS"])
        about = {}
        for uid, said in found.items():
            size = said.get(b"RFC822.SIZE")
            if type(size) is int and size >= 0:
                about[uid] = About(size, b"\\Seen" in said.get(b"FLAGS", ()))
        return about

    def _content(self, uid: int, most: int) -> bytes | None:
        self._wire.left += most
        found = self._client.fetch([uid], [f"BODY.PEEK[]<0.{most}>"])
        for name, value in found.get(uid, {}).items():
            if name.startswith(b"BODY[]") and isinstance(value, bytes):
                return value
        return None

    def _finish(self, uids: list[int]) -> None:
        done = self._options.done
        if not done:
            self._client.add_flags(uids, [b"\\Seen"], silent=True)
            return
        if not self._client.has_capability("MOVE"):
            raise FolderAwayError(f"{self._options.host} cannot move mail: leave `done` of the options empty")
        try:
            self._client.move(uids, done)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            raise FolderAwayError(f"cannot move mail to the folder {done}: {_line(error)}") from None

    def _idle(self, seconds: float) -> None:
        self._client.idle()
        self._wire.wait(seconds)
        self._client.idle_done()

    def _ask(self) -> None:
        self._client.noop()


def _is_uid(value: object) -> bool:
    return type(value) is int and 0 < value < 1 << 32


def _line(error: BaseException) -> str:
    text = error.args[0] if error.args else ""
    return words_untrusted(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text))[:160]


class _Wire:
    """What a server says, within bounds; it is read in a thread and ended by another."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, timeout_s: float) -> None:
        self.left = ANSWER_BYTES
        self.has_news = False  # it has said how many mails there are
        self._address = (host, port)
        self._context = context
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._is_used = False
        self._is_aborted = False
        self._buffer = bytearray()

    def connect(self) -> socket.socket:
        """Connect, with TLS from the first byte."""
        self._socket = socket.create_connection(self._address, timeout=self._timeout_s)
        if self._is_aborted:
            raise OSError("the connection was ended")
        wrapped = self._context.wrap_socket(
            self._socket, server_hostname=self._address[0], do_handshake_on_connect=False
        )
        self._socket = wrapped  # before the handshake, so that `abort` ends that too
        wrapped.do_handshake()
        return wrapped

    def __enter__(self) -> None:
        with self._lock:
            if self._is_aborted:
                raise OSError("the connection was ended")
            self._is_used = True

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._is_used = False
            if self._is_aborted:
                self.close()

    def abort(self) -> None:
        """End the connection, from any thread. The one that uses it closes it, as only that knows when it is done."""
        with self._lock:
            self._is_aborted = True
            if not self._is_used:
                self.close()
            elif self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, where no other thread uses it."""
        if self._socket is not None:
            self._socket.close()

    def read(self, size: int) -> bytes:
        """Read so many bytes. Raises OSError at the bound, before they are read."""
        self._charge(size)
        while len(self._buffer) < size:
            self._receive()
        return self._take(size)

    def readline(self) -> bytes:
        """Read one line. Raises OSError at the bound."""
        at = 0
        while (found := self._buffer.find(b"\n", at)) < 0:
            at = len(self._buffer)
            if at > self.left:
                break
            self._receive()
        size = found + 1 if found >= 0 else len(self._buffer)
        self._charge(size)
        line = self._take(size)
        self.has_news = self.has_news or _EXISTS.match(line) is not None
        return line

    def wait(self, seconds: float) -> None:
        """Wait until the server has said something, or for so long."""
        sock, end = self._socket, time.monotonic() + seconds
        assert isinstance(sock, ssl.SSLSocket)
        poller = select.poll()
        poller.register(sock.fileno(), select.POLLIN)
        while not self._buffer and not sock.pending() and (left := end - time.monotonic()) > 0:
            if not poller.poll(left * 1000):
                return
            sock.setblocking(False)
            try:
                self._receive()
            except (ssl.SSLWantReadError, BlockingIOError):
                continue  # a ticket of TLS, which is no word of the server
            finally:
                sock.settimeout(self._timeout_s)

    def _charge(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise OSError("it says more than was asked for")

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _receive(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(_CHUNK)
        if not data:
            raise OSError("it has closed the connection")
        self._buffer += data


class _Connection(imaplib.IMAP4):
    """imaplib's client, which reads from a wire with bounds."""

    def __init__(self, wire: _Wire, host: str, port: int, timeout_s: float) -> None:
        self._wire = wire
        super().__init__(host, port, timeout_s)

    def open(self, host: str = "", port: int = 993, timeout: float | None = None) -> None:
        """Connect."""
        self.host, self.port = host, port
        self.sock = self._wire.connect()

    def read(self, size: int) -> bytes:
        """Read a literal."""
        return self._wire.read(size)

    def readline(self) -> bytes:
        """Read a line."""
        return self._wire.readline()

    def shutdown(self) -> None:
        """Close the connection."""
        self._wire.close()


class _Client(IMAPClient):  # type: ignore[misc]  # it has no types
    """IMAPClient with a connection of ours."""

    def __init__(self, wire: _Wire, host: str, port: int, context: ssl.SSLContext, timeout_s: float) -> None:
        self._make: Callable[[], imaplib.IMAP4] = lambda: _Connection(wire, host, port, timeout_s)
        super().__init__(host, port, ssl=True, ssl_context=context, timeout=timeout_s)

    def _create_IMAP4(self) -> imaplib.IMAP4:  # IMAPClient's name
        return self._make()
