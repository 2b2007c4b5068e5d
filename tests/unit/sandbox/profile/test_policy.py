"""Policies: what the files say, what the filters do, and that both are the same for every number and architecture."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hosts.builtin_profiles import policy_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.config.listeners import ListenConfig
from tlsrt.config.needs import EgressConfig
from tlsrt.config.programs import ProgramConfig
from tlsrt.errors import SandboxError
from tlsrt.sandbox.profile.fragment import PolicyFragment, parse_fragment
from tlsrt.sandbox.profile.policy import ABSENT, BROKERED, REFUSED, FilterStage, Policy, compose, program_of
from tlsrt.sandbox.profile.profile_files import FOLDER, ProfileFiles, names_for, names_for_program
from tlsrt.sandbox.seccomp.bpf import (
    ALLOW,
    ARCHITECTURES,
    DONE,
    KILL_PROCESS,
    LOW_32,
    TRACE,
    USER_NOTIF,
    X32_BIT,
    digest,
    errno_action,
)
from tlsrt.sandbox.seccomp.bpf_interpreter import run, run_all
from tlsrt.sandbox.seccomp.constants import CONSTANTS
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

FILES = ProfileFiles()

PROCESSES = [("authority", False), ("primary", False), ("primary.facts", False), ("secondary", False), ("third", False),
             ("forth", False), ("external", True), ("reports", False), ("reports", True)]  # fmt: skip
SERVICES = (("helper", False), ("network_helper", False), ("resolver", False), ("metrics", False), ("export", False),
            ("acme", False), ("learner", False))  # fmt: skip
PLAIN = ProgramConfig("cat", Path("/bin/cat"), "a test")
PROXY = ProgramConfig("bus-1", Path("/bin/cat"), "a test", bus=Path("/run/bus"))
REPLIES = ProgramConfig(
    "cat", Path("/bin/cat"), "a test", listen=(ListenConfig("dns", 53, "a test", protocol="udp", replies=True),)
)
WHOLE = ProgramConfig(
    "cat", Path("/bin/cat"), "a test", also_runs=(Path("/bin/sh"),), executable_memory=True, notifies=True,
    shared_memory=True,
    listen=(ListenConfig("web", 80, "a test"),), egress=(EgressConfig((), "a test"),),
    capabilities={"CAP_IPC_LOCK": "a test"},
)  # fmt: skip
STREAMS = ProgramConfig("cat", Path("/bin/cat"), "a test", egress=(EgressConfig((), "a test"),))
NETLINK = ProgramConfig("nft", Path("/bin/cat"), "a test", netlink={"netfilter": "a test"})
MACHINES = sorted(NUMBERS)
PID = 7
SEAL = 0x7F12_3456_7000
# Wherever one of these is allowed, a reader must find a reason of its own beside it.
DANGEROUS = {
    "mmap", "mprotect", "prctl", "ioctl", "fcntl", "socket", "connect", "bind", "accept4", "clone", "setsockopt",
    "openat", "tgkill", "prlimit64", "memfd_create", "memfd_secret", "unshare", "seccomp", "sched_setscheduler",
}  # fmt: skip
NEVER = (
    "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "mount", "umount2", "pivot_root", "chroot",
    "open_tree", "move_mount", "fsopen", "mount_setattr", "bpf", "unshare", "setns", "keyctl", "add_key", "request_key",
    "userfaultfd", "perf_event_open", "init_module", "finit_module", "kexec_load", "open_by_handle_at", "pidfd_getfd",
    "setuid", "setresuid", "setgroups", "capset", "seccomp", "reboot", "settimeofday", "sethostname", "personality",
)  # fmt: skip
NEVER_ALLOWED = (
    *NEVER, "io_uring_setup", "io_uring_enter", "io_uring_register", "clone3", "fork", "vfork", "kill", "tkill",
    "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open", "pidfd_send_signal", "pkey_mprotect", "remap_file_pages",
    "setrlimit", "sched_setaffinity", "setpriority", "mknod", "mknodat", "link", "linkat", "symlink", "symlinkat",
    "chmod", "fchmodat", "chown", "fchown", "fchownat", "listen", "shmget", "msgget", "semget", "mq_open",
    "landlock_create_ruleset", "landlock_restrict_self", "memfd_secret", "memfd_create", "inotify_init1",
    "fanotify_init", "name_to_handle_at", "vmsplice", "splice", "tee", "process_madvise", "mlockall", "dup2",
)  # fmt: skip


def policies() -> Iterator[Any]:
    for process, network in PROCESSES:
        yield pytest.param(policy_of(FILES, process, network=network), id=f"{process}{'+network' if network else ''}")


def means(policy: Policy, stage: FilterStage, call: str, arguments: tuple[int, ...]) -> int:
    """What the text of a policy says about a call, read without the code that makes filters."""
    answer = REFUSED
    for kind, entry in policy.about(call, stage):
        if kind == "allow" and all(holds(text, arguments) for text in entry.when):
            return ALLOW
        if kind == "answer":
            if all(holds(text, arguments) for text in entry.when):
                return errno_action(entry.answer) if entry.answer else DONE
            continue
        answer = {"kill": KILL_PROCESS, "enosys": ABSENT, "broker": BROKERED}.get(kind, answer)
    return answer


def unwatched(answer: int) -> int:
    """What becomes of it when nobody hears of it."""
    return ALLOW if answer == BROKERED else answer


def heard(policy: Policy, stage: FilterStage, call: str, arguments: tuple[int, ...]) -> int:
    """What becomes of it in a watched process: one of the filters decides, or the supervisor is asked."""
    answer = means(policy, stage, call, arguments)
    if answer in (ALLOW, ABSENT) or is_given(policy, call, arguments):
        return answer
    may_before = means(policy, FilterStage.IMPORTING, call, arguments) == ALLOW
    return answer if may_before else USER_NOTIF  # the first filter lets it pass in silence, so the last one is alone


def is_given(policy: Policy, call: str, arguments: tuple[int, ...]) -> bool:
    """Whether the filter answers itself, and there is no report."""
    entries = [entry for entry in policy.lists["answer"] if call in entry.calls]
    return any(all(holds(text, arguments) for text in entry.when) for entry in entries)


def holds(text: str, arguments: tuple[int, ...]) -> bool:
    subject, *rest = text.split()
    value = arguments[int(subject[3:])]
    if rest == ["is", "null"] or rest == ["is", "seal"]:
        return value == (SEAL if rest[1] == "seal" else 0)
    value &= LOW_32
    if rest[0] == "&":
        value &= CONSTANTS[rest[1]]
        rest = rest[2:]
    verb, words = rest[0], rest[1:]
    numbers = [PID if word == "self" else CONSTANTS[word] if word in CONSTANTS else int(word, 0) for word in words]
    if verb == "lacks":
        return not any(value & number for number in numbers)
    if verb == "has":
        return all(value & number == number for number in numbers)
    return value in numbers


@pytest.mark.parametrize("policy", list(policies()))
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("stage", list(FilterStage))
def test_the_filter_is_the_policy_for_every_number(policy: Policy, machine: str, stage: FilterStage) -> None:
    program = program_of(policy, stage, machine, PID, SEAL)
    names = {number: name for name, number in NUMBERS[machine].items()}
    samples = ((0,) * 6, (1, 2, 3, 4, 5, 6), (PID, 1, 0, 0x22, 0, 0), (LOW_32,) * 6, ((1 << 64) - 1,) * 6,
               (1, 17, SEAL, 0, 0, 0), (1, 17, SEAL & LOW_32, 0, 0, 0))  # fmt: skip
    for number in range(601):
        for arguments in samples:
            expected = unwatched(means(policy, stage, names[number], arguments)) if number in names else REFUSED
            assert run(program, ARCHITECTURES[machine], number, arguments) == expected, names.get(number, number)
        assert run(program, ARCHITECTURES[machine], X32_BIT | number) == KILL_PROCESS
        for foreign in {0x40000003, *ARCHITECTURES.values()} - {ARCHITECTURES[machine]}:
            assert run(program, foreign, number) == KILL_PROCESS


@pytest.mark.parametrize("policy", list(policies()))
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("stage", list(FilterStage))
def test_of_a_watched_process_the_supervisor_hears_whatever_is_not_allowed(
    policy: Policy, machine: str, stage: FilterStage
) -> None:
    first, last = (program_of(policy, one, machine, PID, SEAL, watched=True) for one in FilterStage)
    programs = [first] if stage is FilterStage.IMPORTING else [last, first]
    names = {number: name for name, number in NUMBERS[machine].items()}
    samples = ((0,) * 6, (1, 2, 3, 4, 5, 6), (PID, 1, 0, 0x22, 0, 0), (LOW_32,) * 6, ((1 << 64) - 1,) * 6,
               (1, 17, SEAL, 0, 0, 0), (0x10900,) * 6)  # fmt: skip
    architecture = ARCHITECTURES[machine]
    for number in range(601):
        for arguments in samples:
            expected = heard(policy, stage, names[number], arguments) if number in names else USER_NOTIF
            assert run_all(programs, architecture, number, arguments) == expected, names.get(number, number)
            alone = run(last, architecture, number, arguments)
            assert alone != USER_NOTIF  # it has no listener, and the kernel would ask the newest of equal answers
            assert alone in (ALLOW, expected) or run_all([last], architecture, number, arguments) in (
                TRACE, ABSENT, REFUSED, KILL_PROCESS,
            )  # fmt: skip
        assert run_all(programs, architecture, X32_BIT | number) == KILL_PROCESS
        for foreign in {0x40000003, *ARCHITECTURES.values()} - {architecture}:
            assert run_all(programs, foreign, number) == KILL_PROCESS


def test_only_the_filter_at_the_one_address_can_be_installed() -> None:
    program = program_of(policy_of(FILES, "third", network=False), FilterStage.IMPORTING, "x86_64", PID, SEAL)
    for operation, address, answer in (
        (1, SEAL, ALLOW), (0, SEAL, KILL_PROCESS), (2, SEAL, KILL_PROCESS), (1, SEAL + 16, KILL_PROCESS),
        (1, SEAL | 1 << 47, KILL_PROCESS), (1, SEAL & LOW_32, KILL_PROCESS), (1, 0, KILL_PROCESS),
    ):  # fmt: skip
        arguments = (operation, 17, address)
        for flags in (0, 1, 16, 8, 17 | 8, 17 | 1 << 31):  # a second listener would take the first one's place
            other = run(program, ARCHITECTURES["x86_64"], NUMBERS["x86_64"]["seccomp"], (operation, flags, address))
            assert other == KILL_PROCESS
        assert run(program, ARCHITECTURES["x86_64"], NUMBERS["x86_64"]["seccomp"], arguments) == answer


CONDITIONAL = sorted(
    {call for process, network in PROCESSES for entry in policy_of(FILES, process, network=network).allowed(
        FilterStage.IMPORTING)
     for call in entry.calls if entry.when}
)  # fmt: skip
LOW_HALVES = st.sampled_from([0, PID, *CONSTANTS.values()]) | st.integers(0, LOW_32)
ARGUMENTS = st.tuples(
    *[st.builds(lambda low, high: high << 32 | low, LOW_HALVES, st.sampled_from([0, 0, 1, LOW_32]))] * 6
)


@cache
def policy_for(process: tuple[str, bool]) -> Policy:
    """Return the policy of a process, read once for all examples."""
    return policy_of(FILES, process[0], network=process[1])


@cache
def program_for(process: tuple[str, bool], stage: FilterStage, watched: bool = False) -> bytes:
    """Return a filter, assembled once for all examples."""
    return program_of(policy_for(process), stage, "x86_64", PID, SEAL, watched=watched)


@settings(max_examples=300)
@given(st.sampled_from(PROCESSES), st.sampled_from(list(FilterStage)), st.sampled_from(CONDITIONAL), ARGUMENTS)
def test_arguments_are_judged_as_written(
    process: tuple[str, bool], stage: FilterStage, call: str, arguments: tuple[int, ...]
) -> None:
    policy = policy_for(process)
    program = program_for(process, stage)
    answer = run(program, ARCHITECTURES["x86_64"], NUMBERS["x86_64"][call], arguments)
    assert answer == unwatched(means(policy, stage, call, arguments))
    watching = [program_for(process, one, watched=True) for one in FilterStage]
    programs = watching[:1] if stage is FilterStage.IMPORTING else watching[::-1]
    answer = run_all(programs, ARCHITECTURES["x86_64"], NUMBERS["x86_64"][call], arguments)
    assert answer == heard(policy, stage, call, arguments)


@cache
def installed_for(process: tuple[str, bool], watched: bool) -> tuple[bytes, bytes, int]:
    """Return both filters of a process as this machine would install them, and the machine's architecture."""
    policy = policy_for(process)
    first, last = (policy.program(stage, watched=watched, pid=PID) for stage in FilterStage)
    architecture = next(one for name, one in ARCHITECTURES.items() if first == program_of(
        policy, FilterStage.IMPORTING, name, PID, watched=watched))  # fmt: skip
    return first, last, architecture


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PROCESSES), st.integers(0, 470), ARGUMENTS)
def test_the_seal_only_takes_away(process: tuple[str, bool], number: int, arguments: tuple[int, ...]) -> None:
    for watched in (False, True):
        first, last, architecture = installed_for(process, watched)
        if run(last, architecture, number, arguments) == ALLOW:
            assert run(first, architecture, number, arguments) == ALLOW


