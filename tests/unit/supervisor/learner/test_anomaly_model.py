"""The learned detector: bounded, deterministic, silent before it knows anything, and it says what drove a score."""

from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.channels.control.learner import FEATURES
from tlsrt.channels.control.telemetry import LOOKS, NUMBER_MAX, UNKNOWN, WINDOW_MS, Window
from tlsrt.supervisor.learner import histogram as profiles
from tlsrt.supervisor.learner.anomaly_model import BITS_MAX, SUM_MAX, WARM_UP, AnomalyModel, Opinion
from tlsrt.supervisor.learner.features import LEVELS, level, number_of
from tlsrt.supervisor.learner.histogram import Histogram

COUNT = st.integers(0, NUMBER_MAX - 1)
SETS = st.integers(0, (1 << 64) - 1)
BYTES = st.one_of(st.just(UNKNOWN), COUNT)
WINDOWS = st.builds(
    Window, COUNT, BYTES, BYTES, SETS, SETS, COUNT, COUNT, st.integers(0, LOOKS), COUNT
)  # fmt: skip
STEPS = st.lists(st.tuples(st.sampled_from("abcdefgh"), WINDOWS, st.integers(-10_000, 10**9)), max_size=60)


def ordinary(chance: random.Random, size_out: int = 400) -> Window:
    frames = chance.randint(20, 60)
    return Window(frames, frames * 300, frames * size_out, 0, 0, 0, chance.randint(1, 3), LOOKS, frames // 5)


def taught(windows: int = 400, seed: int = 1) -> tuple[AnomalyModel, int]:
    model, now, chance = AnomalyModel(), 0, random.Random(seed)
    for _ in range(windows):
        now += WINDOW_MS
        model.observe("client/alice", "client", ordinary(chance), now)
    return model, now


def run(actions: list[tuple[str, Window, int]], subjects_max: int = 4) -> tuple[list[Opinion], AnomalyModel]:
    model, now, opinions = AnomalyModel(subjects_max), 0, []
    for name, window, elapsed in actions:
        now += elapsed
        opinions.append(model.observe(name, "client", window, now))
        assert len(model) <= subjects_max
    return opinions, model


@given(STEPS)
@settings(deadline=None)
def test_any_windows_give_bounded_opinions_and_the_same_ones_again(actions: list[tuple[str, Window, int]]) -> None:
    opinions, _ = run(actions)
    for opinion in opinions:
        assert 0 <= opinion.bits <= BITS_MAX * len(FEATURES)
        assert 0 <= opinion.sum <= SUM_MAX
        assert 0 <= opinion.warmth <= 1
        assert opinion.warmth == 1 or not opinion.is_unusual
        assert bool(opinion.reasons) == opinion.is_unusual
    assert run(actions)[0] == opinions


@given(st.lists(WINDOWS, max_size=80))
@settings(deadline=None)
def test_warmth_only_grows_while_a_subject_is_known(windows: list[Window]) -> None:
    opinions, _ = run([("a", window, WINDOW_MS) for window in windows])
    warmth = [opinion.warmth for opinion in opinions]
    assert warmth == sorted(warmth)


@given(st.integers(0, LEVELS - 6), st.integers(1, 300))
@settings(deadline=None, max_examples=30)
def test_what_was_never_seen_surprises_more_the_more_is_known(usual: int, windows: int) -> None:
    profile, kind = Histogram(), Histogram()
    never = [usual + 5] * len(FEATURES)
    before = 0.0
    for _ in range(windows):
        profile.learn([usual] * len(FEATURES))
        bits = profile.surprise(never, kind)[0]
        assert bits > before
        assert profile.surprise([usual] * len(FEATURES), kind)[0] == 0
        before = bits


@given(st.floats(0, 2.0**40))
def test_a_number_lies_within_its_level(number: float) -> None:
    reached = level(number)
    assert 0 <= reached < LEVELS
    if reached < LEVELS - 1:
        assert number_of(reached) * 0.7 - 1 <= number <= number_of(reached) * 1.5 + 1


def test_memory_stays_when_windows_go_on_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "_GROWTH", 2 ** (1 / 500))
    profile = Histogram()
    before = len(profile._counts)
    assert sys.getsizeof(profile._counts) < 4800
    for _ in range(25 * 500):  # so the counts are scaled down once at least
        profile.learn([3] + [None] * (len(FEATURES) - 1))
    assert len(profile._counts) == before
    assert profile.windows == pytest.approx(500 / 0.6931, rel=0.01)
    assert profile.share(0, 3) == pytest.approx(0.5, rel=0.05)


