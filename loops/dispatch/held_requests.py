"""Held requests: frames that wait for their caller's share of the processor, and have not been read. Pure."""

from __future__ import annotations

from tlsrt.channels.calls.ending import Ending, Fate
from tlsrt.channels.frames.frame import FrameKind, Header, correlation


class HeldRequests:
    """The frames of one component that wait, by the name of their last request."""

    def __init__(self) -> None:
        self._headers: dict[bytes, Header] = {}

    def add(self, header: Header) -> bytes:
        """Hold a frame; return its name."""
        name = correlation(header.session, header.seq)
        self._headers[name] = header
        return name

    def take(self, name: bytes) -> bool:
        """Hold it no longer; False if it is not to begin any more."""
        return self._headers.pop(name, None) is not None

    def holds(self, name: bytes) -> bool:
        """Tell whether a request waits that has this name."""
        return name in self._headers

    def cancel(self, header: Header) -> None:
        """Drop the request that a CANCEL names. One of a bundle goes on, as its neighbours do."""
        held = self._headers.get(header.correlation)
        if held is None or header.kind != FrameKind.CANCEL or held.session != header.session:
            return
        if held.kind == FrameKind.REQUEST:
            del self._headers[header.correlation]

    def end(self, ending: Ending) -> None:
        """Drop the requests of those who are gone. Nothing of them has run."""
        for name, header in list(self._headers.items()):
            if ending.fate(header.session, header.src) is not Fate.GOES_ON:
                del self._headers[name]

    def clear(self) -> list[Header]:
        """Drop everything; return what it was."""
        headers = list(self._headers.values())
        self._headers.clear()
        return headers
