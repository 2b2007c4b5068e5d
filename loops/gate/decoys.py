"""Decoys and canaries: accesses to what no honest client has a reason to use. Pure and bounded.

The gate looks here wherever it looks up rights, and answers as it would without looking: what is no decoy and what is
one cost the same, and what follows from an access begins after the answer has left. Its fast path never sees a decoy
first: what it recognises has passed here before.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, Protocol
from urllib.parse import unquote

from tlsrt.config.canaries import CanaryHashes
from tlsrt.config.deception import DeceptionConfig
from tlsrt.loops.gate.state import Origin

WAITING_MAX = 128
WAITING_OF = 16  # of one session or loop, or of all strangers together, whose addresses cost nothing
SEEN_MAX = 1024
DECODINGS = 3  # of a path: scanners encode what was encoded
FOREIGN = "foreign "  # before what a page of another site made a browser ask for: its client did not choose to


class DecoyAccess(NamedTuple):
    """A session, proven, asked for a decoy."""

    session: bytes
    target: str
    method: str


class CanaryUse(NamedTuple):
    """A canary was used, or a decoy of another kind: what, and one of the three that it came from."""

    what: str
    loop: str = ""
    session: bytes = b""
    address: str = ""


class AccessListener(Protocol):
    """Who reports accesses."""

    def on_access(self) -> None:
        """The first of those that wait."""


class Decoys:
    """The names, and the accesses that wait to be reported. The same access of the same session is reported once."""

    def __init__(self, config: DeceptionConfig | None = None) -> None:
        config = config or DeceptionConfig()
        self._components = frozenset(config.components)
        self._methods = frozenset(config.methods)
        self._paths = {plain_path(path): path for path in config.paths}
        self.canaries = CanaryHashes()
        self._trial = ""
        self._seen: set[DecoyAccess | CanaryUse] = set()
        self._waiting: list[DecoyAccess | CanaryUse] = []
        self._waiting_of: dict[bytes | str, int] = {}
        self._listener: AccessListener | None = None

    def set_listener(self, listener: AccessListener) -> None:
        """Tell this one of accesses."""
        self._listener = listener

    def set_canaries(self, canaries: CanaryHashes) -> None:
        """Know canaries by these hashes."""
        self.canaries = canaries

    def try_name(self, target: str) -> None:
        """Take a name as a decoy, once: a proof for the authority that accesses are reported."""
        self._trial = target

    def check(self, session: bytes, target: str, method: str) -> None:
        """Check what a session asks for, after the proof that it is this session."""
        if target in self._components or (target, method) in self._methods or target == self._trial:
            self._note(DecoyAccess(session, target, method))

    def check_token(self, token: bytes, origin: Origin) -> None:
        """Check a token that was refused; its sender is known by the socket."""
        number = self.canaries.token(token)
        if number is not None:
            self._note(CanaryUse(f"token {number}", origin.loop, origin.session))

    def check_client(self, certificate: bytes, address: str) -> None:
        """Check the certificate (DER) of a client whose handshake is done: it holds the key."""
        number = self.canaries.client(certificate)
        if number is not None:
            self._note(CanaryUse(f"client {number}", address=address))

    def check_stranger(self, address: str) -> None:
        """Note a client that has sent something to the decoy endpoint."""
        self._note(CanaryUse("endpoint", address=address))

    def check_request(self, target: str, authorization: str, session: bytes, address: str, *, is_foreign: bool) -> None:
        """Check an HTTP request: its target and the header Authorization. The session may not be open yet.

        A foreign request is reported as such: what another site makes a browser ask for is not its client's deed.
        """
        path = self._paths.get(plain_path(target))
        number = self.canaries.token_in(authorization) if authorization else None
        word = FOREIGN if is_foreign else ""
        if path is not None:
            self._note(CanaryUse(f"{word}path {path}", "", session, "" if session else address))
        if number is not None:
            self._note(CanaryUse(f"{word}token {number}", "", session, "" if session else address))

    def _note(self, access: DecoyAccess | CanaryUse) -> None:
        """Note an access. Those that other sites cause are one subject, so that they hide none that counts."""
        # A bounded table would do the same, and take so long that a decoy could be told from anything else.
        subject = _subject_of(access)
        count = self._waiting_of.get(subject, 0)
        if access in self._seen or count >= WAITING_OF or len(self._waiting) >= WAITING_MAX:
            return
        self._waiting_of[subject] = count + 1
        if len(self._seen) >= SEEN_MAX:
            self._seen.clear()
        self._seen.add(access)
        self._waiting.append(access)
        if len(self._waiting) == 1 and self._listener is not None:
            self._listener.on_access()

    def take(self) -> list[DecoyAccess | CanaryUse]:
        """Return the accesses that wait, and forget them."""
        found, self._waiting = self._waiting, []
        self._waiting_of.clear()
        if any(isinstance(access, DecoyAccess) and access.target == self._trial for access in found):
            self._trial = ""
        return found

    def put_back(self, accesses: list[DecoyAccess | CanaryUse]) -> None:
        """Keep accesses that could not be reported now."""
        self._waiting = (accesses + self._waiting)[:WAITING_MAX]
        self._waiting_of = Counter(map(_subject_of, self._waiting))


def _subject_of(access: DecoyAccess | CanaryUse) -> bytes | str:
    """Return whose share of the accesses that wait this one takes."""
    if type(access) is CanaryUse and access.what.startswith(FOREIGN):
        return FOREIGN
    return access.session or (access.loop if type(access) is CanaryUse else "")


def plain_path(target: str) -> str:
    """Return the path of a request's target in one form, however it was written.

    Decoded, in lower case, without a host, empty and dot segments, parameters, and what follows a NUL.
    """
    path = target.partition("?")[0].partition("#")[0]
    if "://" in path[:12]:
        path = "/" + path.partition("://")[2].partition("/")[2]
    for _ in range(DECODINGS):
        if "%" not in path:
            break
        path = unquote(path, errors="replace")
    segments: list[str] = []
    for part in path.partition("\0")[0].replace("\\", "/").casefold().split("/"):
        segment = part.partition(";")[0]
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    return "/" + "/".join(segments)