@pytest.mark.parametrize("policy", list(policies()))
@pytest.mark.parametrize("machine", MACHINES)
def test_what_nobody_may_try_is_killed_and_never_allowed(policy: Policy, machine: str) -> None:
    sealed = program_of(policy, FilterStage.SEALED, machine, PID)
    for call in NEVER:
        if call in NUMBERS[machine]:
            for arguments in ((0,) * 6, (1,) * 6, (0x10900,) * 6):
                assert run(sealed, ARCHITECTURES[machine], NUMBERS[machine][call], arguments) == KILL_PROCESS, call
    for call in NEVER_ALLOWED:
        own = {"authority": {"memfd_secret", "memfd_create"}}.get(policy.name, set())
        if call in NUMBERS[machine] and call not in own:
            assert run(sealed, ARCHITECTURES[machine], NUMBERS[machine][call]) != ALLOW, call


def sealed(process: str, call: str, *arguments: int, network: bool = False) -> int:
    policy = policy_of(FILES, process, network=network)
    programs = [program_of(policy, stage, "x86_64", PID, watched=True) for stage in FilterStage]
    return run_all(programs[::-1], ARCHITECTURES["x86_64"], NUMBERS["x86_64"][call], arguments)


HIGH = 1 << 32


@pytest.mark.parametrize("process", ["authority", "primary", "secondary", "third", "forth", "external", "reports"])
@pytest.mark.parametrize("high", [0, HIGH, 0xFFFFFFFF << 32])
def test_dangerous_arguments_are_refused_whatever_the_high_half(process: str, high: int) -> None:
    network = process == "external"
    for call, arguments in (
        ("mmap", (0, 4096, 5 | high, 2)), ("mprotect", (0, 4096, 7 | high)), ("ioctl", (0, 0x5412 | high)),
        ("ioctl", (0, 0x541C | high)), ("socket", (17 | high, 3, 0)), ("socket", (40 | high, 1, 0)),
        ("socket", (38 | high, 5, 0)), ("socket", (2 | high, 3, 1)), ("prctl", (4 | high, 1)),
        ("prctl", (35 | high, 1)),
        ("tgkill", (PID + 1 | high, 1, 9)), ("clone", (17 | high,)), ("clone", (0x10000000 | high,)),
        ("clone", (0x10010F00 | high,)), ("fcntl", (3, 8 | high, 1)), ("setsockopt", (3, 1, 26 | high)),
        ("prlimit64", (0, 7, 1 | high)), ("prlimit64", (PID + 1, 7, 0)), ("sched_setscheduler", (0, 1 | high)),
    ):  # fmt: skip
        assert sealed(process, call, *arguments, network=network) in (REFUSED, USER_NOTIF), (call, arguments)


