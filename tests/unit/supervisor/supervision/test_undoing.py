"""Undoing: what a process has set and does not keep, and what is forgotten of it."""

from __future__ import annotations

import errno
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.channels.control.life import AskMessage, AskWhat
from tlsrt.config.host_settings import SettingConfig
from tlsrt.config.network_settings import SetConfig
from tlsrt.supervisor.messages.result_codes import ResultCode
from tlsrt.supervisor.supervision import helper_requests, undoing
from tlsrt.supervisor.supervision.effects import device_index
from tlsrt.supervisor.supervision.helper_process import AWAY, GONE, HUNG
from tlsrt.supervisor.supervision.helper_requests import HelperRequests

BLOCK = SettingConfig("block", "a test", nft_set=SetConfig("filter", "blocked", "ipv4_addr", ("192.0.2.0/24",)))
FIRST = 0xC0000200


class Stage:
    """One process with a grant; the log, the helper and the clock are moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.granted = [(SimpleNamespace(address="external/warden"), BLOCK)]
        self.made: list[tuple[int, bool]] = []  # what the helper is asked: number, whether it removes
        self.asked: list[Any] = []  # who waits for it
        self.said: list[tuple[object, ...]] = []
        self.holds = 0
        self.later: list[Any] = []
        self.refused: list[int] = []  # errors of the next looks
        config = SimpleNamespace(host_settings_of=lambda process: self.granted)
        children = object()
        context = SimpleNamespace(
            current=SimpleNamespace(config=config, children=children), event_loop=self,
            events=SimpleNamespace(emit=lambda *words: self.said.append(words)),
        )  # fmt: skip
        self.loop: Any = SimpleNamespace(name="external", incarnation=1, is_living=True, managed_by=children)
        loops = SimpleNamespace(tell=lambda loop, name, *fields: self.said.append(fields))
        network = SimpleNamespace(is_attested=True, hold=self.hold, release=self.release)
        self.recorded: list[tuple[object, ...]] = []
        audit = SimpleNamespace(ask=self.record)
        for module in (helper_requests, undoing):
            monkeypatch.setattr(module, "effect_of", self.effect_of)
        untyped = cast("Any", HelperRequests)
        self.requests: HelperRequests = untyped(context, loops, object(), network, object(), audit)

    def hold(self) -> None:
        self.holds += 1

    def release(self) -> None:
        self.holds -= 1

    def record(self, reply: Any, document: object, *fields: object) -> None:
        self.recorded.append(fields)
        reply({"code": ResultCode.DONE})

    def call_later(self, delay_s: float, callback: Any) -> None:
        self.later.append(callback)

    def pass_by(self) -> None:
        while self.later:
            self.later.pop(0)()

    def effect_of(self, setting: SettingConfig, number: int, choice: int, *, removes: bool) -> SimpleNamespace:
        if self.refused:
            raise OSError(self.refused.pop(), "a test")

        def send(helper: object, done: Any) -> None:
            self.made.append((number, removes))
            self.asked.append(done)

        return SimpleNamespace(place="set", number=0, words="it", send=send, close=lambda: None)

    def ask(self, what: AskWhat, number: int = FIRST) -> None:
        fields: dict[str, int] = dict.fromkeys(AskMessage._fields, 0)
        message = AskMessage(**{**fields, "number": 7, "what": int(what), "value": number})
        self.requests.loop_messages()["ask"](self.loop, message)

    def answer(self, error: int = 0) -> None:
        self.asked.pop(0)(error, -1)

    def end(self) -> None:
        self.loop.is_living = False
        self.requests.loop_moved(self.loop, cast("Any", None), cast("Any", None))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_a_reload_while_something_is_unset_ends_nothing(stage: Stage) -> None:
    stage.ask(AskWhat.SET)
    stage.answer()
    stage.ask(AskWhat.UNSET)
    stage.granted = []
    stage.answer()
    stage.end()
    stage.pass_by()
    assert stage.made == [(FIRST, False), (FIRST, True)] and stage.holds == 0, "it is not undone once more"


def test_what_is_unset_and_set_again_is_undone_at_the_end(stage: Stage) -> None:
    for what in (AskWhat.SET, AskWhat.UNSET, AskWhat.SET):
        stage.ask(what)
    for _ in range(3):
        stage.answer()
    stage.end()
    assert stage.made[3:] == [(FIRST, True)]


def test_what_the_next_process_has_set_since_is_not_undone(stage: Stage) -> None:
    for number in (FIRST, FIRST + 1):
        stage.ask(AskWhat.SET, number)
        stage.answer()
    stage.end()
    stage.loop.is_living, stage.loop.incarnation = True, 2
    stage.ask(AskWhat.SET, FIRST + 1)
    stage.answer()  # of the first undo
    stage.answer()
    stage.pass_by()
    assert stage.made[2:] == [(FIRST, True), (FIRST + 1, False)] and stage.holds == 1
    stage.end()
    assert stage.made[4:] == [(FIRST + 1, True)], "it is, at the end of that one"


def test_a_process_that_has_set_all_it_may_can_unset(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undoing, "SET_MAX", 1)
    stage.ask(AskWhat.SET)
    stage.ask(AskWhat.SET, FIRST + 1)  # one too many
    stage.ask(AskWhat.SET)
    stage.ask(AskWhat.UNSET)
    assert stage.made == [(FIRST, False), (FIRST, False), (FIRST, True)]


@pytest.mark.parametrize("error", [AWAY, GONE, HUNG])
def test_an_undo_over_which_the_helper_ended_is_tried_again(stage: Stage, error: int) -> None:
    stage.ask(AskWhat.SET)
    stage.answer()
    stage.end()
    stage.answer(error)
    stage.pass_by()
    stage.answer()
    stage.pass_by()
    assert stage.made[1:] == [(FIRST, True)] * 2 and stage.holds == 0
    assert not [one for one in stage.said if one[0] == "setting_failed"]


@pytest.mark.parametrize(("looks", "made", "told"), [
    ((errno.ENODEV,), 0, 0), ((errno.EMFILE,), 1, 0), ((errno.ENOBUFS,) * 3, 0, 1),
])  # fmt: skip
def test_only_a_device_that_is_gone_needs_no_undo(stage: Stage, looks: tuple[int, ...], made: int, told: int) -> None:
    stage.ask(AskWhat.SET)
    stage.answer()
    stage.refused = [*looks]
    stage.end()
    stage.pass_by()
    assert len(stage.made) == 1 + made and len([one for one in stage.said if one[0] == "setting_failed"]) == told


def test_a_device_of_the_network_has_an_index_or_an_errno() -> None:
    assert device_index("lo") == socket.if_nametoindex("lo")
    with pytest.raises(OSError, match="No such device") as caught:
        device_index("no-such-device")
    assert caught.value.errno == errno.ENODEV


def test_what_is_left_when_the_host_ends_is_told_and_recorded(stage: Stage) -> None:
    for number in (FIRST, FIRST + 1, FIRST + 2):
        stage.ask(AskWhat.SET, number)
        stage.answer()
    stage.end()
    stage.answer()  # of the first undo
    undoing = stage.requests.undoing
    assert undoing.is_busy
    stage.pass_by()
    words = undoing.give_up("it was slow")
    assert words.startswith("2 of external/warden: ") and not undoing.is_busy and stage.holds == 1
    [told] = [one for one in stage.said if one[0] == "setting_failed"]
    assert told[1] == "external" and str(told[2]).endswith("cannot undo it: 2 of it: it was slow")
    assert stage.recorded[-1][-1] == "not undone: 2 of it, as it was slow"
    made = list(stage.made)
    stage.answer(GONE)  # the helper is killed at the end
    stage.pass_by()
    assert stage.made == made, "nothing more is begun"


def test_who_waits_for_the_last_undo_hears_of_it_once(stage: Stage) -> None:
    heard: list[int] = []
    stage.requests.undoing.on_done.append(lambda: heard.append(1))
    for number in (FIRST, FIRST + 1):
        stage.ask(AskWhat.SET, number)
        stage.answer()
    stage.end()
    stage.answer()
    stage.pass_by()
    assert heard == [] and stage.requests.undoing.is_busy
    stage.answer()
    stage.pass_by()
    assert heard == [1] and not stage.requests.undoing.is_busy
