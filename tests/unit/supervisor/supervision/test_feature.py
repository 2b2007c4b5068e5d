"""Features: notified in the order of their list, and each message and verb belongs to exactly one of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tlsrt.errors import MisuseError
from tlsrt.supervisor.supervision.feature import ControlVerb, Feature, Features, MessageHandler

NOTIFICATIONS = {
    name: len(inspect.signature(method).parameters) - 1
    for name, method in inspect.getmembers(Feature, inspect.isfunction)
    if name not in ("messages", "loop_messages", "verbs")
}


class Recorder(Feature):
    """A feature that takes messages and verbs, and notes what it hears."""

    def __init__(self, heard: list[Any], *taken: str) -> None:
        self.heard = heard
        self.taken = taken
        for name in NOTIFICATIONS:
            setattr(self, name, lambda *what, name=name: self.heard.append((self, name, what)))

    def messages(self) -> Mapping[str, MessageHandler]:
        return dict.fromkeys(self.taken, self._take)

    def verbs(self) -> Mapping[str, ControlVerb]:
        return {name: ControlVerb(lambda request, reply: None) for name in self.taken}

    def _take(self, fields: Sequence[Any]) -> None:
        self.heard.append((self, fields))


@pytest.mark.parametrize(("name", "count"), NOTIFICATIONS.items())
def test_every_notification_goes_to_all_in_the_order_of_the_list(name: str, count: int) -> None:
    heard: list[Any] = []
    one, other = Recorder(heard), Recorder(heard)
    features = Features()
    features.register([other, one], [])
    what = tuple(range(count))
    getattr(features, name)(*what)
    assert heard == [(other, name, what), (one, name, what)]


def test_a_message_goes_to_the_feature_that_takes_it() -> None:
    heard: list[Any] = []
    one, other = Recorder(heard, "moved"), Recorder(heard, "answer")
    features = Features()
    features.register([one, other], ["answer", "moved"])
    features.take("answer", [1, 2])
    assert heard == [(other, [1, 2])] and features.verbs().keys() == {"moved", "answer"}


@pytest.mark.parametrize(
    ("taken", "said", "sentence"),
    [
        ([("moved",), ()], ["moved", "answer"], "no feature takes.*answer"),
        ([("moved", "planet"), ()], ["moved"], "does not say.*planet"),
        ([("moved",), ("answer", "moved")], ["moved", "answer"], "two features take the message moved"),
    ],
)
def test_a_message_that_no_feature_takes_or_that_two_take_is_found_at_construction(
    taken: list[tuple[str, ...]], said: list[str], sentence: str
) -> None:
    with pytest.raises(MisuseError, match=sentence):
        Features().register([Recorder([], *names) for names in taken], said)


def test_a_verb_that_two_features_serve_is_found_at_construction() -> None:
    one, other = Recorder([], "moved"), Recorder([])
    other.verbs = one.verbs  # type: ignore[method-assign]
    with pytest.raises(MisuseError, match="two features take the verb moved"):
        Features().register([one, other], ["moved"])
