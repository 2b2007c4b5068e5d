"""Features of the supervisor, and how they are notified.

A feature is what the supervisor does beside keeping processes alive. `supervisor.py` has the one list of them. Every
notification goes to all of them in the order of that list, which is a contract: an authority that comes again hears of
a lock before it hears of any loop. A feature overrides what concerns it and must not raise. It also names the messages
of the authority that it takes and the verbs of the control socket that it serves; a message or a verb that two features
claim, and a message that no feature takes, is found when the list is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tlsrt.errors import MisuseError

if TYPE_CHECKING:
    from tlsrt.channels.control.life import LoopState
    from tlsrt.errors import TlsrtError
    from tlsrt.supervisor.control.stream import Follower
    from tlsrt.supervisor.supervision.loop import Loop, PermanentFailure
    from tlsrt.supervisor.supervision.states import LoopEvent

Request = Mapping[str, object]
Answer = dict[str, Any]
Reply = Callable[[Answer], None]
MessageHandler = Callable[[Any], None]  # gets the NamedTuple that the message table names
LoopHandler = Callable[["Loop", Any], None]  # the same, and of which loop; raises PeerError for what ends that loop


@dataclass(frozen=True, slots=True)
class ControlVerb:
    """A verb of the control socket with one answer, now or later.

    `is_held`: the connection stays open after the answer, until the supervisor ends.
    """

    answer: Callable[[Request, Reply], None]
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class StreamVerb:
    """A verb of the control socket that is answered by line after line."""

    follow: Callable[[Request, Follower], None]


class Feature:
    """One feature; what it does not override does not concern it."""

    def messages(self) -> Mapping[str, MessageHandler]:
        """Return a handler for each message of the authority that this feature takes."""
        return {}

    def loop_messages(self) -> Mapping[str, LoopHandler]:
        """Return a handler for each message of a loop's life channel that this feature takes."""
        return {}

    def verbs(self) -> Mapping[str, ControlVerb | StreamVerb]:
        """Return the verbs of the control socket that this feature serves."""
        return {}

    def authority_booted(self) -> None:
        """Hear that the authority has its keys, at the start or after a death."""

    def authority_lost(self) -> None:
        """Hear that the authority has died and will be started again."""

    def authority_ended(self) -> None:
        """Hear that the authority has ended while the host stops."""

    def epoch_begun(self) -> None:
        """Hear that the authority prepares another epoch."""

    def beat(self, name: str, lateness_us: int) -> None:
        """Hear a heartbeat of a loop or of the authority, and how late its event loop says it is."""

    def heartbeat_suspected(self, name: str, is_late: bool) -> None:
        """Hear that a process is suspected of hanging, or no longer."""

    def judged(self) -> None:
        """Hear, some times a second, that the watchdog has judged every process."""

    def loop_moved(self, loop: Loop, before: LoopState, event: LoopEvent) -> None:
        """Hear of one transition of a loop, only to note it: what follows from it comes later."""

    def loop_active(self, loop: Loop) -> None:
        """Hear that a loop has become active."""

    def loop_changed(self, loop: Loop) -> None:
        """Hear that a loop is active, has ended, was given up, or works in another epoch."""

    def loop_unwell(self, loop: Loop, reason: str) -> None:
        """Hear that an active loop must be restarted, since a component of it is not well."""

    def loop_died(self, loop: Loop, active_s: float, failure: PermanentFailure | None) -> None:
        """Hear that a loop ended though it was not asked to, after `active_s` of service."""

    def loop_ended(self, loop: Loop) -> None:
        """Hear that a loop has ended while the host stops."""

    def program_asked(self, loop: Loop, number: int) -> None:
        """Hear that a loop wants one of its programs to be run; the number is as it was said."""

    def refused(self, error: TlsrtError) -> None:
        """Hear of an error because of which the host does not start, or cannot go on."""

    def failed(self, exit_code: int) -> None:
        """Hear that the host must stop with this exit code."""

    def stopping(self) -> None:
        """Hear that the host begins to stop: whatever waits is answered now."""

    def stopped(self, exit_code: int) -> None:
        """Hear that the last process has ended."""


