"""Which texts have the words of a question: the rare words count more, as in Okapi BM25. Pure.

It knows no meaning: it is for logs and messages, in which names and words stand as they are asked for, and needs no
model. (Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009, equation 3.15.)
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"\w+")
_ENDING = re.compile(r"(?<=\w{3})(ing|ed|es|s)$")
_SAME = 5  # characters by which two words are one: restart, restarted, restarts
_SATURATION, _LENGTH = 1.2, 0.5  # k1 and b


def words(text: str) -> list[str]:
    """Return the words of a text, as they are compared."""
    return [_ENDING.sub("", one)[:_SAME] for one in _WORD.findall(text.casefold())]


def scores(question: str, texts: Sequence[str]) -> list[float]:
    """Return how much each text has of the words of a question; 0 is none of them."""
    counted = [Counter(words(one)) for one in texts]
    mean = sum(one.total() for one in counted) / max(1, len(counted)) or 1.0
    found = [0.0] * len(texts)
    for word in set(words(question)):
        holding = sum(word in one for one in counted)
        rarity = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        for at, one in enumerate(counted):
            if times := one[word]:
                room = _SATURATION * (1 - _LENGTH + _LENGTH * one.total() / mean)
                found[at] += rarity * times * (_SATURATION + 1) / (times + room)
    return found