def test_only_a_network_loop_makes_network_sockets_and_threads() -> None:
    thread = 0x3D0F00
    for process in ("authority", "primary", "secondary", "third", "forth", "reports"):
        for family in (2, 10, 16):
            assert sealed(process, "socket", family, 1, 0) == USER_NOTIF
        if process != "authority":  # which has one for its audit log
            assert sealed(process, "clone", thread) in (REFUSED, USER_NOTIF)
        assert sealed(process, "clone", 0x1200011) in (REFUSED, USER_NOTIF)  # fork
        assert sealed(process, "bind") == USER_NOTIF
    for process in ("external", "reports"):
        assert sealed(process, "socket", 16, 3, 0, network=True) == ALLOW
        for arguments in ((2, 1, 6), (10, 2 | 0x80000, 17)):  # made by the supervisor, which makes no others
            assert sealed(process, "socket", *arguments, network=True) == BROKERED
        assert sealed(process, "socket", 16, 3, 9, network=True) == USER_NOTIF  # NETLINK_AUDIT
        assert sealed(process, "socket", 2, 3, 6, network=True) == USER_NOTIF  # raw
        assert sealed(process, "clone", thread, network=True) == ALLOW
    assert sealed("authority", "socket", 1, 1, 0) == USER_NOTIF