class Features(Feature):
    """All features as one: made before them, since they are told by what they themselves need."""

    def __init__(self) -> None:
        self._features: tuple[Feature, ...] = ()
        self._messages: dict[str, MessageHandler] = {}
        self._loop_messages: dict[str, LoopHandler] = {}
        self._verbs: dict[str, ControlVerb | StreamVerb] = {}

    def register(self, features: Iterable[Feature], messages: Iterable[str]) -> None:
        """Take the list, once; `messages` names all that the authority says to features.

        Raises MisuseError for a message that no feature takes or that does not exist, and for a message or a verb that
        two of them take.
        """
        self._features = tuple(features)
        for feature in self._features:
            _merge(self._messages, feature.messages(), "message")
            _merge(self._loop_messages, feature.loop_messages(), "message of a loop")
            _merge(self._verbs, feature.verbs(), "verb")
        if wrong := self._messages.keys() ^ set(messages):
            raise MisuseError(f"messages that no feature takes, or that the authority does not say: {sorted(wrong)}")

    @property
    def all(self) -> tuple[Feature, ...]:
        return self._features

    def take(self, name: str, message: Any) -> None:
        """Hand a message of the authority to the feature that takes it."""
        self._messages[name](message)

    def take_of_loop(self, loop: Loop, name: str, message: Any) -> None:
        """Hand a message of a loop to the feature that takes it. Raises PeerError for what ends the loop."""
        self._loop_messages[name](loop, message)

    def messages(self) -> Mapping[str, MessageHandler]:
        return self._messages

    def loop_messages(self) -> Mapping[str, LoopHandler]:
        return self._loop_messages

    def verbs(self) -> Mapping[str, ControlVerb | StreamVerb]:
        return self._verbs

    def authority_booted(self) -> None:
        for feature in self._features:
            feature.authority_booted()

    def authority_lost(self) -> None:
        for feature in self._features:
            feature.authority_lost()

    def authority_ended(self) -> None:
        for feature in self._features:
            feature.authority_ended()

    def epoch_begun(self) -> None:
        for feature in self._features:
            feature.epoch_begun()

    def beat(self, name: str, lateness_us: int) -> None:
        for feature in self._features:
            feature.beat(name, lateness_us)

    def heartbeat_suspected(self, name: str, is_late: bool) -> None:
        for feature in self._features:
            feature.heartbeat_suspected(name, is_late)

    def judged(self) -> None:
        for feature in self._features:
            feature.judged()

    def loop_moved(self, loop: Loop, before: LoopState, event: LoopEvent) -> None:
        for feature in self._features:
            feature.loop_moved(loop, before, event)

    def loop_active(self, loop: Loop) -> None:
        for feature in self._features:
            feature.loop_active(loop)

    def loop_changed(self, loop: Loop) -> None:
        for feature in self._features:
            feature.loop_changed(loop)

    def loop_unwell(self, loop: Loop, reason: str) -> None:
        for feature in self._features:
            feature.loop_unwell(loop, reason)

    def loop_died(self, loop: Loop, active_s: float, failure: PermanentFailure | None) -> None:
        for feature in self._features:
            feature.loop_died(loop, active_s, failure)

    def loop_ended(self, loop: Loop) -> None:
        for feature in self._features:
            feature.loop_ended(loop)

    def program_asked(self, loop: Loop, number: int) -> None:
        for feature in self._features:
            feature.program_asked(loop, number)

    def refused(self, error: TlsrtError) -> None:
        for feature in self._features:
            feature.refused(error)

    def failed(self, exit_code: int) -> None:
        for feature in self._features:
            feature.failed(exit_code)

    def stopping(self) -> None:
        for feature in self._features:
            feature.stopping()

    def stopped(self, exit_code: int) -> None:
        for feature in self._features:
            feature.stopped(exit_code)


_Value = TypeVar("_Value")


def _merge(table: dict[str, _Value], more: Mapping[str, _Value], what: str) -> None:
    if twice := table.keys() & more.keys():
        raise MisuseError(f"two features take the {what} {', '.join(sorted(twice))}")
    table.update(more)
