"""Which units and jobs fit the options, and what is printed for the host of the same rules."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tlsrt.errors import CallError, Denied, InvalidArgument, NotFound
from tlsrt.loops.secondary.unit_rules import (
    JobOptions,
    UnitOptions,
    check_units,
    escape,
    job_unit,
    output_untrusted,
    rule_for,
    rule_of,
    switch_unit,
    unit_of_path,
)
from tlsrt.loops.secondary.unit_setup import helper_template, job_template, polkit_rule, read_options

UNITS = {
    "lamp.service": UnitOptions(actions=("start",)),
    "room@.service": UnitOptions(actions=("stop",), instances="[a-z]+"),
    "a@b.service": UnitOptions(),
}
JOBS = {"add": JobOptions(argv=("/usr/bin/expr", "50%", "$HOME", 'a"b\\'), words=("[0-9]+", "[+/.-]"), memory_mb=8)}
DROP_IN = """
component: secondary/services
options:
  units: {lamp.service: {actions: [start]}}
  jobs: {add: {argv: [/usr/bin/expr], words: ["[0-9]+"]}}
"""


@pytest.mark.parametrize("unit", ["lamp.service", "room@bath.service", "a@b.service"])
def test_what_is_listed_is_found(unit: str) -> None:
    assert rule_of(UNITS, unit) is not None


@pytest.mark.parametrize(
    "unit",
    [
        "lamp", "Lamp.service", "lamp.service\n", "lamp.socket", "room@.service", "room@.serviceX", "room@A.service",
        "room@a.b.service", "room@a/b.service", "room@a@a.service", "room@a.timer", "a@c.service", "", "@.service",
        "room@" + "a" * 255 + ".service", "room@a\n.service", "../lamp.service",
    ],
)  # fmt: skip
def test_what_is_not_listed_is_not_found(unit: str) -> None:
    with pytest.raises(NotFound):
        rule_for(UNITS, unit)


def test_an_action_that_is_not_listed_is_denied() -> None:
    assert rule_for(UNITS, "lamp.service", "start") and rule_for(UNITS, "room@a.service", "stop")
    for unit, act in (("lamp.service", "stop"), ("room@a.service", "start"), ("a@b.service", "start")):
        with pytest.raises(Denied, match=f"{act} of {unit}"):
            rule_for(UNITS, unit, act)  # type: ignore[arg-type]


def test_words_of_a_job_become_one_instance() -> None:
    assert job_unit(JOBS, "add", ("12", "+")) == "tlsrt-job-add@12\\x20\\x2b.service"
    assert job_unit(JOBS, "add", ("12", "/")) == "tlsrt-job-add@12\\x20-.service"
    assert escape("") == "none" and escape(".a-b") == "\\x2ea\\x2db"


@pytest.mark.parametrize(
    "words", [(), ("12",), ("12", "+", "1"), ("12", "+\n"), ("12 1", "+"), ("", "+"), ("x", "+"), ("1" * 119, "\u00e9")]
)
def test_words_that_do_not_fit_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgument):
        job_unit(JOBS, "add", words)
    with pytest.raises(CallError):
        job_unit(JOBS, "other", words)


def test_all_words_together_fit_a_name() -> None:
    long = {"x": JobOptions(argv=("/bin/x",), words=("a+", "a+", "a+"))}
    with pytest.raises(InvalidArgument, match="too long together"):
        job_unit(long, "x", ("a" * 100,) * 3)


@pytest.mark.parametrize("pattern", ["(", "\\d", "(?=a)", "(?i)a", "(?P<a>b)", "a\n", "a" * 201])
def test_a_pattern_that_both_do_not_read_alike_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"pattern|expression|polkit"):
        UnitOptions(instances=pattern)
    with pytest.raises(ValueError, match=r"pattern|expression|polkit"):
        JobOptions(argv=("/bin/x",), words=(pattern,))


@pytest.mark.parametrize(
    "name", ["lamp", "lamp.device", "a b.service", "x/y.service", "tlsrt-job-a.service", "a@.service"]
)
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"units: "):
        check_units({name: UnitOptions()}, {})


def test_a_job_that_is_none_is_refused() -> None:
    for argv in ((), ("expr",), ("/x", ""), ("/x", "a\nb"), ("/x",) * 33):
        with pytest.raises(ValueError, match="argv"):
            JobOptions(argv=argv)
    with pytest.raises(ValueError, match="user"):
        JobOptions(argv=("/x",), user="root\nUser=x")
    with pytest.raises(ValueError, match="jobs"):
        check_units({}, {"a-b": JOBS["add"]})


def test_a_unit_is_switched_by_another_one_of_its_name() -> None:
    assert switch_unit("enable", "room@a.service") == "tlsrt-enable@room@a.service.service"
    assert 'systemctl enable --no-ask-password -- "%i"\n' in helper_template("enable")
    with pytest.raises(InvalidArgument, match="too long to be disabled"):
        switch_unit("disable", f"{'a' * 240}.service")


@pytest.mark.parametrize("said", [None, 5, "a", "4\u00e4==", "====", "QQ==" * 2000, "<b>"])
def test_a_text_that_is_no_output_is_not_known(said: object) -> None:
    assert output_untrusted(said) is None


def test_an_output_is_text_whatever_bytes_it_has() -> None:
    assert output_untrusted("NDIK") == "42\n" and output_untrusted("/w==") == "\ufffd" and output_untrusted("") == ""


def test_a_template_has_the_command_without_what_systemd_expands() -> None:
    text = job_template("add", JOBS["add"])
    assert 'ExecStart="/usr/bin/expr" "50%%" "$$HOME" "a\\"b\\\\" $WORDS\n' in text
    assert "DynamicUser=yes\n" in text and "MemoryMax=8M\n" in text and "PrivateNetwork=yes\n" in text


def test_the_rule_names_the_user_and_what_is_listed() -> None:
    text = polkit_rule(UNITS, JOBS)
    assert 'subject.user !== "tlsrt-secondary-services"' in text
    assert '"lamp.service": ["start"]' in text and '"tlsrt-job-add@.service": ["[0-9]+", "[+/.-]"]' in text


def test_the_path_of_a_unit_is_its_name() -> None:
    assert unit_of_path("/org/freedesktop/systemd1/unit/room_40a_2eb_2eservice") == "room@a.b.service"


def test_the_command_prints_both_and_says_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "drop-in.yaml"
    file.write_text(DROP_IN)
    assert read_options(DROP_IN)[0] == {"lamp.service": UnitOptions(actions=("start",))}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tlsrt.loops.secondary.unit_setup", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert "polkit.addRule" in run(str(file), "polkit").stdout
    assert "ExecStart=" in run(str(file), "job", "add").stdout
    for name in ("enable", "disable", "output"):
        assert f"tlsrt-{name}@.service" in run(str(file), name).stdout
    for words in ((str(file), "job", "none"), (str(tmp_path), "polkit"), (str(file),)):
        failed = run(*words)
        assert failed.returncode in (1, 2) and failed.stdout == "" and failed.stderr.count("\n") == 1
    file.write_text("components: {third/io: {}}")
    assert run(str(file), "polkit").stderr.count("\n") == 1


def test_no_word_and_no_instance_holds_the_service_up_by_its_pattern() -> None:
    units = {"backup@.service": UnitOptions(instances="(a+)+"), "x.service": UnitOptions()}
    began = time.process_time()
    assert rule_of(units, f"backup@{'a' * 200}-.service") is None
    assert rule_of(units, f"backup@{'a' * 200}.service") is units["backup@.service"]
    jobs = {"scan": JobOptions(argv=("/bin/x",), words=("([a-z]+)*",))}
    with pytest.raises(InvalidArgument, match="word 1 of job scan does not fit"):
        job_unit(jobs, "scan", ("a" * 119 + "1",))
    assert time.process_time() - began < 2