def test_a_loop_whose_calls_nobody_hears_of_makes_tcp_and_udp_sockets_and_no_others() -> None:
    policy = compose("third", FILES.fragments(names_for("third", network=True, direct=True)))
    program = program_of(policy, FilterStage.SEALED, "x86_64", PID, SEAL, watched=False)
    for arguments, answer in (((2, 1, 6), ALLOW), ((10, 2, 0), ALLOW), ((2, 3, 1), REFUSED), ((17, 3, 0), REFUSED)):
        assert run(program, ARCHITECTURES["x86_64"], NUMBERS["x86_64"]["socket"], (*arguments, 0, 0, 0)) == answer


def test_what_only_libzmq_needs_is_for_loops_that_speak_through_it() -> None:
    thread = (0x3D0F00,)
    for process, network in PROCESSES:
        for engine in ("libzmq", "native"):
            policy = policy_of(FILES, process, network=network, engine=engine)
            has = engine == "libzmq" and process not in ("primary", "authority")
            for call, stage, arguments in (
                ("clone", FilterStage.IMPORTING, thread), ("sched_setscheduler", FilterStage.SEALED, (0, 0)),
            ):  # fmt: skip
                for_resolver = network and call == "clone"
                for_log = process == "authority" and call == "clone"
                for_disk = process in ("secondary", "third") and call == "clone" and stage is FilterStage.IMPORTING
                is_allowed = means(policy, stage, call, (*arguments, 0, 0, 0, 0, 0)[:6]) == ALLOW
                assert is_allowed is (has or for_resolver or for_log or for_disk), (process, engine, call)


