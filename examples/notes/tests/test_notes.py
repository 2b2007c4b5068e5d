"""The component without a host: `pytest` here, in a few milliseconds a test."""

import pytest
from notes import Notes

from tlsrt import InvalidArgument
from tlsrt.testing import running_sync


class FakeKernel:
    def uname(self) -> dict[str, str]:
        return {"release": "6.1.0"}


def test_notes_are_kept_and_found_by_tag() -> None:
    with running_sync(Notes) as notes:
        assert notes.call("add", "buy milk", ["home"]) == 1
        assert notes.call("add", "write tests") == 2
        assert list(notes.stream("all")) == ["buy milk", "write tests"]
        assert list(notes.stream("all", tag="home")) == ["buy milk"]


def test_who_subscribed_hears_of_a_new_note() -> None:
    with running_sync(Notes) as notes:
        added = notes.subscribe("added")
        notes.call("add", "buy milk")
        assert next(added) == "buy milk"


def test_the_kernel_is_asked_for_its_release() -> None:
    with running_sync(Notes, peers={"primary/kernel": FakeKernel()}) as notes:
        assert notes.call("host") == "6.1.0"


def test_a_wrong_argument_is_refused_before_the_code_runs() -> None:
    with running_sync(Notes) as notes, pytest.raises(InvalidArgument, match=r"tags\[1\]: expected str, got int"):
        notes.call("add", "buy milk", ["home", 5])
