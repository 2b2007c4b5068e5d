"""What `status` says of a lock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from tlsrt.channels.control.authority_channel import LockStateMessage, LockStoredMessage
from tlsrt.supervisor.control.lock import LockControl
from tlsrt.supervisor.process.event_loop import EventLoop

LOCK, OTHER = bytes(16), bytes([1]) * 16


class Nothing:
    """Stands for all that a lock moves: none of it matters here."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **more: None


def test_a_lock_of_a_client_is_stored_when_the_authority_has_written_it() -> None:
    event_loop = EventLoop()
    context = SimpleNamespace(event_loop=event_loop, events=Nothing(), console=Nothing())
    loops = SimpleNamespace(
        all=[SimpleNamespace(is_primary=False)], set_locked=lambda is_locked: None, is_stopping=False, is_locked=False
    )
    authority = SimpleNamespace(is_booted=True, unwritten="")
    control = LockControl(
        cast("Any", context), cast("Any", loops), cast("Any", Nothing()), cast("Any", authority), cast("Any", Nothing())
    )

    def is_stored() -> bool:
        document = control.document()
        assert document is not None
        return bool(document["stored"])

    messages = cast("Any", control.messages())
    messages["lock_state"](LockStateMessage(LOCK, "by night", "client/guard", 7))
    assert not is_stored()
    messages["lock_stored"](LockStoredMessage(OTHER))
    assert not is_stored(), "that was another one"
    messages["lock_stored"](LockStoredMessage(LOCK))
    assert is_stored()
    event_loop.close()
