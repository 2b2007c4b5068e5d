"""What a reload decides, and what it says: pure functions of configurations, profiles and measurements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hosts.authority_host import make_config

from tlsrt.config.components import ComponentConfig, LoopConfig
from tlsrt.config.egress import parse_egress
from tlsrt.config.fixed_keys import fixed_keys, fixed_keys_sentence
from tlsrt.config.needs import KernelViewConfig, NeedsConfig
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.supervisor.events.log_entry import LogEntry
from tlsrt.supervisor.events.log_output import LogConsole
from tlsrt.supervisor.reload.plan import (
    Way,
    changed_components,
    changed_files,
    files_sentence,
    fixed_files,
    needs_move,
    step_for,
    users_of,
)
from tlsrt.supervisor.reload.report import LoopReport, document, lines, tell


class Entries:
    """Keeps what a journal would be given."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def write(self, entry: LogEntry) -> bool:
        self.messages.append(entry.message)
        return True


OLD = Profile("third", 3, 3, read=(Path("/usr/lib"),), limits={"nofile": 256, "data": 1 << 29}, network=True)


def step(**changes: Any) -> Any:
    return step_for("third", OLD, replace(OLD, **changes), same_digest=False)


def test_the_same_digest_is_no_change() -> None:
    assert step_for("third", OLD, OLD, same_digest=True).way is Way.UNCHANGED


def test_tighter_limits_come_live_and_only_those_that_changed() -> None:
    found = step(limits={"nofile": 100, "data": 1 << 29})
    assert (found.way, found.changed, found.limits) == (Way.LIVE, ("limits",), {"nofile": 100})
    assert step(limits={**OLD.limits, "fsize": 1 << 20}).way is Way.LIVE, "a limit where there was none"


def test_whom_it_may_reach_is_asked_at_every_call() -> None:
    found = step(egress=(parse_egress("192.0.2.7:443"),))
    assert (found.way, found.changed, found.is_live) == (Way.WIDER, ("egress",), True)
    wide = replace(OLD, egress=(parse_egress("192.0.2.7:443"), parse_egress("*:123/udp")))
    narrow = replace(wide, egress=wide.egress[:1])
    assert step_for("third", wide, narrow, same_digest=False).way is Way.RESTART, "its connections would stay"
    unwatched = frozenset({"seccomp_reports"})
    assert step_for(
        "third", replace(narrow, waived=unwatched), replace(wide, waived=unwatched), same_digest=False
    ).way is Way.RESTART, "nobody but the process itself would know of the new rules"  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"limits": {"nofile": 300, "data": 1 << 29}},
        {"limits": {"nofile": 256}},
        {"read": ()},
        {"read": (Path("/usr/lib"), Path("/opt"))},
        {"network": False},
        {"proc": True},
        {"waived": frozenset({"landlock"})},
        {"uid": 4},
        {"limits": {"nofile": 100, "data": 1 << 29}, "read": ()},
    ],
    ids=str,
)
def test_everything_else_takes_a_new_process(changes: dict[str, Any]) -> None:
    found = step(**changes)
    assert found.way is Way.RESTART and set(found.changed) == set(changes)


def test_what_cannot_be_compared_takes_a_new_process() -> None:
    assert step_for("third", None, None, same_digest=False).way is Way.RESTART


def test_only_a_changed_profile_moves_the_epoch() -> None:
    same = step_for("third", OLD, OLD, same_digest=True)
    assert not needs_move([same, same])
    assert needs_move([same, step(read=())])


def test_what_makes_up_profiles_may_change(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    loops = tuple(replace(loop, memory_mb=99, read=(Path("/opt"),), network=True) for loop in config.loops)
    components = tuple(replace(one, needs=NeedsConfig(proc=KernelViewConfig())) for one in config.components)
    sandbox = replace(config.sandbox, waive={"landlock": "no such kernel"})
    assert fixed_keys(config, replace(config, loops=loops, components=components, sandbox=sandbox, policy=())) == []
    assert fixed_keys(config, replace(config, components=(), loops=(*loops, LoopConfig("reports")))) == []


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"install_id": b"x" * 16}, ["install"]),
        ({"measure": "warn"}, ["measure"]),
        ({"state_dir": Path("/elsewhere")}, ["state_dir"]),
        ({"clients": ()}, ["clients.admin"]),
    ],
    ids=lambda value: str(value)[:20],
)
def test_everything_else_is_named(tmp_path: Path, changes: dict[str, Any], keys: list[str]) -> None:
    config = make_config(tmp_path)
    found = fixed_keys(config, replace(config, **changes))
    assert found == keys
    sentence = fixed_keys_sentence(found)
    assert found[0] in sentence and "stop tlsrt and start it again" in sentence