def test_it_forgets_the_subject_that_was_seen_longest_ago() -> None:
    model = AnomalyModel(2)
    quiet = Window(1, 1, 1, 0, 0, 0, 0, 1, 1)
    for at, name in enumerate(["a", "b", "a", "c", "a"]):
        opinion = model.observe(name, "client", quiet, at * WINDOW_MS)
    assert len(model) == 2
    assert opinion.warmth == pytest.approx(2 / WARM_UP, rel=0.01)


def test_usual_traffic_is_not_unusual() -> None:
    model, now = taught()
    chance = random.Random(2)
    opinions = [model.observe("client/alice", "client", ordinary(chance), now + at * WINDOW_MS) for at in range(1, 600)]
    assert not any(opinion.is_unusual for opinion in opinions)


def test_it_says_what_drove_the_score() -> None:
    model, now = taught()
    window = ordinary(random.Random(3), size_out=200_000)
    opinion = model.observe("client/alice", "client", window, now + WINDOW_MS)
    assert opinion.is_unusual
    assert {reason.feature for reason in opinion.reasons} == {"bytes_out", "size_out", "bytes_out_sum"}
    [size] = [reason for reason in opinion.reasons if reason.feature == "size_out"]
    assert (size.number, 255 <= size.usual <= 511) == (200_000, True)
    assert str(size).startswith("bytes out a frame: 200000, usually ")


def test_a_subject_that_nobody_knows_surprises_nobody() -> None:
    model, now = taught()
    wild = Window(100_000, 10**9, 10**9, (1 << 40) - 1, 255, 1000, 1000, LOOKS, 90_000)
    assert not model.observe("client/mallory", "client", wild, now + WINDOW_MS).is_unusual


def test_a_little_adds_up_when_it_goes_on() -> None:
    """Three times the usual answers, window after window: no single one is much."""
    model, now = taught(3000)
    chance = random.Random(4)
    opinions = [
        model.observe("client/alice", "client", ordinary(chance, size_out=2400), now + at * WINDOW_MS)
        for at in range(1, 25)
    ]
    assert not opinions[0].is_unusual
    assert any(opinion.is_unusual for opinion in opinions)


def test_what_surprises_is_learned_slowly() -> None:
    """Whoever has stolen a name cannot make his ways usual with a few windows."""
    model, now = taught()
    chance = random.Random(5)
    opinions = [
        model.observe("client/alice", "client", ordinary(chance, size_out=200_000), now + at * WINDOW_MS)
        for at in range(1, 40)
    ]
    assert all(opinion.is_unusual for opinion in opinions)


def test_less_than_usual_is_nothing_and_what_follows_something_large_is_not_large() -> None:
    model, now = taught()
    less = Window(1, 300, 400, 0, 0, 0, 1, 1, 1)
    for _ in range(5):
        now += WINDOW_MS
        model.observe("client/alice", "client", ordinary(random.Random(6), size_out=200_000), now)
    for _ in range(100):
        now += WINDOW_MS
        assert not model.observe("client/alice", "client", less, now).is_unusual


def calling(methods: int) -> Window:
    return Window(4, 1200, 1600, methods, 1, 0, 1, LOOKS, 1)


def test_what_is_called_first_of_all_is_not_new_and_what_is_called_later_is() -> None:
    model, now = AnomalyModel(), 0
    for at in range(200):
        now += WINDOW_MS
        opinion = model.observe("client/alice", "client", calling((1 << min(at, 20)) - 1), now)
        assert not opinion.is_unusual
    for more in range(21, 64, 2):  # two names it never called, every window
        now += WINDOW_MS
        opinion = model.observe("client/alice", "client", calling((1 << more) - 1), now)
        if opinion.is_unusual:
            break
    assert more < 40
    assert "new_methods_sum" in {reason.feature for reason in opinion.reasons}


def test_who_is_there_seldom_and_then_all_the_time_is_unusual() -> None:
    """Each window alone is as usual: it is the hours that are not."""
    model, now, window = AnomalyModel(), 0, calling(1)
    for _ in range(200):
        now += 12 * WINDOW_MS
        assert not model.observe("client/alice", "client", window, now).is_unusual
    for _ in range(100):
        now += WINDOW_MS
        if (opinion := model.observe("client/alice", "client", window, now)).is_unusual:
            break
    assert opinion.is_unusual
    assert "active_sum" in {reason.feature for reason in opinion.reasons}


def test_what_has_added_up_fades_in_silence() -> None:
    model, now = taught(3000)
    wild = ordinary(random.Random(4), size_out=200_000)
    assert model.observe("client/alice", "client", wild, now + WINDOW_MS).sum > 10
    after = model.observe("client/alice", "client", ordinary(random.Random(5)), now + 100 * WINDOW_MS)
    assert after.sum < after.bits, "only what the long silence itself is"