def test_a_network_loop_sends_nowhere_that_the_supervisor_has_not_connected_it_to() -> None:
    for process in ("external", "reports"):
        for call in ("connect", "bind"):
            assert sealed(process, call, network=True) == BROKERED
        assert sealed(process, "sendto", 3, 4096, 1, 0, 0, 0, network=True) == ALLOW
        for flags, address in ((0, 4096), (0x20000000, 0), (0x20000000, 4096), (0, HIGH)):
            assert sealed(process, "sendto", 3, 4096, 1, flags, address, 16, network=True) == BROKERED
        assert sealed(process, "sendmsg", network=True) == sealed(process, "sendmmsg", network=True) == ABSENT
    for process in ("primary", "third", "reports"):
        assert sealed(process, "connect") == BROKERED
        assert sealed(process, "sendmsg") == sealed(process, "sendmmsg") == ABSENT
        assert sealed(process, "sendto", 3, 4096, 1, 0, 0, 0) == ALLOW
        for address in (4096, HIGH):
            assert sealed(process, "sendto", 3, 4096, 1, 0, address, 16) != ALLOW
    assert sealed("authority", "sendmsg") == ALLOW and sealed("authority", "sendto", 3, 4096, 1, 0, 4096, 16) != ALLOW


def test_a_loop_with_egress_rules_makes_no_socket_of_the_network_itself() -> None:
    names = names_for("mine", network=False, outbound=True)
    policy = FILES.policy("mine", FILES.fragments(names))
    for stage in FilterStage:
        for family, kind, protocol in ((2, 1, 0), (10, 2, 17), (2, 3, 1), (17, 3, 0), (40, 1, 0)):
            assert means(policy, stage, "socket", (family, kind, protocol, 0, 0, 0)) == BROKERED
        assert means(policy, stage, "socket", (1, 1, 0, 0, 0, 0)) == ALLOW
        for call in ("listen", "sendmsg", "sendmmsg"):
            assert means(policy, stage, call, (3, 0, 0, 0, 0, 0)) not in (ALLOW, BROKERED)