def test_a_long_list_is_cut() -> None:
    assert "a9 and 5 more cannot change" in fixed_keys_sentence([f"a{number}" for number in range(15)])
    names = [f"f{number:02}" for number in range(12)]
    assert files_sentence({}, dict.fromkeys(names, b""), names).endswith("new f09 and 2 more")


def test_code_is_not_taken_and_profiles_and_certificates_are() -> None:
    old = {
        "config": b"1",
        "tlsrt/loops/gate/gate.py": b"1",
        "client-ca": b"1",
        "tlsrt/sandbox/profiles/base.yaml": b"1",
    }
    new = {**old, "config": b"2", "tlsrt/sandbox/profiles/base.yaml": b"2", "tlsrt/sandbox/profiles/more.yaml": b"1"}
    assert fixed(old, new) == []
    assert fixed(old, {**new, "tlsrt/loops/gate/gate.py": b"2"}) == ["tlsrt/loops/gate/gate.py"]
    assert fixed(old, {}) == ["tlsrt/loops/gate/gate.py"]
    assert fixed(old, {**old, "tlsrt/more.py": b"1"}) == ["tlsrt/more.py"]


def fixed(
    old: dict[str, bytes], new: dict[str, bytes], code: dict[str, set[str]] | None = None, *, has_leaving: bool = True
) -> list[str]:
    files = changed_files(old, new)
    return fixed_files(files, new, users_of(files, code or {}), has_leaving=has_leaving)


CODE = {"component/x.py": b"1", "component/y/a.py": b"1", "dep/six.py": b"1", "dep/zmq/a.py": b"1"}


def test_code_that_comes_or_goes_with_a_component_is_taken() -> None:
    more = {**CODE, "component/z/a.py": b"1", "dep/yarl/a.py": b"1"}
    assert fixed(CODE, more, {"third.z": {"component/z", "dep/yarl"}}) == []
    assert fixed(CODE, {"dep/zmq/a.py": b"1"}) == []
    gone = ["component/x.py", "component/y/a.py", "dep/six.py"]
    assert fixed(CODE, {"dep/zmq/a.py": b"1"}, has_leaving=False) == gone, "a process that stays has it"
    assert fixed(more, {name: digest for name, digest in more.items() if name != "dep/six.py"}) == []


def test_files_of_a_program_go_with_its_component_one_by_one() -> None:
    old = {"program/lib/libc.so.6": b"1", "program/usr/bin/gzip": b"2"}
    new = {"program/lib/libc.so.6": b"1"}
    assert fixed(old, new) == [] and fixed(old, {}) == []
    assert fixed(old, new, has_leaving=False) == ["program/usr/bin/gzip"]
    files = changed_files(old, new)
    assert fixed_files(files, new, {}, ["program/usr/bin/gzip"], has_leaving=True) == files, "one that stays has it"
    assert fixed(old, {**old, "program/lib/libc.so.6": b"3"}) == ["program/lib/libc.so.6"], "changed, not gone"


def test_code_that_no_component_imports_is_not_taken() -> None:
    assert fixed(CODE, {**CODE, "dep/zmq/a.py": b"2", "python/os.py": b"1"}) == ["dep/zmq/a.py", "python/os.py"]
    assert fixed(CODE, {**CODE, "dep/zmq/b.py": b"1"}) == ["dep/zmq/b.py"], "nor a file beside others"
    assert fixed({**CODE, "dep/zmq/b.py": b"1"}, CODE) == ["dep/zmq/b.py"], "nor one that is gone, with others there"


def test_code_that_has_changed_is_taken_by_all_processes_that_import_it() -> None:
    code = {"third.x": {"component/x.py", "dep/six.py"}, "third.y": {"component/y", "dep/six.py"}}
    changed = {**CODE, "component/y/a.py": b"2", "dep/six.py": b"2"}
    files = changed_files(CODE, changed)
    assert users_of(files, code) == {"component/y/a.py": ["third.y"], "dep/six.py": ["third.x", "third.y"]}
    assert fixed(CODE, changed, code) == []


