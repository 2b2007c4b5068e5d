"""One connection to a collector, with TLS or without, on a socket that was handed over. Never waits."""

from __future__ import annotations

import encodings.idna  # noqa: F401  # ssl asks for it by name when a connection begins, and imports have ended then
import os
import select
import socket
import ssl

from tlsrt.channels.control.export import Trouble
from tlsrt.channels.tls.engine import State, TlsEngine

_PIECE = 64 * 1024
_PEM_MAX = 1 << 20
_OUT_MAX = 2 << 20  # that the kernel does not take: a request is a quarter of it, the rest what TLS itself has to say


class ConnectionEnded(Exception):
    """The connection is over; `trouble` says why, `detail` in words for the log."""

    def __init__(self, trouble: Trouble, detail: str) -> None:
        super().__init__(detail)
        self.trouble = trouble
        self.detail = detail


def client_context(ca: int, certificate: int, key: int) -> ssl.SSLContext:
    """Return the context for a collector: its CA only, its name checked. Raises OSError and ValueError.

    The last two are memfds, or hold nothing.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.load_verify_locations(cadata=os.pread(ca, _PEM_MAX, 0).decode("ascii"))
    if os.pread(certificate, 1, 0):
        context.load_cert_chain(f"/proc/self/fd/{certificate}", f"/proc/self/fd/{key}", password=b"")
    return context


class Connection:
    """Bytes to a collector and back. `name` is what its certificate must have.

    Owns the descriptor from here on. Raises ValueError for a name that TLS cannot ask for.
    """

    def __init__(self, epoll: select.epoll, descriptor: int, context: ssl.SSLContext | None, name: str) -> None:
        self._epoll = epoll
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        try:
            self._engine = TlsEngine(context, server_side=False, protocols=(), server_name=name) if context else None
        except ValueError:
            self._socket.close()
            raise
        self._is_connected = False
        self._out = bytearray()
        self._mask = select.EPOLLIN | select.EPOLLOUT
        epoll.register(descriptor, self._mask)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def is_open(self) -> bool:
        """Tell whether bytes can be written."""
        return self._is_connected and (self._engine is None or self._engine.state is State.OPEN)

    @property
    def is_drained(self) -> bool:
        """Tell whether the kernel has all that was written."""
        return not self._out and not (self._engine is not None and self._engine.has_outgoing)

    def write(self, data: bytes) -> None:
        """Queue bytes of an open connection. Raises ConnectionEnded."""
        if self._engine is None:
            self._out += data
        else:
            self._engine.write(data)
        self._flush()

    def advance_untrusted(self) -> bytes:
        """Do what can be done now; return what was heard. Raises ConnectionEnded."""
        if not self._is_connected:
            error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise ConnectionEnded(Trouble.UNREACHABLE, os.strerror(error))
            try:
                self._socket.getpeername()
            except OSError:
                return b""  # it is still connecting
            self._is_connected = True
        self._flush()
        try:
            data = self._socket.recv(_PIECE)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise ConnectionEnded(Trouble.CLOSED, error.strerror or "reset") from None
        if not data:
            raise ConnectionEnded(Trouble.CLOSED, "it has ended the connection")
        return data if self._engine is None else self._opened_untrusted(self._engine, data)

    def _opened_untrusted(self, engine: TlsEngine, data: bytes) -> bytes:
        plain = engine.receive_untrusted(data)
        self._flush()
        if engine.state is State.FAILED:
            raise ConnectionEnded(Trouble.TLS, engine.detail or engine.failure)
        if engine.state is State.CLOSED and not plain:
            raise ConnectionEnded(Trouble.CLOSED, "it has ended the connection")
        return plain

    def _flush(self) -> None:
        if not self._is_connected:
            return
        if self._engine is not None:
            self._out += self._engine.take_outgoing()
        try:
            while self._out:
                del self._out[: self._socket.send(self._out[:_PIECE], socket.MSG_NOSIGNAL)]
        except BlockingIOError:
            pass
        except OSError as error:
            raise ConnectionEnded(Trouble.CLOSED, error.strerror or "reset") from None
        if len(self._out) > _OUT_MAX:
            raise ConnectionEnded(Trouble.SILENT, "it does not read")
        mask = select.EPOLLIN | (select.EPOLLOUT if self._out else 0)
        if mask != self._mask:
            self._mask = mask
            self._epoll.modify(self._socket.fileno(), mask)

    def close(self) -> None:
        """End it, with a word of TLS if there is room for one."""
        if self._engine is not None and self._is_connected:
            self._engine.close()
            try:
                self._flush()
            except ConnectionEnded:
                pass  # the other side has ended too
        self._epoll.unregister(self._socket.fileno())
        self._socket.close()