def test_no_file_is_made_that_runs_as_its_owner() -> None:
    for process, network in PROCESSES:
        for stage in (FilterStage.IMPORTING, FilterStage.SEALED):
            policy = policy_of(FILES, process, network=network)
            for mode in (0o600, 0o777, 0o4755, 0o2755, 0o6777, 0o1777):
                wanted = mode < 0o1000
                for call, arguments in (
                    ("fchmod", (3, mode)),
                    ("openat", (-100, 4096, 0o102, mode)),
                    ("open", (4096, 0o102, mode)),
                ):
                    got = means(policy, stage, call, (*arguments, 0, 0, 0, 0)[:6])
                    assert (got == ALLOW) is wanted, (process, stage, call, oct(mode))


def test_only_primary_takes_connections_and_only_the_authority_makes_memory_files() -> None:
    for process in ("primary", "secondary", "third", "forth", "external", "authority"):
        for network in (False, True):  # without a socket that listens it takes nothing, and no loop makes one
            may = process == "primary" or network
            assert (sealed(process, "accept4", network=network) == ALLOW) is may or process == "authority"
            for backlog in (0, 1, 2, 128, HIGH | 1):
                assert sealed(process, "listen", 3, backlog, network=network) != ALLOW
        assert (sealed(process, "memfd_create") == ALLOW) is (process == "authority")
        assert (sealed(process, "fcntl", 3, 6) == ALLOW) is (process != "authority")


HARMLESS: tuple[tuple[str, tuple[int, ...], int], ...] = (
    ("chmod", (0, 0o4777), DONE), ("fchmodat", (0, 0, 0o777), DONE), ("chown", (0, 0, 0), DONE),
    ("setsockopt", (3, 1, 7), DONE), ("setsockopt", (3, 1, 8), DONE), ("setsockopt", (3, 270, 11), errno_action(92)),
    ("mbind", (), DONE), ("set_mempolicy", (), DONE), ("sched_setaffinity", (0, 8), DONE), ("setpriority", (), DONE),
    ("sched_setscheduler", (0, 1), REFUSED), ("setrlimit", (7, 1), REFUSED), ("prlimit64", (0, 7, 1), REFUSED),
    ("listxattr", (), errno_action(95)), ("inotify_init1", (), ABSENT), ("memfd_create", (), ABSENT),
    ("pipe2", (0, 0o4000), ALLOW), ("pipe", (), ALLOW), ("eventfd2", (), ALLOW), ("fcntl", (3, 6), ALLOW),
    ("prlimit64", (PID, 7, 0), ALLOW), ("rseq", (), ALLOW), ("membarrier", (), ALLOW), ("madvise", (0, 1, 14), ALLOW),
    ("get_mempolicy", (), ALLOW), ("msync", (), ALLOW), ("mlock", (), ALLOW),
)  # fmt: skip
HARMFUL: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("setsockopt", (3, 1, 32)), ("setsockopt", (3, 1, 33)), ("setsockopt", (3, 1, 26)), ("setsockopt", (3, 1, 25)),
    ("pipe2", (0, 0x80)), ("fcntl", (3, 1031, 1 << 20)), ("fchmod", (3, 0o4755)), ("prlimit64", (PID + 1, 7, 1)),
    ("mmap", (0, 4096, 5, 2)), ("listen", (3, 2)), ("symlink", ()), ("link", ()),
)  # fmt: skip


