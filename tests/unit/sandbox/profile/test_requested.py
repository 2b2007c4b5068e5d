"""What a configuration asks for: what it gets, and what nobody gets for any reason."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.config.components import ComponentConfig
from tlsrt.config.defaults import COMPONENTS
from tlsrt.config.load import parse_config
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, SandboxError
from tlsrt.sandbox.profile.compose import profile_for_loop
from tlsrt.sandbox.profile.forbidden import refusal_of
from tlsrt.sandbox.profile.fragment import CALLS, PolicyEntry, parse_entry
from tlsrt.sandbox.profile.policy import FilterStage, compose, program_of
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.profile.profile_files import ProfileFiles
from tlsrt.sandbox.seccomp.bpf import ALLOW, ARCHITECTURES, LOW_32
from tlsrt.sandbox.seccomp.bpf_interpreter import run
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

FILES = ProfileFiles()

HEAD = """\
version: 1
install: "00112233445566778899aabbccddeeff"
master_key: {provider: file, path: keys/master.key}
boot_token: boot.token
door: {certificate: server.crt, key: server.key, client_ca: ca.crt}
"""
FIRST_LINE = HEAD.count("\n") + 1


def config_of(tmp_path: Path, more: str) -> Config:
    return parse_config((HEAD + more).encode(), tmp_path / "tlsrt.yaml")


def profile_of(config: Config, name: str = "third") -> Profile:
    return profile_for_loop(config, config.loop(name), 771001, FILES, rootless=False, code=())


def refused(tmp_path: Path, more: str, name: str = "third") -> str:
    """The one sentence, without the name of the file."""
    with pytest.raises(ConfigError) as caught:
        profile_of(config_of(tmp_path, more), name)
    (problem,) = caught.value.problems
    return problem.removeprefix(f"{tmp_path}/tlsrt.yaml:")


def needs(wish: str, address: str = "third/mine") -> str:
    return f"components:\n  {address}:\n    class: 'mine:Mine'\n    needs: {{{wish}}}\n    process: shared\n"


def calls(names: str, when: str = "") -> str:
    return needs(f"calls: [{{calls: [{names}], when: [{when}], why: I want it}}]")


def test_a_strangers_component_has_what_those_of_tlsrt_have_if_it_asks_for_it(tmp_path: Path) -> None:
    wish = "network: {why: shows them}, proc: {why: counts}, disk_threads: 2"
    profile = profile_of(config_of(tmp_path, needs(wish, "forth/mine")), "forth")
    assert profile.network and profile.proc and profile.disk_threads == 2
    plain = profile_of(config_of(tmp_path, needs("sys: true", "third/mine")), "third")
    assert not plain.network and not plain.proc and plain.sys and plain.tasks_at_once == 2
    refused = profile_of(config_of(tmp_path, "loops: {forth: {network: false}}\n" + needs(wish, "forth/mine")), "forth")
    assert not refused.network, "the operator has the last word"


def test_a_component_gets_what_it_needs_and_only_its_loop_gets_it(tmp_path: Path) -> None:
    for name in ("pictures", "data"):
        (tmp_path / name).mkdir()
    config = config_of(tmp_path, needs(
        f"read: [data], proc: true, sys: true, memory_mb: 10, open_files: 5, processes: 2, file_size_mb: 999, "
        f"write: [{{path: {tmp_path}/pictures, why: puts them there}}], "
        f"egress: [{{to: ['192.0.2.7:443'], why: fetches them}}], "
        f"calls: [{{calls: [inotify_init1], why: sees new ones}}]"
    ))  # fmt: skip
    profile, other = profile_of(config), profile_of(config, "secondary")
    assert tmp_path / "data" in profile.kept and profile.proc and profile.sys
    assert not profile.network and "net_namespace" in profile.layers, "egress does without the host's network"
    assert (tmp_path / "pictures", f"{tmp_path}/pictures") in profile.write
    assert [str(rule) for rule in profile.egress] == ["192.0.2.7:443"]
    for name, more in (("data", 10 << 20), ("nofile", 5), ("nproc", 2)):
        assert profile.limits[name] == other.limits[name] + more
    assert profile.limits["fsize"] == 999 << 20
    assert "inotify_init1" in {call for entry in profile.policy.lists["allow"] for call in entry.calls}
    assert not (other.proc or other.sys or other.network or other.egress) and len(other.write) == 2
    assert "inotify_init1" not in {call for entry in other.policy.lists["allow"] for call in entry.calls}


def test_who_reports_no_calls_keeps_the_network_for_egress(tmp_path: Path) -> None:
    """Then no supervisor makes its sockets, so only Landlock and what listens stand between it and other hosts."""
    rule = "loops: {{third: {{{}egress: [{{to: ['192.0.2.7:443'], why: fetches them}}]}}}}\n"
    waive = "sandbox: {waive: {seccomp_reports: an old kernel}}\n"
    assert not profile_of(config_of(tmp_path, rule.format("network: false, "))).network
    assert profile_of(config_of(tmp_path, rule.format("") + waive)).network
    with pytest.raises(ConfigError, match="remove `network: false`"):
        profile_of(config_of(tmp_path, rule.format("network: false, ") + waive))


def test_the_same_wishes_make_the_same_policy(tmp_path: Path) -> None:
    """What a reload does not change it need not make again; filters stay in memory for good."""
    first, again = (profile_of(config_of(tmp_path, calls("inotify_init1"))) for _ in range(2))
    moved = profile_of(config_of(tmp_path, "\n" + calls("inotify_init1")))  # to another line of the file
    other = profile_of(config_of(tmp_path, calls("inotify_add_watch")))
    assert first.policy is again.policy is moved.policy
    assert first.policy is not other.policy and first.digest() != other.digest()


@pytest.mark.parametrize("component", [one for one in COMPONENTS if one.address != "third/io"])
def test_a_component_that_is_switched_off_takes_its_needs_with_it(tmp_path: Path, component: ComponentConfig) -> None:
    both = [
        profile_of(config_of(tmp_path, more), component.process)
        for more in ("", f"components: {{{component.address}: null}}\n")
    ]
    entries = [{entry for lists in profile.policy.lists.values() for entry in lists} for profile in both]
    shows = [(profile.proc, profile.sys, profile.network) for profile in both]
    if component.process == "primary":  # OpenSSL needs /proc, and the events nothing
        assert shows == [(True, False, False)] * 2 and entries[0] == entries[1]
    elif component.process == "primary.facts":  # two that need the same, and without both there is no such process
        assert shows == [(True, True, False)] * 2
        gone = config_of(tmp_path, "components: {primary/kernel: null, primary/hardware: null}\n")
        assert "primary.facts" not in {loop.name for loop in gone.loops}
    else:
        assert shows[1] == (False, False, False)
        assert entries[0] > entries[1] or shows[0] != shows[1]


def test_a_class_of_ones_own_does_not_inherit_the_needs_of_the_built_in_one(tmp_path: Path) -> None:
    own = config_of(tmp_path, "components: {forth/power: {class: 'mine:Power'}}\n")
    assert not profile_of(own, "forth.power").sys and not profile_of(own, "forth").sys
    with_needs = config_of(tmp_path, "components: {forth/power: {class: 'mine:Power', needs: {sys: true}}}\n")
    assert profile_of(with_needs, "forth.power").sys and not profile_of(with_needs, "forth").sys


def test_egress_does_without_the_hosts_network_and_a_component_that_lists_it_keeps_it(tmp_path: Path) -> None:
    rules = "loops: {third: {egress: [{to: ['192.0.2.7:443'], why: the printer}]}}\n"
    assert not profile_of(config_of(tmp_path, rules)).network
    assert profile_of(config_of(tmp_path, rules.replace("egress", "network: true, egress"))).network
    assert not profile_of(config_of(tmp_path, "")).network
    assert profile_of(config_of(tmp_path, ""), "external").network  # for external/network
    off = config_of(tmp_path, "loops: {external: {network: false}}\n")
    assert not profile_of(off, "external").network and profile_of(off, "external").expects("net_namespace")
    assert profile_of(config_of(tmp_path, ""), "external").egress == ()


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        (calls("execve"), "third/mine cannot have execve: no process of the runtime ever runs another program"),
        (calls("ptrace"), "cannot have ptrace: reaches into other processes"),
        (calls("read, io_uring_setup"), "cannot have io_uring_setup: does what other calls do"),
        (calls("clone3"), "cannot have clone3: its arguments lie in memory"),
        (calls("unshare", "arg0 in 0x10900"), "cannot have unshare with these arguments"),
        (calls("seccomp", "arg0 in SECCOMP_SET_MODE_FILTER"), "cannot have seccomp with these arguments"),
        (calls("mmap"), "cannot have mmap"),
        (calls("mprotect", "arg2 has PROT_EXEC"), "mprotect with these arguments: memory is allowed"),
        (calls("clone"), "cannot have clone: threads only"),
        (calls("clone"), "; it may be had with `when: [arg0 has CLONE_VM CLONE_FS CLONE_FILES "),
        (calls("clone", "arg0 has CLONE_VM CLONE_FS CLONE_FILES CLONE_SIGHAND CLONE_THREAD"), "threads only"),
        (calls("fork"), "cannot have fork"),
        (calls("memfd_create"), "cannot have memfd_create: memory of the kernel or of the host that no limit"),
        (calls("socket", "arg0 in AF_INET"), "the network is asked for with egress rules"),
        (calls("connect"), "the network is asked for with egress rules"),
        (calls("prctl"), "most of the others loosen what confines the process"),
        (calls("ioctl", "arg1 in 0x5412"), "some type into terminals"),
        (calls("ioctl", "arg2 in 1"), "some type into terminals"),
        (calls("setsockopt", "arg1 in SOL_SOCKET, arg2 in 26"), "options load packet filters"),
        (calls("fcntl", "arg1 in 8"), "send signals to others"),
        (calls("prlimit64", "arg0 in 0"), "limits are part of the profile"),
        (calls("tgkill", "arg0 in 1"), "reaches other processes"),
        (calls("raed"), "profile components.third/mine: there is no system call raed, did you mean read?"),
        (calls("read", "arg7 in 1"), "this condition has no meaning: arg7 in 1"),
        (calls("read", "arg0 in NOTHING"), "there is no constant NOTHING"),
    ],
)  # fmt: skip
def test_calls_that_nobody_gets_are_refused_with_line_and_column(tmp_path: Path, wish: str, sentence: str) -> None:
    problem = refused(tmp_path, wish)
    assert problem.startswith(f"{FIRST_LINE + 3}:21: ") and sentence in problem


@pytest.mark.parametrize(
    ("more", "where"),
    [("loops: {third: {read: [absent]}}\n", "loops.third"), (needs("read: [absent]"), "components.third/mine")],
)
def test_what_shall_be_read_must_be_there(tmp_path: Path, more: str, where: str) -> None:
    sentence = f"{where}: there is no {tmp_path}/absent to read: make it, or take it out"
    assert refused(tmp_path, more) == sentence


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/proc", "/proc is the kernel's: ask with `proc`"),
        ("/proc/1/root", "/proc is the kernel's"),
        ("/sys/kernel", "/sys is the kernel's: ask with `sys`"),
        ("/dev/mem", "/dev is the kernel's: no loop gets a device"),
        ("/", "that is the whole host"),
        ("/state", "/state is the name of its loop's own folder"),
        ("/run", "/run holds sockets of other programs: name the files that it needs"),
        ("/var/run", "/run holds sockets of other programs"),
        ("{base}/socket", "it is a socket, a device or a pipe"),
        ("{base}/pipe", "it is a socket, a device or a pipe"),
    ],
)
def test_what_nobody_may_read(tmp_path: Path, path: str, sentence: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(tmp_path / "socket"))
        for more, name in (
            (f"loops: {{third: {{read: [{path}]}}}}\n", "loops.third"),
            (needs(f"read: [{path}]"), "components.third/mine"),
        ):
            shown = path.format(base=tmp_path)
            assert refused(tmp_path, more.replace(path, shown)).startswith(f"{name}: cannot read {shown}: {sentence}")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/etc", "/etc is the host's own"),
        ("/etc/cron.d", "/etc is the host's own"),
        ("/run", "/run is the host's own"),
        ("/sys/kernel", "/sys is the kernel's"),
        ("/proc/1/root", "/proc is the kernel's"),
        ("/channel", "/channel is the name of its loop's own folder"),
        ("{base}/keys", "keys/master.key is a secret of the host"),
        ("{base}", "is a secret of the host"),
        ("{base}/state/secondary", "state is a secret of the host"),
        ("{base}/log", "log is a secret of the host"),
        ("{base}/absent", "there is no such folder: make it, and give it to the uid of this loop"),
        ("{base}/file", "there is no such folder"),
        ("{base}/link", "it is {base}/state: name it so"),
        ("{base}/up/../state", "it is {base}/state: name it so"),
        ("{base}/seen", "seen is read by forth"),
        ("{base}/seen/below", "seen is read by forth"),
        ("{base}/shared", "shared is written by secondary/other"),
        ("{base}/code", "code is code or data that it reads"),
        ("/usr/lib", "/usr is the host's own"),
    ],
)  # fmt: skip
def test_folders_that_nobody_may_write(tmp_path: Path, path: str, sentence: str) -> None:
    for name in ("keys", "state/secondary", "log", "seen/below", "shared", "up", "code"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "state")
    wish = needs(f"write: [{{path: {path.format(base=tmp_path)}, why: puts things there}}]")
    wish += f"  secondary/other: {{class: 'x:X', needs: {{write: [{{path: {tmp_path}/shared, why: mine}}]}}}}\n"
    wish += "loops: {forth: {read: [seen]}}\n"
    config = config_of(tmp_path, wish)
    with pytest.raises(ConfigError) as caught:
        profile_for_loop(config, config.loop("third"), 771001, FILES, rootless=False, code=(tmp_path / "code",))
    (problem,) = caught.value.problems
    assert problem.startswith(f"{tmp_path}/tlsrt.yaml:{FIRST_LINE + 3}:21: third/mine cannot write ")
    assert sentence.format(base=tmp_path) in problem


def entry_of(names: tuple[str, ...], when: tuple[str, ...]) -> PolicyEntry:
    return parse_entry("mine", "allow", {"calls": list(names), "when": list(when), "why": "I want it"})


CONDITIONS = st.lists(
    st.builds(
        lambda argument, verb, words: f"arg{argument} {verb} {' '.join(words)}",
        st.integers(0, 5),
        st.sampled_from(["in", "lacks", "has"]),
        st.lists(
            st.sampled_from(["CLONE_THREAD", "CLONE_VM", "PROT_EXEC", "F_GETLK", "TCGETS", "PR_SET_NAME", "0x5412"]),
            min_size=1, max_size=3,
        ),
    ),
    max_size=3,
)  # fmt: skip
FORBIDDEN = {  # what must never be had, whatever is asked: call -> some arguments
    "execve": (0,) * 6, "clone3": (0,) * 6, "io_uring_setup": (0,) * 6, "mmap": (0, 4096, 5, 2, 0, 0),
    "mprotect": (0, 4096, 7, 0, 0, 0), "pkey_mprotect": (0, 4096, 4, 0, 0, 0), "clone": (17, 0, 0, 0, 0, 0),
    "unshare": (0x10000000, 0, 0, 0, 0, 0), "ioctl": (0, 0x5412, 0, 0, 0, 0), "prctl": (4, 1, 0, 0, 0, 0),
    "fcntl": (3, 8, 1, 0, 0, 0), "socket": (2, 1, 0, 0, 0, 0), "setsockopt": (3, 1, 26, 0, 0, 0),
    "prlimit64": (0, 7, 4096, 0, 0, 0), "seccomp": (1, 0, 4096, 0, 0, 0), "tgkill": (2, 2, 9, 0, 0, 0),
}  # fmt: skip
BASE = FILES.fragments(("declared",))


@settings(deadline=None)
@given(st.sampled_from(sorted(FORBIDDEN)), CONDITIONS)
def test_no_entry_that_is_let_through_allows_what_nobody_may(call: str, when: list[str]) -> None:
    entry = entry_of((call,), tuple(when))
    if refusal_of(entry, BASE) is not None:
        return
    asked = replace(BASE[-1], name="asked", lists={**BASE[-1].lists, "allow": (*BASE[-1].lists["allow"], entry)})
    program = program_of(compose("mine", (*BASE[:-1], asked)), FilterStage.SEALED, "x86_64", 1)
    for high in (0, 1 << 32):
        arguments = [value | high for value in FORBIDDEN[call]]
        assert run(program, ARCHITECTURES["x86_64"], NUMBERS["x86_64"][call], arguments) != ALLOW


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(sorted(CALLS)), CONDITIONS, st.tuples(*[st.integers(0, LOW_32)] * 6))
def test_what_the_base_refuses_stays_refused_unless_it_is_asked_for(
    call: str, when: list[str], arguments: tuple[int, ...]
) -> None:
    """An entry for one call changes nothing about the others."""
    entry = entry_of((call,), tuple(when))
    if refusal_of(entry, BASE) is not None or call not in NUMBERS["x86_64"]:
        return
    asked = replace(BASE[-1], name="asked", lists={**BASE[-1].lists, "allow": (*BASE[-1].lists["allow"], entry)})
    plain = program_of(compose("mine", BASE), FilterStage.SEALED, "x86_64", 1)
    more = program_of(compose("mine", (*BASE[:-1], asked)), FilterStage.SEALED, "x86_64", 1)
    for other, number in NUMBERS["x86_64"].items():
        if other != call:
            assert run(plain, ARCHITECTURES["x86_64"], number, arguments) == run(
                more, ARCHITECTURES["x86_64"], number, arguments
            )


def test_a_thread_may_be_asked_for(tmp_path: Path) -> None:
    when = (
        "arg0 has CLONE_VM CLONE_FS CLONE_FILES CLONE_SIGHAND CLONE_THREAD",
        "arg0 lacks CLONE_NEWNS CLONE_NEWCGROUP CLONE_NEWUTS CLONE_NEWIPC CLONE_NEWUSER CLONE_NEWPID CLONE_NEWNET "
        "CLONE_PTRACE CLONE_PARENT",
    )
    profile = profile_of(config_of(tmp_path, calls("clone", ", ".join(when))))
    assert any("clone" in entry.calls for entry in profile.policy.lists["allow"])


def test_the_credentials_of_the_service_are_nobody_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "named.otherwise").write_text("a key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    with pytest.raises(SandboxError, match=f"{folder} below"):
        profile_of(config_of(tmp_path, needs(f"read: [{folder}/named.otherwise]")), "third")