def test_what_one_component_is_and_another_imports_is_the_same_code() -> None:
    old, new = {"dep/pb/a.py": b"1"}, {"component/pb/a.py": b"1"}
    assert changed_files(old, new) == []
    files = changed_files(old, {"component/pb/a.py": b"2"})
    assert users_of(files, {"third.a": {"component/pa", "dep/pb"}, "third.b": {"component/pb"}}) == {
        "component/pb/a.py": ["third.a", "third.b"]
    }


def test_a_package_that_is_called_as_the_library_is_stands_for_nothing_of_it() -> None:
    old = {"python/os.py": b"1", "component/python/os.py": b"1"}
    code = {"third.odd": {"component/python"}}
    assert fixed(old, {**old, "python/os.py": b"2"}, code) == ["python/os.py"]
    assert fixed(old, {**old, "component/python/os.py": b"2"}, code) == []


def test_of_two_files_at_one_place_each_change_shows() -> None:
    old = {"component/notes/a.py": b"1", "dep/notes/a.py": b"2"}
    assert changed_files(old, {**old, "component/notes/a.py": b"3"}) == ["component/notes/a.py"]
    assert changed_files(old, {**old, "dep/notes/a.py": b"3"}) == ["dep/notes/a.py"]
    assert changed_files(old, {"component/notes/a.py": b"1"}) == ["dep/notes/a.py"]


def test_the_second_folder_of_a_package_belongs_to_it() -> None:
    old, new = {"component/notes@2/a.py": b"1"}, {"component/notes@2/a.py": b"2"}
    assert users_of(changed_files(old, new), {"third.notes": {"component/notes"}}) == {
        "component/notes@2/a.py": ["third.notes"]
    }


def test_a_process_gets_its_components_anew() -> None:
    one, other = ComponentConfig("third", "one", "one:One"), ComponentConfig("third", "other", "other:Other")
    assert changed_components((one,), (replace(one, needs=NeedsConfig(proc=KernelViewConfig())),)) == [], (
        "those are in its profile"
    )
    assert changed_components((one,), (one, other)) == ["third/other added"]
    assert changed_components((one, other), (other,)) == ["third/one removed"]
    assert changed_components((one, other), (other, one)) == ["order of components"]
    assert changed_components((one,), (replace(one, options={"size": 1}),)) == ["third/one"]
    step = step_for("third", OLD, OLD, same_digest=True, changed=["third/one"])
    assert (step.way, step.changed) == (Way.RESTART, ("third/one",))


def test_the_report() -> None:
    loops = [
        LoopReport("primary", "unchanged", "ab" * 32),
        LoopReport("third", "restarted", "cd" * 32, ("read", "kept"), 46),
        LoopReport("forth", "failed", "ef" * 32, ("read",), reason="its sandbox could not be built"),
    ]
    answer = document(7, True, True, "", loops, ["measure is `warn`"])
    assert (answer["epoch"], answer["moved"], answer["failed"]) == (7, True, True)
    assert answer["loops"][1] == {
        "name": "third", "outcome": "restarted", "profile": "cd" * 32, "changed": ["read", "kept"], "took_ms": 46,
        "reason": "",
    }  # fmt: skip
    assert lines(answer) == [
        "primary  unchanged  profile abababababab",
        "third    restarted in 46 ms  (read, kept)  profile cdcdcdcdcdcd",
        "forth    failed  (read; its sandbox could not be built)  profile efefefefefef",
        "policy   changed",
        "warning: measure is `warn`",
        "epoch 7",
    ]
    entries = Entries()
    tell(LogConsole(entries), "reload", answer)
    assert entries.messages == [
        "reload: forth    failed  (read; its sandbox could not be built)  profile efefefefefef",
        "reload: measure is `warn`",
    ], "what a journal hears of it, besides the event"
    assert not document(7, False, False, "", loops[:1], [])["failed"]
    assert lines(document(7, False, False, "", loops[:1], []))[-1] == "epoch 7, as before: nothing has changed"
    assert lines(document(0, True, False, "", loops, []))[-1] == "the epoch was not committed"
    keys = ["log.syslog.address", "log.syslog.certificate", "traces.endpoint", "traces.most_per_s"]
    assert lines(document(7, False, False, "", loops[:1], [], keys))[1:] == [
        "taken: log.syslog.address, log.syslog.certificate, traces.endpoint,",
        "  traces.most_per_s",
        "epoch 7, as before: no process had to change",
    ]
