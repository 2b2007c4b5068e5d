"""Gives a program that speaks TCP a TLS connection with a certificate: sipp of Debian (wolfSSL) cannot send by TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path


class TlsWrapper:
    """Takes one connection at `port` of loopback, and carries it to a TLS server of this machine."""

    def __init__(self, target: int, ca: Path, certificate: Path, key: Path) -> None:
        context = ssl.create_default_context(cafile=ca)
        context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        raw = socket.create_connection(("127.0.0.1", target), 20)
        raw.settimeout(None)
        self._outer = context.wrap_socket(raw, server_hostname="127.0.0.1")
        self._inner: socket.socket | None = None
        self._threads = [threading.Thread(target=self._run)]
        self._threads[0].start()

    def _run(self) -> None:
        try:
            self._inner, _ = self._listener.accept()
        except OSError:
            return
        back = threading.Thread(target=self._carry, args=(self._outer, self._inner))
        self._threads.append(back)
        back.start()
        self._carry(self._inner, self._outer)

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass

    def close(self) -> None:
        """End both connections."""
        for one in (self._inner, self._outer, self._listener):
            if one is not None:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        for thread in self._threads:
            thread.join(10)
        for one in (self._inner, self._outer, self._listener):
            if one is not None:
                one.close()
