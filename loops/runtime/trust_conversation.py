"""What a process and the authority say to each other on the trust channel: the shell of `AuthorityClient`."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from tlsrt.channels.calls.ending import Ending
from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.channels.session.verifier import Verifier
from tlsrt.errors import PeerError
from tlsrt.loops.runtime.authority_client import AuthorityClient

JOIN_RETRY_S = 0.5


class TrustOwner(Protocol):
    """The process."""

    @property
    def waits_for_keys(self) -> bool:
        """Whether it is to ask for its first keys."""

    def end_calls_before(self, epoch: int) -> None:
        """End the calls that were begun in an epoch below this one."""

    def end_calls(self, ending: Ending) -> None:
        """End the calls of sessions that have ended."""

    def on_trust(self) -> None:
        """Take note that messages were applied."""

    def on_trust_lost(self, reason: str) -> None:
        """End the process."""


class TrustConversation:
    """Reads the messages of the authority, and answers. What cannot be sent now is sent with a later beat."""

    def __init__(
        self, channel: ControlChannel, client: AuthorityClient, verifier: Verifier, owner: TrustOwner,
        *, takes_descriptors: bool,
    ) -> None:  # fmt: skip
        self._channel = channel
        self._client = client
        self._verifier = verifier
        self._owner = owner
        self._takes_descriptors = takes_descriptors
        self._is_receiving = False

    def join(self) -> None:
        """Ask for keys until they come. The authority answers once we are attested, and may itself be restarting."""
        if self._owner.waits_for_keys:
            self._try_to_send("join")
            asyncio.get_running_loop().call_later(JOIN_RETRY_S, self.join)

    def read(self) -> None:
        """Take what has come, and answer it."""
        self._is_receiving = True
        try:
            while (message := self._next_message()) is not None:
                now = boottime_ms()
                self._client.on_message(*message, now)
                self._after_message(now)
            if self._client.prepared and self._try_to_send("prepared", self._client.prepared):
                self._client.prepared = 0
            if self._verifier.wants_snapshot:  # the authority sends everything anew; each beat asks again
                self._verifier.wants_snapshot = False
                self._try_to_send("join")
            self._owner.on_trust()
        except PeerError as error:
            self._owner.on_trust_lost(error.reason)
        finally:
            self._is_receiving = False

    def catch_up(self) -> bool:
        """Take what the authority has sent by now; False if that is being done already.

        What others were told after us may reach us before we have read what we were told.
        """
        if self._is_receiving:
            return False
        self.read()
        return True

    def each_beat(self) -> None:
        """Say again what the authority did not read."""
        if self._client.prepared:
            self.read()

    def rest(self) -> bool:
        """Have the authority send no feed; False if it does not read now."""
        return self._try_to_send("rest")

    def wake(self) -> bool:
        """Ask what was missed, and for the feed; False if the authority does not read now."""
        if not self._try_to_send("wake"):
            return False
        self._client.asked += 1
        return True

    def ask_anew(self) -> None:
        """Have the authority send everything again: what we know is too old."""
        self._verifier.wants_snapshot = True
        self.read()

    def _next_message(self) -> tuple[str, Any, list[int]] | None:
        return self._channel.receive("authority", "new", descriptors=self._takes_descriptors)

    def _after_message(self, now: int) -> None:
        """Do what a message of the authority asks of this process."""
        client = self._client
        if client.stale_before:
            self._owner.end_calls_before(client.stale_before)
            client.stale_before = 0
        for ending in client.take_endings():
            self._owner.end_calls(ending)
        if client.retiring:
            delay = max(0, client.retiring[-1][1] - now) / 1000 + 0.01
            asyncio.get_running_loop().call_later(delay, self._retire)

    def _retire(self) -> None:
        self._client.retire(boottime_ms())

    def _try_to_send(self, name: str, *fields: Any) -> bool:
        """Send to the authority; False if it does not read now, as it may be busy or restarting. Try again later."""
        try:
            self._channel.send(name, *fields)
        except PeerError as error:
            if error.reason != "hung":
                raise
            return False
        return True
