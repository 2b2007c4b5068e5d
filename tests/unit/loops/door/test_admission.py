"""Who may connect: the counters alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.door.admission import Admission, AdmissionLimits, address_key
from tlsrt.loops.door.client_connection import STAGES, ConnectionStage


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"), ("fe80::1%eth0", "fe80::/64"), ("", ""), ("what", "what"),
    ],
)  # fmt: skip
def test_address_key(host: str, key: str) -> None:
    assert address_key(host) == key


def test_per_address_and_totals() -> None:
    admission = Admission(AdmissionLimits(connections=4, unauthenticated=3, per_address=2))
    assert [admission.admit("a") for _ in range(3)] == ["", "", "too_many_from_address"]
    assert [admission.admit(key) for key in "bc"] == ["", "too_many_unauthenticated"]
    admission.authenticate("a")
    assert admission.admit("a") == ""
    admission.authenticate("a")
    assert admission.admit("c") == "too_many_connections"
    admission.leave("a", authenticated=True)
    assert admission.admit("c") == ""


def test_an_address_may_not_come_too_often() -> None:
    admission = Admission(AdmissionLimits(rate=1, burst=2))
    for _ in range(2):
        assert admission.admit("a", 0.0) == ""
        admission.leave("a", authenticated=False)
    assert admission.admit("a", 0.5) == "too_fast_from_address" and admission.admit("b", 0.5) == ""
    assert admission.admit("a", 1.0) == ""


def test_the_crowd_is_the_address_that_can_spare_one() -> None:
    admission = Admission(AdmissionLimits())
    assert admission.crowd("a") == ""
    for key in "bbbcc":
        admission.admit(key)
    assert (admission.crowd("a"), admission.crowd("c")) == ("b", "")
    admission.leave("b", authenticated=False)
    assert admission.crowd("a") in ("b", "c") and admission.crowd("b") == ""


@given(st.lists(st.tuples(st.sampled_from(["admit", "authenticate", "leave"]), st.sampled_from("abc")), max_size=80))
def test_counters_never_drift(steps: list[tuple[str, str]]) -> None:
    limits = AdmissionLimits(connections=6, unauthenticated=4, per_address=2)
    admission, held = Admission(limits), list[tuple[str, bool]]()
    for step, key in steps:
        if step == "admit":
            if not admission.admit(key):
                held.append((key, False))
        elif step == "authenticate" and (key, False) in held:
            held[held.index((key, False))] = (key, True)
            admission.authenticate(key)
        elif step == "leave" and held:
            gone, authenticated = held.pop()
            admission.leave(gone, authenticated=authenticated)
        waiting = [name for name, authenticated in held if not authenticated]
        assert (admission.connections, admission.unauthenticated) == (len(held), len(waiting))
        assert len(held) <= 6 and len(waiting) <= 4 and all(waiting.count(name) <= 2 for name in "abc")


def test_stages_lead_only_forwards() -> None:
    order = list(ConnectionStage)
    for (stage, event), following in STAGES.items():
        assert order.index(following) >= order.index(stage)
        assert event != "frame" or stage is ConnectionStage.GRANTED
