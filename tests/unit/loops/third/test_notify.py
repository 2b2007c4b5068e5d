"""Notifications without a host: keys, sums, bounds, rights, quiet hours, escalation, and what carriers may do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tlsrt.errors import ConfigError, Denied, Failed, InvalidArgument, NotFound, Unavailable
from tlsrt.loops.third.event_notice import draft_of
from tlsrt.loops.third.notice import one_line, some_lines
from tlsrt.loops.third.notice_rules import Quiet, Route, carriers_of, due_at
from tlsrt.loops.third.notify import Notify
from tlsrt.testing import running_sync

NEEDS = {
    "state_mb": 8, "threads": 2, "alerts": [{"name": "undelivered", "why": "no one has got it"}],
    "secrets": [{"name": "smtp", "why": "mail", "optional": True}],
}  # fmt: skip
HOOK = {"url": "https://hook.example.org/"}
OPS, NOSY = "client/ops", "third/nosy"


class ClockedNotify(Notify):
    ahead_ms = 0

    def wall_ms(self) -> int:
        return super().wall_ms() + type(self).ahead_ms


class Fetch:
    """What a webhook needs of external/fetch: answers with a status, or is away."""

    def __init__(self, status: int | None = 200) -> None:
        self.status = status
        self.posted: list[dict[str, Any]] = []

    def request(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        self.posted.append(more)
        if self.status is None:
            raise Unavailable("hook.example.org cannot be reached")
        return {"status": self.status}


@pytest.fixture(autouse=True)
def clock() -> None:
    ClockedNotify.ahead_ms = 0


@contextmanager
def service(folder: Path, fetch: Fetch | None = None, **options: Any) -> Iterator[Any]:
    options = {"alerts": False, **options}
    with running_sync(
        ClockedNotify, options=options, state=folder, address="third/notify", needs=NEEDS,
        peers={"external/fetch": fetch or Fetch()},
    ) as it:  # fmt: skip
        yield it


def deliveries(it: Any, number: int, carrier: str) -> list[str]:
    found = it.call("show", number, caller=OPS)["deliveries"]
    return [one["state"] for one in found if one["carrier"] == carrier]


def until(it: Any, number: int, carrier: str, states: list[str]) -> None:
    end = time.monotonic() + 20
    while (found := deliveries(it, number, carrier)) != states:
        assert time.monotonic() < end, found


def test_the_sender_is_the_caller_and_its_text_is_harmless(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        number = it.call("send", "a\x1b[31m\r\nBcc: x\u202e", "one\r\ntwo\x07", caller=NOSY)["id"]
        [found] = it.call("list", caller=OPS)["notices"]
        assert (found["id"], found["sender"]) == (number, NOSY)
        assert found["title"] == "a\ufffd[31m Bcc: x\ufffd" and found["body"] == "one\ntwo\ufffd"
        with pytest.raises(InvalidArgument, match="no character that is to be seen"):
            it.call("send", " \n ")
    assert one_line("a\u2028b \u200bc") == "a b \ufffdc" and some_lines("\ta\n\nb\x00") == "a\n\nb\ufffd"


def test_one_key_is_one_notification_until_it_is_closed(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        first = it.call("send", "cold", key="boiler", caller=NOSY)
        again = it.call("send", "colder", key="boiler", severity="error", caller=NOSY)
        other = it.call("send", "cold", key="boiler", caller="third/other")
        assert first["id"] == again["id"] != other["id"] and again["is_repeated"] and again["to"] == ["console"]
        assert it.call("send", "cold", key="boiler", caller=NOSY)["to"] == []
        found = it.call("show", first["id"], caller=OPS)
        assert (found["count"], found["severity"], found["title"]) == (3, "error", "cold")
        it.call("acknowledge", first["id"], "seen", caller=OPS)
        it.call("acknowledge", first["id"], "too late", caller="client/other")
        closed = it.call("show", first["id"], caller=OPS)
        assert (closed["state"], closed["by"], closed["comment"]) == ("acknowledged", OPS, "seen")
        assert it.call("send", "cold", key="boiler", caller=NOSY)["id"] != first["id"]


def test_who_is_no_reader_sees_and_closes_what_it_has_sent(tmp_path: Path) -> None:
    with service(tmp_path) as it:
        mine, other = it.call("send", "a", caller=NOSY)["id"], it.call("send", "b", caller="third/other")["id"]
        assert [one["id"] for one in it.call("list", sender="third/other", caller=NOSY)["notices"]] == [mine]
        for method in ("show", "acknowledge"):
            with pytest.raises(NotFound):
                it.call(method, other, caller=NOSY)
        with pytest.raises(NotFound):
            it.call("acknowledge", mine, caller=NOSY)
        with pytest.raises(Denied, match="is not yours"):
            it.call("withdraw", other, caller=NOSY)
        assert [it.call("withdraw", mine, caller=NOSY) for _ in range(2)] == [True, False]
        assert it.call("show", mine, caller=OPS)["state"] == "withdrawn"
        with pytest.raises(InvalidArgument, match="either id or key"):
            it.call("withdraw", caller=NOSY)


def test_a_flood_is_one_sum_and_others_are_heard(tmp_path: Path) -> None:
    with service(tmp_path, burst=2, per_minute=0.1, sum_s=60) as it:
        answers = [it.call("send", f"n{number}", severity="error", caller=NOSY) for number in range(20)]
        sums = [one for one in answers if one["is_summed"]]
        assert len(sums) == 18 and len({one["id"] for one in sums}) == 1
        found = it.call("show", sums[0]["id"], caller=OPS)
        assert (found["title"], found["count"], found["severity"]) == (f"18 more from {NOSY}", 18, "error")
        assert "n19" in found["body"] and deliveries(it, found["id"], "console") == ["waiting"]
        assert not it.call("send", "hello", caller="third/other")["is_summed"]
        ClockedNotify.ahead_ms = 61_000
        assert it.call("send", "later", caller=NOSY)["id"] != found["id"]


def test_what_is_kept_and_what_waits_is_bounded(tmp_path: Path) -> None:
    fetch = Fetch(None)
    routes = [{"to": ["hook"], "severity": "error"}]
    with service(
        tmp_path, fetch, webhooks={"hook": HOOK}, routes=routes, keep=8, waiting=16, burst=1000, per_minute=6000
    ) as it:
        kept = it.call("send", "of another", caller="third/other")["id"]
        until(it, kept, "console", ["delivered"])
        for number in range(30):
            until(it, it.call("send", f"n{number}", caller=NOSY)["id"], "console", ["delivered"])
        found = [one["title"] for one in it.call("list", caller=OPS)["notices"]]
        assert found == ["n29", "n28", "n27", "n26", "of another"], "a sender has half of all"
        words = []
        for number in range(30):
            try:
                it.call("send", f"e{number}", severity="error", caller=NOSY)
            except Failed as error:
                words.append(error.message)
        assert len(words) >= 26 and all(
            "of third/nosy wait, and it may have 4" in one or "all wait" in one for one in words
        )
        assert it.call("send", "still", caller="third/other")["id"]
        assert it.call("outbox", caller=OPS)["hook"]["waiting"] <= 4


def test_a_carrier_that_is_away_delays_no_other_and_is_tried_again(tmp_path: Path) -> None:
    fetch = Fetch(None)
    routes = [{"to": ["hook"]}]
    with service(tmp_path, fetch, webhooks={"hook": HOOK}, routes=routes) as it:
        number = it.call("send", "a")["id"]
        until(it, number, "console", ["delivered"])
        end = time.monotonic() + 20
        while (box := it.call("outbox", caller=OPS)["hook"])["away"] is None:
            assert time.monotonic() < end
        assert box["waiting"] == 1 and "cannot be reached" in box["away"]
    fetch.status = 200
    with service(tmp_path, fetch, webhooks={"hook": HOOK}, routes=routes) as it:
        until(it, number, "hook", ["delivered"])
        names = {one["headers"]["idempotency-key"] for one in fetch.posted}
        assert len(names) == 1 and len(fetch.posted) >= 2, "each attempt has the same name"


def test_what_a_carrier_will_never_take_is_given_up_and_told(tmp_path: Path) -> None:
    fetch = Fetch(422)
    with service(tmp_path, fetch, webhooks={"hook": HOOK}, routes=[{"to": ["hook"]}]) as it:
        told = it.subscribe("undelivered")
        number = it.call("send", "a")["id"]
        assert next(told) == {
            "id": number,
            "carrier": "hook",
            "reason": "the webhook refuses the notification: status 422",
        }
        until(it, number, "hook", ["given_up"])


def test_without_acknowledgement_it_goes_to_the_next_carrier(tmp_path: Path) -> None:
    fetch = Fetch()
    rules = [{"to": ["hook"], "after_s": 300, "times": 2, "every_s": 600, "severity": "error"}]
    with service(tmp_path, fetch, webhooks={"hook": HOOK}, escalations=rules) as it:
        known = it.call("send", "known", severity="error")["id"]
        it.call("acknowledge", known, caller=OPS)
        number = it.call("send", "a", severity="warning", key="k")["id"]
        it.call("send", "a", severity="error", key="k")  # what becomes more severe is escalated too
        for states, ahead_ms in (
            (["delivered"], 301_000),
            (["delivered"] * 2, 902_000),
            (["delivered"] * 2, 3_000_000),
        ):
            ClockedNotify.ahead_ms = ahead_ms
            it.call("send", "wake")
            until(it, number, "hook", states)
        assert deliveries(it, known, "hook") == []
        assert [
            one["reminder"] for one in it.call("show", number, caller=OPS)["deliveries"] if one["carrier"] == "hook"
        ] == [
            1,
            2,
        ]


def test_what_expires_is_taken_back_and_not_delivered(tmp_path: Path) -> None:
    fetch = Fetch(None)
    with service(tmp_path, fetch, webhooks={"hook": HOOK}, routes=[{"to": ["hook"]}]) as it:
        changed = it.subscribe("changed")
        number = it.call("send", "a", expires_s=60)["id"]
        ClockedNotify.ahead_ms = 61_000
        it.call("send", "wake")
        assert next(changed)["state"] == "expired"
        assert deliveries(it, number, "hook") == ["dropped"]


def test_routes_and_quiet_hours() -> None:
    routes = [
        Route(to=("mail",), severity="error"),
        Route(to=("chat", "mail"), topics=("heating.*",), senders=("third/*",)),
    ]
    assert carriers_of(routes, "info", "heating.boiler", "third/x") == ("console", "chat", "mail")
    assert carriers_of(routes, "info", "heating", "third/x") == ("console", "chat", "mail")
    assert carriers_of(routes, "critical", "heatings", "client/x") == ("console", "mail")
    quiet = Quiet(begin="22:00", end="07:00")
    utc = time.gmtime
    day_ms = 86_400_000
    night, morning, noon = 23 * 3_600_000 + 90_500, 6 * 3_600_000, 12 * 3_600_000
    assert due_at(quiet, "mail", "error", night, utc) == day_ms + 7 * 3_600_000
    assert due_at(quiet, "mail", "error", morning, utc) == 7 * 3_600_000
    assert due_at(quiet, "mail", "error", noon, utc) == noon
    assert (
        due_at(quiet, "mail", "critical", night, utc) == night and due_at(quiet, "console", "info", night, utc) == night
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"routes": [{"to": ["nobody"]}]}, "no carrier is called 'nobody': there are console"),
        ({"webhooks": {"console": HOOK}}, "'console' is no name of a carrier"),
        ({"webhooks": {"a": {"url": "http://plain.example.org"}}}, "no URL that begins with https://"),
        ({"mail": {"a": {"host": "h", "sender": "a@b\r\nBcc: c@d", "to": ["a@b"]}}}, "is no mail address"),
        ({"mail": {"a": {"host": "h", "sender": "a@b", "to": ["a@b"], "user": "u"}}}, "secret set third/notify smtp"),
        ({"host_events": {"weather": "info"}}, "'weather' is no kind of event"),
        ({"quiet": {"begin": "7", "end": "08:00"}}, "a time of day such as 22:00"),
        ({"routes": [{"to": ["console"], "topics": ["a*"]}]}, "'a\\*' matches no topic"),
    ],
)
def test_a_wrong_option_is_one_sentence(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words), service(tmp_path, **options):
        pass


def test_events_of_the_host_become_notifications_and_its_own_do_not() -> None:
    alarm = {"name": "violation", "severity": "alarm", "subject": "third", "sentence": "a\nb", "fields": {}}
    found = draft_of(alarm, "security", "alarm", "third/notify", with_alerts=True)
    assert found is not None and (found.severity, found.title, found.sender) == (
        "critical",
        "third: a b",
        "primary/events",
    )
    alert = {**alarm, "severity": "warning", "fields": {"detector": "alert_warning"}}
    for detector, severity in (("alert_warning", "warning"), ("alert_critical", "critical")):
        told = draft_of(
            {**alert, "fields": {"detector": detector}}, "security", "alarm", "third/notify", with_alerts=True
        )
        assert told is not None and told.severity == severity
    for event in ({**alert, "fields": {}}, {**alarm, "subject": "third.notify"}, {**alarm, "severity": "x"}, 5):
        assert draft_of(event, "security", "alarm", "third/notify", with_alerts=True) is None
