"""The TLS contexts of the door: each generation of its files is tried before anybody is served with it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence

from tlsrt.channels.session.enrolment import PROTOCOL as ENROLMENT
from tlsrt.errors import ConfigError
from tlsrt.loops.door.server_context import server_context, shake_hands, stranger_context

Contexts = tuple[ssl.SSLContext, ssl.SSLContext | None]  # for clients with a certificate, for those without


class DoorContexts:
    """Those that were tried and do not serve yet. With `has_strangers` clients without a certificate may enrol."""

    def __init__(self, protocols: tuple[str, ...], *, has_strangers: bool) -> None:
        self._protocols = protocols
        self._has_strangers = has_strangers
        self._tried: dict[int, Contexts] = {}  # by generation

    def make(self, generation: int, descriptors: Sequence[int]) -> str:
        """Make the contexts of certificate, key and client CA, and shake hands; return why not, or nothing.

        The descriptors are closed.
        """
        try:
            certificate, key, authority = descriptors
            context = server_context(certificate, key, authority, self._protocols)
            shake_hands(context)
            strangers = stranger_context(certificate, key, ENROLMENT) if self._has_strangers else None
            self._tried[generation] = context, strangers
        except ConfigError as error:
            return str(error)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return ""

    def take(self, generation: int) -> Contexts | None:
        """Return the contexts of a generation that was tried, and forget all."""
        contexts = self._tried.get(generation)
        self._tried.clear()
        return contexts
