from __future__ import annotations

import pytest

from tlsrt.errors import InternalError
from tlsrt.supervisor.authority.keys.epochs import PREPARE_MS, Commit, Epochs


def begun() -> Epochs:
    epochs = Epochs(4, has_issued=True)
    epochs.begin(5, ["primary", "third"], 1000)
    return epochs


def test_commit_waits_for_both_answers_of_all() -> None:
    epochs = begun()
    assert (epochs.current, epochs.target, epochs.issued, epochs.serving) == (4, 5, (4, 5), 4)
    for loop in ("primary", "third"):
        assert not epochs.is_ready(1001)
        epochs.prepared(loop, 5)
        assert not epochs.is_ready(1001)
        epochs.attested(loop, 5)
    assert epochs.is_ready(1001)
    assert epochs.commit() == Commit(5, (), ())
    assert (epochs.current, epochs.pending, epochs.issued) == (5, None, (5,))


def test_answers_of_another_epoch_say_nothing() -> None:
    epochs = begun()
    for loop in ("primary", "third"):
        epochs.prepared(loop, 4)
        epochs.prepared(loop, 6)
        epochs.attested(loop, 4)
    assert not epochs.is_ready(1000 + PREPARE_MS - 1)


def test_time_ends_the_wait_and_names_the_late() -> None:
    epochs = begun()
    epochs.prepared("third", 5)
    assert epochs.is_ready(1000 + PREPARE_MS)
    assert epochs.commit() == Commit(5, ("primary",), ("primary", "third"))


def test_newcomers_are_waited_for_and_the_dead_are_not() -> None:
    epochs = begun()
    epochs.forget("primary")
    epochs.prepared("third", 5)
    epochs.attested("third", 5)
    assert epochs.is_ready(1001)
    epochs.add("secondary", is_attested=True)
    assert not epochs.is_ready(1001)
    epochs.prepared("secondary", 5)
    assert epochs.is_ready(1001)


def issued(epochs: Epochs) -> list[int]:
    return list(epochs.issued)


def test_a_resumed_authority_issues_only_what_it_prepares() -> None:
    epochs = Epochs(4, has_issued=False)
    assert issued(epochs) == []
    epochs.begin(5, ["third"], 0)
    assert issued(epochs) == [5]
    assert (epochs.current, epochs.serving) == (4, 5)
    epochs.add("primary", is_attested=False)
    assert epochs.is_ready(PREPARE_MS)
    epochs.commit()
    assert issued(epochs) == [5]


@pytest.mark.parametrize("epoch", [3, 4])
def test_an_epoch_never_goes_back(epoch: int) -> None:
    with pytest.raises(InternalError):
        Epochs(4, has_issued=True).begin(epoch, [], 0)


def test_one_change_at_a_time() -> None:
    with pytest.raises(InternalError):
        begun().begin(6, [], 0)
    with pytest.raises(InternalError):
        Epochs(4, has_issued=True).commit()
