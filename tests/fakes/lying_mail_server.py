"""Servers of 127.0.0.1 that are no good mail servers, one for each way of it. In threads."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

WAYS = ("no_starttls", "dripping", "endless", "long_line", "silent", "garbage", "no_tls", "early")


class LyingMailServer:
    """Serves until closed, in one way; `heard` is all that it was sent."""

    def __init__(self, way: str) -> None:
        self.heard = b""
        self._ending = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._talk: Callable[[socket.socket], None] = getattr(self, way)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """End all of it."""
        self._ending.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                threading.Thread(target=self._one, args=(peer,), daemon=True).start()

    def _one(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            peer.settimeout(20)
            self._talk(peer)

    def _hear(self, peer: socket.socket) -> bytes:
        data = peer.recv(4096)
        self.heard += data
        return data

    def no_starttls(self, peer: socket.socket) -> None:
        """Offer a login in the clear, as one who wants the password does."""
        peer.sendall(b"220 hello\r\n")
        while data := self._hear(peer):
            peer.sendall(b"250-hello\r\n250 AUTH PLAIN LOGIN\r\n" if data.lower().startswith(b"ehlo") else b"334 \r\n")

    def no_tls(self, peer: socket.socket) -> None:
        """Agree to STARTTLS, and go on in the clear."""
        peer.sendall(b"220 hello\r\n")
        while data := self._hear(peer):
            peer.sendall(b"250-hello\r\n250 STARTTLS\r\n" if data.lower().startswith(b"ehlo") else b"220 go on\r\n")

    def early(self, peer: socket.socket) -> None:
        """Agree to STARTTLS, with answers to what would be asked inside of TLS in the same packet, and no TLS."""
        peer.sendall(b"220 hello\r\n")
        while data := self._hear(peer):
            early = (
                b"220 go on\r\n250-hello\r\n250 AUTH PLAIN\r\n235 welcome\r\n"
                + b"250 ok\r\n" * 2
                + b"354 go\r\n250 ok\r\n"
            )
            peer.sendall(b"250-hello\r\n250 STARTTLS\r\n" if data.lower().startswith(b"ehlo") else early)

    def dripping(self, peer: socket.socket) -> None:
        """Begin a line that has no end, a byte at a time, so that no timeout of a socket passes."""
        while not self._ending.wait(0.05):
            peer.sendall(b"2")

    def endless(self, peer: socket.socket) -> None:
        """Send lines of one answer for ever."""
        while not self._ending.is_set():
            peer.sendall(b"220-hello\r\n" * 1000)

    def long_line(self, peer: socket.socket) -> None:
        """Send one line for ever."""
        while not self._ending.is_set():
            peer.sendall(b"2" * 65536)

    def silent(self, peer: socket.socket) -> None:
        """Say nothing."""
        while self._hear(peer):
            pass

    def garbage(self, peer: socket.socket) -> None:
        """Say what is no SMTP, with characters that steer a terminal."""
        peer.sendall(b"\x1b]0;mine\x07 \xff\xfe\r\n")
        self.silent(peer)
