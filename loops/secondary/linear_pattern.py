"""Regular expressions that are matched in a time linear in the text, whatever either of them is. Pure.

Theory of operation. Python's `re` tries one way after another, and `(a+)+` has exponentially many; neither its parser
nor a list of bad forms tells which expressions are harmless. So its parser reads the expression, and the match is done
by the position automaton (Glushkov 1961): one position for each sign of the expression, and a set of positions, as the
bits of a number, that moves once for each character of the text. There is nothing to go back to. What such an automaton
cannot express (references to groups, looking ahead or behind, flags) is refused when the expression is read.

A step costs at most one look into a table for every 8 positions: at most 128 of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from re import _constants as signs  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

POSITIONS_MOST = 1024
_DEPTH_MOST = 32
_CHARACTERS_KEPT = 512  # whose positions are remembered
_CATEGORIES = {
    signs.CATEGORY_DIGIT: r"\d", signs.CATEGORY_NOT_DIGIT: r"\D", signs.CATEGORY_SPACE: r"\s",
    signs.CATEGORY_NOT_SPACE: r"\S", signs.CATEGORY_WORD: r"\w", signs.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip
_ONE_SIGN = (signs.LITERAL, signs.NOT_LITERAL, signs.ANY, signs.IN)
_REFUSED = {
    signs.ASSERT: "(?=...) and (?<=...)",
    signs.ASSERT_NOT: "(?!...) and (?<!...)",
    signs.GROUPREF: "a reference to a group",
    signs.GROUPREF_EXISTS: "a condition on a group",
    signs.ATOMIC_GROUP: "(?>...)",
    signs.POSSESSIVE_REPEAT: "a possessive quantifier",
    signs.AT: "^, $ or \\b within it",
}
_Test = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Part:
    """What a part of an expression begins and ends with, as bits of positions, and whether it may be empty."""

    first: int
    last: int
    is_empty: bool


_NOTHING = _Part(0, 0, is_empty=True)


@dataclass(slots=True)
class LinearPattern:
    """An expression of Python's `re`, matched whole and in linear time. Raises ValueError with a sentence."""

    text: str
    _tests: list[_Test] = field(default_factory=list, init=False, repr=False)
    _follow: list[int] = field(default_factory=list, init=False, repr=False)
    _whole: _Part = field(default=_NOTHING, init=False, repr=False)
    _fitting: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    _steps: dict[tuple[int, int], int] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            parsed = parser.parse(self.text)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"the pattern cannot be read: {error}") from None
        if parsed.state.flags != re.UNICODE:
            raise self._refused("flags such as (?i)")
        items = list(parsed)
        if items and items[0][0] is signs.AT and items[0][1] in (signs.AT_BEGINNING, signs.AT_BEGINNING_STRING):
            items = items[1:]
        if items and items[-1][0] is signs.AT and items[-1][1] in (signs.AT_END, signs.AT_END_STRING):
            items = items[:-1]
        if _positions(items, _DEPTH_MOST) > POSITIONS_MOST:
            raise ValueError(
                f"the pattern has more than {POSITIONS_MOST} signs with its repetitions written out: make it shorter, "
                "and bound the length of the text by `high`"
            )
        self._whole = self._sequence(items)

    def fullmatch(self, text: str) -> bool:
        """Tell whether the whole text matches."""
        if not text:
            return self._whole.is_empty
        allowed = self._whole.first
        at = 0
        width = (len(self._tests) + 7) // 8
        for character in text:
            at = allowed & self._fits(character)
            if not at:
                return False
            allowed = self._next(at.to_bytes(width, "little"))
        return bool(at & self._whole.last)

    def _fits(self, character: str) -> int:
        """Return the positions that a character fits."""
        found = self._fitting.get(character)
        if found is None:
            if len(self._fitting) >= _CHARACTERS_KEPT:
                self._fitting.clear()
            found = sum(1 << place for place, test in enumerate(self._tests) if test(character))
            self._fitting[character] = found
        return found

    def _next(self, places: bytes) -> int:
        found = 0
        for place, byte in enumerate(places):
            if byte:
                step = self._steps.get((place, byte))
                if step is None:
                    step = 0
                    for bit in range(8):
                        if byte >> bit & 1:
                            step |= self._follow[place * 8 + bit]
                    self._steps[place, byte] = step  # at most 128 * 255
                found |= step
        return found

    # -- reading an expression --------------------------------------------------------------------------------

    def _refused(self, what: str) -> ValueError:
        return ValueError(f"the pattern has {what}, for which its time would have no bound: write it without")

    def _sequence(self, items: Any) -> _Part:
        found = _NOTHING
        for item in items:
            found = self._joined(found, self._part(*item))
        return found

    def _joined(self, before: _Part, after: _Part) -> _Part:
        self._lead(before.last, after.first)
        return _Part(
            before.first | after.first if before.is_empty else before.first,
            after.last | before.last if after.is_empty else after.last,
            is_empty=before.is_empty and after.is_empty,
        )

    def _lead(self, last: int, first: int) -> None:
        """Let the positions of `first` follow those of `last`."""
        for place in _bits(last):
            self._follow[place] |= first

    def _part(self, kind: Any, said: Any) -> _Part:
        if kind in _ONE_SIGN:
            place = 1 << len(self._tests)
            self._tests.append(self._test(kind, said))
            self._follow.append(0)
            return _Part(place, place, is_empty=False)
        if kind is signs.SUBPATTERN:
            _, added, removed, inner = said
            if added or removed:
                raise self._refused("flags such as (?i:...)")
            return self._sequence(inner)
        if kind is signs.BRANCH:
            parts = [self._sequence(inner) for inner in said[1]]
            first, last = 0, 0
            for one in parts:
                first, last = first | one.first, last | one.last
            return _Part(first, last, is_empty=any(one.is_empty for one in parts))
        if kind in (signs.MAX_REPEAT, signs.MIN_REPEAT):
            return self._repeated(*said)
        raise self._refused(_REFUSED.get(kind, str(kind)))

    def _repeated(self, least: int, most: Any, inner: Any) -> _Part:
        found = _NOTHING
        for _ in range(least if most is not signs.MAXREPEAT or not least else least - 1):
            found = self._joined(found, self._sequence(inner))
        if most is signs.MAXREPEAT:
            one = self._sequence(inner)
            self._lead(one.last, one.first)
            return self._joined(found, _Part(one.first, one.last, is_empty=one.is_empty or not least))
        rest = _NOTHING
        for _ in range(most - least):  # x(x(x)?)?, from within
            more = self._joined(self._sequence(inner), rest)
            rest = _Part(more.first, more.last, is_empty=True)
        return self._joined(found, rest)

    def _test(self, kind: Any, said: Any) -> _Test:
        if kind is signs.LITERAL:
            return chr(said).__eq__
        if kind is signs.NOT_LITERAL:
            return chr(said).__ne__
        if kind is signs.ANY:
            return "\n".__ne__
        is_negated = bool(said) and said[0][0] is signs.NEGATE
        tests = [self._item(*one) for one in said[1 if is_negated else 0 :]]
        return lambda character: any(test(character) for test in tests) is not is_negated

    def _item(self, kind: Any, said: Any) -> _Test:
        if kind is signs.LITERAL:
            return chr(said).__eq__
        if kind is signs.RANGE:
            low, high = said
            return lambda character: low <= ord(character) <= high
        if kind is signs.CATEGORY and said in _CATEGORIES:
            expression = re.compile(_CATEGORIES[said])
            return lambda character: expression.fullmatch(character) is not None
        raise self._refused(str(kind))


@cache  # as many as an operator's options name
def linear_pattern(text: str) -> LinearPattern:
    """Return the pattern of an expression, read once. Raises ValueError with a sentence."""
    return LinearPattern(text)


def _bits(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


def _positions(items: Any, depth: int) -> int:
    """Return how many positions an expression takes, POSITIONS_MOST and one if it is more or nested too deeply."""
    if not depth:
        return POSITIONS_MOST + 1
    found = 0
    for kind, said in items:
        if kind is signs.SUBPATTERN:
            found += _positions(said[3], depth - 1)
        elif kind is signs.BRANCH:
            found += sum(_positions(inner, depth - 1) for inner in said[1])
        elif kind in (signs.MAX_REPEAT, signs.MIN_REPEAT):
            least, most, inner = said
            times = max(least, 1) if most is signs.MAXREPEAT else most
            found += times * max(1, _positions(inner, depth - 1))  # to write out nothing takes time too
        else:
            found += 1
        if found > POSITIONS_MOST:
            return POSITIONS_MOST + 1
    return found