@pytest.mark.parametrize("process", ["secondary", "third", "forth", "external", "reports"])
def test_what_honest_libraries_do_without_harm_is_no_violation(process: str) -> None:
    network = process == "external"
    for call, values, answer in HARMLESS:
        assert sealed(process, call, *values, network=network) == answer, (call, values)
    for call, values in HARMFUL:
        assert sealed(process, call, *values, network=network) in (USER_NOTIF, REFUSED), (call, values)


def test_the_authority_has_no_libraries_that_would_be_answered_so() -> None:
    assert not policy_of(FILES, "authority", network=False).lists["answer"]


def all_parts() -> list[PolicyFragment]:
    return [FILES.fragment(str(file.relative_to(FOLDER).with_suffix(""))) for file in sorted(FOLDER.rglob("*.yaml"))]


def test_every_file_is_used_and_every_dangerous_call_has_a_reason_of_its_own() -> None:
    parts = {part.name: part for part in all_parts()}
    asked = ["threads", "disk", "listen", "bus"]
    names = [names_for(process, network=network, asked=asked) for process, network in (*PROCESSES, *SERVICES)]
    names += [names_for("mine", network=True, direct=flag) for flag in (False, True)]
    names.append(names_for("mine", network=False, engine="libzmq"))
    names += [names_for(process, network=False, has_door=True) for process in ("primary", "primary.door")]
    programs = (PLAIN, WHOLE, REPLIES, STREAMS, PROXY, NETLINK)
    names += [names_for_program(program, own_pids=program is PLAIN) for program in programs]
    reached = {part.name for each in names for part in FILES.fragments(each)}
    assert reached == set(parts)
    for part in parts.values():
        for kind in ("allow", "import"):
            for entry in part.lists[kind]:
                if set(entry.calls) & DANGEROUS:
                    assert len(entry.calls) <= 2, (part.name, entry.calls)
                    assert len(entry.why) >= 40, (part.name, entry.calls, entry.why)


def test_no_reason_is_written_twice_in_one_file() -> None:
    for part in all_parts():
        reasons = [entry.why for entries in part.lists.values() for entry in entries]
        assert len(set(reasons)) == len(reasons), part.name


def test_digests_tell_policies_apart() -> None:
    found = {name: policy_of(FILES, name, network=network).digests(watched=True) for name, network in PROCESSES[:7]}
    assert found["third"] != found["forth"], "only one of them may start a thread for its disk"
    assert found["forth"] == found["primary.facts"]  # they may do the same; their roots differ
    assert found["third"] == found["secondary"]
    assert len(set(found.values())) == 5
    assert all(first != last for first, last in found.values())
    third = policy_of(FILES, "third", network=False)
    sealed_third = partial(third.program, FilterStage.SEALED)
    assert digest(sealed_third(watched=True)) == found["third"][1] != digest(sealed_third(watched=False))
    assert sealed_third(watched=True, pid=PID) != sealed_third(watched=True)


ENTRY = {"calls": ["read"], "why": "because"}


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ([], "must be a map"),
        ({"allow": []}, "about"),
        ({"about": "x", "deny": []}, "deny has no meaning"),
        ({"about": "x", "allow": ["read"]}, "must be a map"),
        ({"about": "x", "allow": [{**ENTRY, "if": []}]}, "must be a map"),
        ({"about": "x", "allow": [{"calls": ["read"]}]}, "no reason"),
        ({"about": "x", "allow": [{"calls": ["read"], "why": "  "}]}, "no reason"),
        ({"about": "x", "allow": [{**ENTRY, "calls": []}]}, "lists"),
        ({"about": "x", "allow": [{**ENTRY, "calls": ["raed"]}]}, "no system call raed"),
        ({"about": "x", "kill": [{**ENTRY, "when": ["arg0 in 1"]}]}, "no conditions"),
        ({"about": "x", "allow": [{**ENTRY, "when": ["arg6 in 1"]}]}, "no meaning"),
        ({"about": "x", "allow": [{**ENTRY, "when": ["arg0 in AF_NONE"]}]}, "no constant"),
        ({"about": "x", "allow": [{**ENTRY, "when": ["arg0 in 0x1ffffffff"]}]}, "no constant"),
        ({"about": "x", "allow": [{**ENTRY, "when": ["arg0 is 5"]}]}, "no meaning"),
        ({"about": "x", "allow": [{**ENTRY, "when": ["arg0 & 3 lacks 1"]}]}, "no meaning"),
        ({"about": "x", "allow": [{**ENTRY, "when": [5]}]}, "no meaning"),
    ],
)  # fmt: skip
def test_a_wrong_part_is_refused_with_its_name(document: Any, word: str) -> None:
    with pytest.raises(SandboxError, match=word) as caught:
        parse_fragment("mine", document)
    assert "profile mine" in str(caught.value)


