"""An IMAP server of 127.0.0.1, with TLS from the first byte, that lies in one way. In threads."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable

MIB = 1 << 20
# The way, and when it begins: at the greeting, or at a command.
WAYS = {
    "silent": "GREETING", "endless_line": "GREETING", "garbage": "GREETING", "bye": "GREETING", "dripping": "GREETING",
    "untagged_for_ever": "LOGIN", "huge_literal": "UID", "true_literal": "UID", "nothing_there": "UID",
    "other_tag": "LOGIN", "no_uidvalidity": "SELECT", "odd_uids": "UID", "refuses": "LOGIN", "nested": "UID",
    "more_than_asked": "UID", "closes": "UID", "events_for_ever": "IDLE", "never_done": "IDLE", "steers": "LOGIN",
}  # fmt: skip


class LyingImapServer:
    """Serves until closed, as the only mail has UID 1, except for `way`."""

    def __init__(self, context: ssl.SSLContext, way: str) -> None:
        self.way = way
        self._context = context
        self._ending = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
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
            with self._context.wrap_socket(peer, server_side=True) as stream, stream.makefile("rb") as file:
                if not self._lies("GREETING", "", stream):
                    stream.sendall(b"* OK hello\r\n")
                tag = ""
                while line := file.readline():
                    if line == b"DONE\r\n":
                        stream.sendall(f"{tag} OK done\r\n".encode())
                        continue
                    tag, _, rest = line.decode().strip().partition(" ")
                    word = rest.partition(" ")[0].upper()
                    if not self._lies(word, tag, stream):
                        stream.sendall(self._answer(word, rest.upper(), tag))

    def _answer(self, word: str, rest: str, tag: str) -> bytes:
        said = {
            "CAPABILITY": "* CAPABILITY IMAP4rev1 IDLE\r\n",
            "SELECT": "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 2] x\r\n",
        }.get(word, "")
        if rest.startswith("UID SEARCH"):
            said = "* SEARCH 1\r\n"
        elif rest.startswith("UID FETCH") and "BODY" in rest:
            said = "* 1 FETCH (UID 1 BODY[]<0> {3}\r\nabc)\r\n"
        elif rest.startswith("UID FETCH"):
            said = "* 1 FETCH (UID 1 RFC822.SIZE 3 FLAGS ())\r\n"
        elif word == "IDLE":
            return b"+ idling\r\n"
        return f"{said}{tag} OK done\r\n".encode()

    def _lies(self, word: str, tag: str, stream: ssl.SSLSocket) -> bool:
        if WAYS.get(self.way) != word:
            return False
        lie: Callable[[ssl.SSLSocket, str], None] = getattr(self, self.way)
        lie(stream, tag)
        return True

    def silent(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Say nothing."""
        self._ending.wait(20)

    def never_done(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Never begin the IDLE."""
        self._ending.wait(20)

    def dripping(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Begin a line that has no end, a byte at a time."""
        while not self._ending.wait(0.05):
            stream.sendall(b"*")

    def endless_line(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Send one line for ever."""
        while not self._ending.is_set():
            stream.sendall(b"* OK " + b"x" * 65536)

    def untagged_for_ever(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Tell of other things for ever."""
        while not self._ending.is_set():
            stream.sendall(b"* 1 EXISTS\r\n* OK more\r\n" * 500)

    events_for_ever = untagged_for_ever

    def huge_literal(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Announce a mail of many GiB, and begin with it."""
        stream.sendall(b"* 1 FETCH (UID 1 BODY[]<0> {99999999999}\r\n" + b"x" * 65536)
        self._ending.wait(20)

    def true_literal(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Send a mail that is larger than was asked for, all of it."""
        stream.sendall(b"* 1 FETCH (UID 1 BODY[]<0> {%d}\r\n" % (64 * MIB))
        for _ in range(64):
            stream.sendall(b"x" * MIB)
        stream.sendall(b")\r\n%s OK done\r\n" % tag.encode())

    def more_than_asked(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Answer with many mails that no one asked for."""
        for uid in range(2, 4):
            stream.sendall(b"* %d FETCH (UID %d BODY[]<0> {%d}\r\n" % (uid, uid, 900_000) + b"x" * 900_000 + b")\r\n")
        stream.sendall(b"%s OK done\r\n" % tag.encode())

    def nothing_there(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Have told of a mail, and have none."""
        stream.sendall(b"* 5 EXISTS\r\n%s OK done\r\n" % tag.encode())

    def other_tag(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Answer another command."""
        stream.sendall(b"ZZZ9 OK done\r\n")

    def no_uidvalidity(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Say nothing of UIDs."""
        stream.sendall(b"* 1 EXISTS\r\n%s OK done\r\n" % tag.encode())

    def odd_uids(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Name UIDs that are none."""
        stream.sendall(b"* SEARCH 0 99999999999999999999 (x) -1 \xff\r\n%s OK done\r\n" % tag.encode())

    def nested(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Send what is nested without end."""
        stream.sendall(b"* 1 FETCH " + b"(" * 50_000 + b"\r\n%s OK done\r\n" % tag.encode())

    def refuses(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Refuse the account."""
        stream.sendall(b"%s NO [AUTHENTICATIONFAILED] go away\r\n" % tag.encode())

    def steers(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Refuse with characters that steer a terminal."""
        stream.sendall(b"%s NO \x1b]0;mine\x07 \x1b[2J\xff\r\n" % tag.encode())

    def garbage(self, stream: ssl.SSLSocket, tag: str) -> None:
        """Say what is no IMAP."""
        stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        self._ending.wait(20)

    def bye(self, stream: ssl.SSLSocket, tag: str) -> None:
        """End at once."""
        stream.sendall(b"* BYE not today\r\n")
        stream.close()

    def closes(self, stream: ssl.SSLSocket, tag: str) -> None:
        """End in the midst."""
        stream.close()
