"""When a call is to be made, as the command line says it, and the words for all of a job."""

from __future__ import annotations

from argparse import Namespace

import pytest

from tlsrt.channels.cli.arguments import check_put_off
from tlsrt.channels.cli.jobs import shown_lines, time_of
from tlsrt.errors import InvalidArgument


def said(**words: str | bool) -> Namespace:
    return Namespace(**{"at": "", "in": "", "every": "", "jitter": "", "keep_result": False, **words})


def test_one_of_three_options_says_when() -> None:
    assert time_of(said()) == ""
    assert time_of(said(at="30 6 * * *", jitter="5s")) == "30 6 * * *"
    assert time_of(said(**{"in": "10m"}, keep_result=True)) == "10m"
    assert time_of(said(every="10m")) == "every 10m"


@pytest.mark.parametrize(
    "words",
    [{"at": "30 6 * * *", "in": "1m"}, {"every": "1m", "in": "1m"}, {"in": "soon"}, {"jitter": "5s"},
     {"keep_result": True}],
)  # fmt: skip
def test_what_goes_together_and_what_does_not(words: dict[str, str | bool]) -> None:
    with pytest.raises(InvalidArgument, match=r"say |cannot read"):
        time_of(said(**words))


def test_all_of_a_job_is_shown_and_what_a_target_says_of_it_is_printable() -> None:
    job = {
        "id": "b2f6", "target": "third/kettle", "method": "boil", "when": "%600 ~30", "missed": "+3600", "next": 5,
        "runs": 2, "last": 4, "outcome": "done", "upcoming": [5], "history": [], "paused_by": "", "args": ["\x1b[2J"],
        "kwargs": {"hold_s": 1}, "result_run": 2, "result": {"a": 1},
    }  # fmt: skip
    lines = shown_lines(job)
    text = "\n".join(lines)
    assert "third/kettle boil" in text and "hold_s=1" in text and "every 10m ~30s" in text
    assert "1970-01-0" in text and "(of run 2)" in text and "\x1b" not in text
    assert "it is too large" in "\n".join(shown_lines({**job, "result_error": "it is too large"}))
    assert "done" in shown_lines({**job, "history": [{"began": 4, "took_ms": 7, "outcome": "done"}]})[-1]


@pytest.mark.parametrize("name", ["missed", "jitter", "keep_result"])
def test_a_parameter_with_the_name_of_an_option_of_a_job_is_given_by_position(name: str) -> None:
    check_put_off({"value": 1})
    with pytest.raises(InvalidArgument, match=f"{name} can be given by position only when"):
        check_put_off({"value": 1, name: 3})