@pytest.mark.parametrize("refusal", ["kill", "enosys"])
def test_what_is_refused_cannot_be_allowed_without_a_condition(refusal: str) -> None:
    base = parse_fragment("base", {"about": "x", refusal: [{"calls": ["execve"], "why": "no"}]})
    for kind in ("allow", "import"):
        more = parse_fragment("more", {"about": "x", kind: [{"calls": ["execve"], "why": "yes"}]})
        with pytest.raises(SandboxError, match="execve is allowed without a condition"):
            compose("mine", [base, more])


def test_one_call_cannot_be_killed_and_absent() -> None:
    wrong = {"about": "x", "kill": [ENTRY], "enosys": [ENTRY]}
    with pytest.raises(SandboxError, match="in `enosys` and in `kill`"):
        compose("mine", [parse_fragment("mine", wrong)])


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(SandboxError, match="riscv64"):
        program_of(policy_of(FILES, "third", network=False), FilterStage.SEALED, "riscv64", 1)


def test_a_circle_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "third.yaml").write_text("about: x\nextends: [loop]\n")
    (tmp_path / "loop.yaml").write_text("about: x\nextends: [third]\n")
    files = ProfileFiles(tmp_path)
    with pytest.raises(SandboxError, match="third > loop > third"):
        policy_of(files, "third", network=False)
    with pytest.raises(SandboxError, match=r"cannot read the profile .*forth\.yaml"):
        policy_of(files, "forth", network=False)


@pytest.mark.parametrize("option", ["SO_REUSEPORT", "SO_SNDBUF", "SO_RCVBUF", "SO_LINGER", "SO_SNDTIMEO"])
def test_options_that_servers_set_are_answered_to_a_program_with_sockets_and_change_nothing(option: str) -> None:
    policy = FILES.policy("a program", FILES.fragments(names_for_program(WHOLE, own_pids=True)))
    machine = MACHINES[-1]
    filters = policy.program(FilterStage.IMPORTING, watched=True, pid=PID)
    arguments = (3, CONSTANTS["SOL_SOCKET"], CONSTANTS[option], 0, 4, 0)
    assert run(filters, ARCHITECTURES[machine], NUMBERS[machine]["setsockopt"], arguments) == DONE
    with_none = FILES.policy("a program", FILES.fragments(names_for_program(PLAIN, own_pids=True)))
    filters = with_none.program(FilterStage.IMPORTING, watched=True, pid=PID)
    assert run(filters, ARCHITECTURES[machine], NUMBERS[machine]["setsockopt"], arguments) not in (
        ALLOW,
        DONE,
    )


def test_primary_may_do_less_where_the_door_has_a_process_of_its_own_and_that_less_than_any_loop() -> None:
    def reasons(process: str, *, has_door: bool) -> set[str]:
        """Return what the process may do and see, by the reasons."""
        parts = FILES.fragments(names_for(process, network=False, has_door=has_door))
        allowed = {entry.why for part in parts for entry in part.lists["allow"]}
        return allowed | {line.why for part in parts for line in part.lines["mounts"]}

    def calls(process: str, *, has_door: bool) -> set[str]:
        parts = FILES.fragments(names_for(process, network=False, has_door=has_door))
        return {call for part in parts for entry in part.lists["allow"] for call in entry.calls}

    assert reasons("primary", has_door=False) < reasons("primary", has_door=True)
    assert any("OpenSSL" in why for why in reasons("primary", has_door=True) - reasons("primary", has_door=False))
    door = calls("primary.door", has_door=True)
    assert door < calls("third", has_door=False) | {"accept4", "setsockopt"}
    assert not door & {"mkdir", "unlink", "rename", "ftruncate", "flock", "eventfd2", "memfd_create"}
