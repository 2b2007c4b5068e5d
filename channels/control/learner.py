"""The learner's protocol: questions of the authority, answers that are advice. Whole numbers.

The authority asks what is thought of one window of traffic: rows as in `telemetry.py`, where the session id is an id of
the subject without a name. The answer is advice: which rows are unusual, how much, and by which features. All words
are those of the table below, so that a captured learner can say none of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from tlsrt.channels.control.seqpacket import Message, MessageTable, NoFields
from tlsrt.errors import PeerError

LEARNER_CAP = 32 * 1024  # 256 rows, or as much advice
NUMBER_MAX = 1 << 62
REASONS = 3  # of a row, at most


@dataclass(frozen=True, slots=True)
class TrafficFeature:
    """One thing that is looked at, and the words for it."""

    name: str
    words: str


FEATURES = (
    TrafficFeature("frames", "frames"),
    TrafficFeature("bytes_in", "bytes in"),
    TrafficFeature("bytes_out", "bytes out"),
    TrafficFeature("size_in", "bytes in a frame"),
    TrafficFeature("size_out", "bytes out a frame"),
    TrafficFeature("new_methods", "new methods"),
    TrafficFeature("targets", "new components"),
    TrafficFeature("refused", "refused"),
    TrafficFeature("open_calls", "open calls"),
    TrafficFeature("busy_looks", "busy half seconds"),
    TrafficFeature("peak", "frames in half a second"),
    TrafficFeature("pause", "silent windows before"),
    TrafficFeature("frames_sum", "frames lately"),
    TrafficFeature("bytes_out_sum", "bytes out lately"),
    TrafficFeature("new_methods_sum", "new methods lately"),
    TrafficFeature("refused_sum", "refused lately"),
    TrafficFeature("active_sum", "windows with traffic lately"),
)


class Reason(NamedTuple):
    """A feature that drove a score: its place in FEATURES, its number now, and the usual one."""

    at: int
    number: int
    usual: int

    @property
    def feature(self) -> str:
        return FEATURES[self.at].name

    def __str__(self) -> str:
        return f"{FEATURES[self.at].words}: {self.number}, usually {self.usual}"


class Advice(NamedTuple):
    """What is thought of one row that is unusual."""

    row: int  # of the question
    millibits: int  # of surprise, beyond chance
    reasons: tuple[Reason, ...]


class WeighMessage(NamedTuple):
    """Weigh and learn the rows of one window; `advice` answers. The first `clients` rows are of clients."""

    number: int
    now: int  # BOOTTIME, ms
    clients: int
    rows: list[Any]


class AdviceMessage(NamedTuple):
    """The answer: how many rows are of subjects that are known by now, and those that are unusual, in their order."""

    number: int
    known: int
    unusual: list[Any]  # [row, millibits, [[feature, number, usual], ...]] each


def pack_advice(unusual: list[Advice]) -> list[Any]:
    """Return advice as it is sent."""
    return [[row, bits, [list(reason) for reason in reasons]] for row, bits, reasons in unusual]


def parse_advice_untrusted(message: AdviceMessage, rows: int) -> list[Advice]:
    """Return the advice about so many rows. Raise PeerError for anything else, such as a row that is named twice."""
    if not len(message.unusual) <= message.known <= rows:
        raise PeerError("bad_advice")
    found: list[Advice] = []
    for item in message.unusual:
        match item:
            case [row, bits, [*reasons]] if len(reasons) <= REASONS and _are_numbers(row, bits):
                found.append(Advice(row, bits, tuple(map(_reason_untrusted, reasons))))
            case _:
                raise PeerError("bad_advice")
    named = [advice.row for advice in found]
    if named != sorted(set(named)) or any(row >= rows for row in named):
        raise PeerError("bad_advice")
    return found


def _reason_untrusted(item: Any) -> Reason:
    match item:
        case [at, number, usual] if _are_numbers(at, number, usual) and at < len(FEATURES):
            return Reason(at, number, usual)
        case _:
            raise PeerError("bad_advice")


def _are_numbers(*items: Any) -> bool:
    return all(type(item) is int and 0 <= item < NUMBER_MAX for item in items)


_SUPERVISOR = frozenset({"supervisor"})
_LEARNER = frozenset({"learner"})
_SEALED = frozenset({"sealed"})

LEARNER = MessageTable(
    "learner",
    LEARNER_CAP,
    (
        # number, name, who may send it, in which states of the learner, its fields
        Message(1, "weigh", _SUPERVISOR, _SEALED, WeighMessage),
        Message(16, "sealed", _LEARNER, frozenset({"new"}), NoFields),
        Message(17, "advice", _LEARNER, _SEALED, AdviceMessage),
    ),
)
