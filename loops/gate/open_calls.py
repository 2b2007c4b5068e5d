"""Open calls: what the gate let through and has not seen end. Policy for answers, and quota. Pure."""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.channels.frames.frame import names_in
from tlsrt.loops.gate.state import Call, Flow, GateVerdict

CALLS_MAX = 65_536  # open calls of all sessions, about 16 MiB; one session takes at most an eighth of what is left


class OpenCalls:
    """Open calls by name. The fast path reads and changes `by_name` itself."""

    def __init__(self, calls_per_session: int) -> None:
        self.by_name: dict[bytes, Call] = {}
        self.few = CALLS_MAX - 8 * (calls_per_session + 1)  # below, every session may have all of its own
        self.late = 0  # answers, credits and cancels that crossed the end of their call: dropped, no offence

    def open(self, flow: Flow, session: bytes, last: int, count: int, deadline: int) -> bool:
        """Open the calls of a request, or of a bundle of them that ends with number `last`; False over the quota."""
        asking = flow.session
        if asking.open_calls + count > min(asking.calls_most, (CALLS_MAX - len(self.by_name)) // 8):
            return False
        asking.open_calls += count
        call = (flow, deadline)
        for seq in range(last - count + 1, last + 1):
            self.by_name[session + seq.to_bytes(8, "big")] = call
        return True

    def answer(self, flow: Flow, correlation: bytes, count: int) -> GateVerdict | None:
        """End the calls that are answered; None unless one is open, and all that are were made between the same two.

        Answers of a bundle whose call has ended meanwhile are late, no offence; the caller drops them. Only loops get
        bundles.
        """
        calls = self.by_name
        if count < 2:
            call = calls.get(correlation)
            if call is None or call[0].dst != flow.src or call[0].src != flow.dst:
                return None
            del calls[correlation]
            call[0].session.open_calls -= 1
            return call[0].answers
        names = names_in(correlation)
        found = list(map(calls.get, names))
        same = found[0]
        if same is None or found.count(same) < count or len(set(names)) < count:
            return self._answer_in_part(flow, dict(zip(names, found, strict=True)), count)
        asked = same[0]
        if not asked.answers.loop or asked.dst != flow.src or asked.src != flow.dst:
            return None
        for one in names:
            del calls[one]
        asked.session.open_calls -= count
        return asked.answers

    def _answer_in_part(self, flow: Flow, found: dict[bytes, Call | None], count: int) -> GateVerdict | None:
        """The same for answers to calls that were made in several frames, or of which some have ended."""
        still = {name: call for name, call in found.items() if call is not None}
        for asked, _ in still.values():
            if not asked.answers.loop or asked.dst != flow.src or asked.src != flow.dst:
                return None
            answers = asked.answers
        if not still:
            return None
        for name, (asked, _) in still.items():
            del self.by_name[name]
            asked.session.open_calls -= 1
        self.late += count - len(still)
        return answers

    def end(self, name: bytes) -> None:
        """End one that is open."""
        self.by_name.pop(name)[0].session.open_calls -= 1

    def end_where(self, applies: Callable[[Call], bool]) -> None:
        """End those that a condition applies to."""
        for name in [name for name, call in self.by_name.items() if applies(call)]:
            self.end(name)

    def unanswered(self) -> list[bytes]:
        """Return the names of open calls. Streams, which need no end, are left out."""
        return [name for name, call in self.by_name.items() if not call[0].streams]

    def is_one_open(self, names: list[bytes]) -> bool:
        """Tell whether one of these calls is open. Drops those that are not from the end: each is looked at once."""
        while names and names[-1] not in self.by_name:
            names.pop()
        return bool(names)
