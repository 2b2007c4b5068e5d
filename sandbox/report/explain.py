"""Whether a process may make a call, open a path or reach a host. How it is refused, by which layer and by which line.

The answers come from what confines the process: its filters are run, its root is planned, its Landlock rules and
egress rules are asked.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tlsrt.config.egress import EgressRule, egress_rule_for, near_hint
from tlsrt.config.name_rules import NameRule, parse_rule
from tlsrt.config.resolver import parse_hosts
from tlsrt.sandbox.apply.layers import landlock_rules
from tlsrt.sandbox.apply.root_filesystem import CANARY, SCRATCH, SECRETS
from tlsrt.sandbox.profile.fragment import SPOKEN, STATE
from tlsrt.sandbox.profile.policy import FilterStage
from tlsrt.sandbox.profile.profile import ALL_LAYERS, Profile
from tlsrt.sandbox.report.effective import Effective, grants
from tlsrt.sandbox.report.syscall_verdict import ARGUMENTS, SyscallVerdict, verdict_of, verdicts_of
from tlsrt.sandbox.report.visible_files import VisibleFiles
from tlsrt.sandbox.seccomp.bpf import LOW_32
from tlsrt.sandbox.seccomp.broker import is_of_the_network
from tlsrt.sandbox.seccomp.constants import CONSTANTS
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS
from tlsrt.text import did_you_mean

STAGES = {FilterStage.IMPORTING: "before the seal", FilterStage.SEALED: "after the seal"}
ALWAYS = "always"
_ONE_STAGE = {FilterStage.IMPORTING: ALWAYS}  # of a program, which is sealed before it is executed
_LAYERS = {FilterStage.IMPORTING: "seccomp", FilterStage.SEALED: "seccomp_sealed"}
_NO_LINE = "no line allows it"
_PASSAGE = "on the way to what is shown"
_BESIDE = {CANARY: "a decoy: opening it is told"} | dict.fromkeys(
    SPOKEN, "its own output, by name"
)  # what no line shows and is there


@dataclass(frozen=True, slots=True)
class Explanation:
    """One answer: when, to what, how, by which layer, and by which line of which part."""

    stage: str
    action: str
    is_allowed: bool
    how: str
    layer: str
    why: str
    part: str = ""
    when: str = ""  # conditions on the arguments


def _stages(one: Effective) -> Mapping[FilterStage, str]:
    return _ONE_STAGE if one.profile.execute else STAGES


def explain(one: Effective, what: Sequence[str]) -> list[Explanation]:
    """Return the answers about a path, a host (HOST:PORT[/udp], perhaps after `connect`), or a call and its arguments.

    Raises ValueError with a sentence for what cannot be asked.
    """
    if what[0] == "connect" and len(what) == 2 and not what[1].startswith("/") and ":" in what[1]:
        return about_host(one, what[1])
    if what[0].startswith("/") or ":" in what[0]:
        if len(what) > 1:
            raise ValueError(f"{what[1]}: nothing can follow a path or a host")
        if not what[0].startswith("/"):
            return [*about_host(one, what[0]), *about_listener(one, what[0])]
        return [*about_grants(one, what[0]), *about_path(one, what[0]), *about_execution(one, what[0])]
    return about_call(one, what[0], what[1:])


def is_allowed(findings: Sequence[Explanation]) -> bool:
    """Say whether something of it is allowed in the steady state, after the seal."""
    return any(finding.is_allowed for finding in findings if finding.stage != STAGES[FilterStage.IMPORTING])


def about_grants(one: Effective, path: str) -> list[Explanation]:
    """Return what is done for the process with a device, a setting, events or a program of this path."""
    by = {
        "helper": "by the helper", "network": "by the network helper, with CAP_NET_ADMIN",
        "supervisor": "by the supervisor, in a process of its own",
    }  # fmt: skip
    actions = {
        "device": "have it opened, as", "setting": "have it written, as", "events": "hear what it tells, as",
        "program": "have it run, as",
    }  # fmt: skip
    return [
        Explanation(
            ALWAYS, f"{actions[grant['kind']]} {grant['name']}", True, by[grant["by"]], "", grant["why"], grant["part"]
        )
        for grant in grants(one) if grant["path"] == path
    ]  # fmt: skip


def about_execution(one: Effective, path: str) -> list[Explanation]:
    """Return whether a program may execute a file: itself, once, or what `also_runs` lists."""
    if not one.profile.execute:
        return []
    real = os.path.realpath(path)
    part = one.fragments[-1].name
    if real not in {os.path.realpath(each) for each in one.profile.execute}:
        return [Explanation(ALWAYS, "execute", False, "EACCES", "landlock", "its declaration does not list it")]
    is_once = "execveat" in one.profile.policy.named("kill")
    why = "as what it is, by the launcher; a second execve ends it" if is_once else "itself, or listed by `also_runs`"
    return [Explanation(ALWAYS, "execute", True, "allowed", "", why, part)]


def about_listener(one: Effective, place: str) -> list[Explanation]:
    """Return whether a process has a socket that listens there; a program binds by itself."""
    wanted = place if place.endswith("/udp") else f"{place}/tcp"
    how = "by the supervisor, which puts the socket in place when it binds" if one.profile.execute else "inherited"
    return [
        Explanation(ALWAYS, f"listen on {place}", True, how, "", line.why, line.part)
        for part in one.fragments for line in part.listen if line.place == wanted
    ]  # fmt: skip


def about_call(one: Effective, call: str, words: Sequence[str]) -> list[Explanation]:
    """Return the answers about a call, without arguments one for every line that allows it. Raises ValueError."""
    machine = os.uname().machine
    if call not in NUMBERS[machine]:
        hint = did_you_mean(call, NUMBERS[machine])
        raise ValueError(f"{call} is no system call of {machine}, no path (/...) and no host (HOST:PORT){hint}")
    if len(words) > ARGUMENTS:
        raise ValueError(f"a system call has {ARGUMENTS} arguments at most, not {len(words)}")
    arguments = [_argument(word) for word in words]
    found: list[Explanation] = []
    for stage in _stages(one):
        known = [verdict_of(one.profile, stage, call, arguments)] if words else verdicts_of(one.profile, stage, call)
        found += [_of_verdict(one, stage, call, verdict) for verdict in known]
        if words and call == "socket" and known[0].how == "asked" and not is_of_the_network(*_registers(arguments)):
            found[-1] = replace(found[-1], is_allowed=False, how="EPERM", why="neither TCP nor UDP", part="")
    return _merged(found)


def _registers(arguments: Sequence[int]) -> tuple[int, int, int]:
    """Return the first three arguments as the kernel takes them, as 32 bits."""
    first, second, third = ((*arguments, 0, 0, 0)[index] & LOW_32 for index in range(3))
    return first, second, third


def _argument(word: str) -> int:
    """Return the value of an argument: a number, a name of a constant, several joined by |."""
    value = 0
    for name in word.split("|"):
        if name in CONSTANTS:
            value |= CONSTANTS[name]
            continue
        try:
            value |= int(name, 0)
        except ValueError:
            if name.startswith("/"):
                raise ValueError(f"{name} is a path, and calls take numbers: name the path alone, or openat") from None
            raise ValueError(f"{name} is neither a number nor a constant{did_you_mean(name, CONSTANTS)}") from None
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{word} does not fit into a register")
    return value


def _of_verdict(
    one: Effective, stage: FilterStage, call: str, verdict: SyscallVerdict, action: str = ""
) -> Explanation:
    layer, action = _LAYERS[stage], action or call
    if not one.profile.expects(layer):
        why = f"layer {layer} is waived: {one.config.sandbox.waive.get(layer, '')}"
        return Explanation(_stages(one)[stage], action, verdict.is_allowed, verdict.how, layer, why)
    entry = verdict.entry
    if entry is None:
        others = "no line allows it with other arguments" if one.profile.policy.about(call, stage) else _NO_LINE
        return Explanation(_stages(one)[stage], action, verdict.is_allowed, verdict.how, layer, others)
    when = ", ".join(entry.when)
    return Explanation(_stages(one)[stage], action, verdict.is_allowed, verdict.how, layer, entry.why, entry.part, when)


def about_path(one: Effective, path: str) -> list[Explanation]:
    """Return the answers about reading and writing an absolute path. Raises SandboxError for a circle of links."""
    found: list[Explanation] = []
    for write in (False, True):
        for stage in _stages(one):
            access = VisibleFiles(one.profile, sealed=stage is FilterStage.SEALED).access(
                os.path.normpath(path), write=write
            )
            sections = ["write"] if write else ["code", "data", "write", "mounts"]
            if access.is_allowed and stage is FilterStage.SEALED:
                sections = [section for section in sections if section != "code"]
            line = one.line_for(access.real, ["mounts"] if access.real == "/dev/null" else sections)
            how = "allowed" if access.is_allowed else "refused"
            why = access.reason if not access.is_allowed else line.why if line else _beside(one, access.real)
            part = line.part if line and access.is_allowed else ""
            verb = "write" if write else "read"
            found.append(Explanation(_stages(one)[stage], verb, access.is_allowed, how, access.layer, why, part))
    grant = next((grant for part in one.fragments for grant in part.sockets if grant.path == path), None)
    if grant is not None:
        how = "performed by the supervisor, as the uid of the process"
        if grant.proxy:
            how += ", to a proxy that passes on what the grant lists"
        always = [
            Explanation(_stages(one)[stage], "connect", True, how, "", grant.why, grant.part) for stage in _stages(one)
        ]
        found += always
    return _merged(found)


def _beside(one: Effective, real: str) -> str:
    """Return why something is there that no line shows."""
    if real in dict(one.profile.files):
        return "made for it: its `files`"
    if one.profile.secrets and f"{real}/".startswith(f"{SECRETS}/"):
        return "secrets of its component"
    if one.profile.scratch_mb and f"{real}/".startswith(f"{SCRATCH}/"):
        return "its scratch folder, which ends with the run"
    if one.profile.execute and f"{real}/".startswith(f"{STATE}/"):
        return "its folder that lives on"
    return _BESIDE.get(real, _PASSAGE)


def about_host(one: Effective, text: str) -> list[Explanation]:
    """Return the answers about reaching HOST:PORT[/udp]. Raises ValueError for anything but one host and port."""
    rule = parse_rule(text)
    if isinstance(rule, NameRule):
        if rule.first_port != rule.last_port:
            raise ValueError(f"{text}: ask about one port, such as {rule.name}:443")
        return _merged([_reach_name(one, rule, stage) for stage in _stages(one)])
    if rule.network is None or rule.network.num_addresses != 1 or rule.first_port != rule.last_port:
        raise ValueError(f"{text}: ask about one address and one port, such as 192.0.2.7:443 or [2001:db8::7]:53/udp")
    return _merged([_reach(one, rule, stage) for stage in _stages(one)])


def _reach(one: Effective, wanted: EgressRule, stage: FilterStage) -> Explanation:
    assert wanted.network is not None
    profile, when, action = one.profile, _stages(one)[stage], f"reach {wanted}"
    family = CONSTANTS["AF_INET6" if wanted.network.version == 6 else "AF_INET"]
    kind = CONSTANTS["SOCK_DGRAM" if wanted.protocol == "udp" else "SOCK_STREAM"]
    for call, arguments in (("socket", (family, kind, 0)), ("connect", (3, 0, 28))):
        verdict = verdict_of(profile, stage, call, arguments)
        if not verdict.is_allowed:
            return _of_verdict(one, stage, call, verdict, f"{action}: {call}")
    if verdict.how != "asked" and profile.expects("net_namespace"):
        return Explanation(when, action, False, "refused", "net_namespace", "its network namespace holds no host")
    address = wanted.network.network_address.packed
    found = egress_rule_for(profile.egress, wanted.protocol, address, wanted.first_port)
    line = next((line for fragment in one.fragments for line in fragment.egress if found in line.rules), None)
    if verdict.how == "asked":  # the supervisor connects, if a rule lists the host
        if line is None:
            hint = near_hint(profile.egress, wanted.protocol, address, wanted.first_port)
            return Explanation(when, action, False, "refused", "egress", f"no egress rule lists it{hint}")
        return Explanation(when, action, True, "allowed", "egress", line.why, line.part, str(found))
    layer = "landlock_sealed" if stage is FilterStage.SEALED else "landlock"
    applied = [name for name in ALL_LAYERS if profile.expects(name)]
    ports = landlock_rules(profile, applied, sealed=stage is FilterStage.SEALED).connect_ports
    if wanted.protocol == "tcp" and ports is not None and wanted.first_port not in ports and profile.expects(layer):
        return Explanation(when, action, False, "EACCES", layer, "no egress rule lists its port")
    return Explanation(when, action, True, "allowed", "", "seccomp_reports is waived, so the address is not checked")


def _reach_name(one: Effective, wanted: NameRule, stage: FilterStage) -> Explanation:
    profile, when, action = one.profile, _stages(one)[stage], f"reach {wanted}"
    found = [
        (rule, line) for fragment in one.fragments for line in fragment.egress for rule in line.rules
        if isinstance(rule, NameRule) and rule.name == wanted.name and rule.covers(wanted.protocol, wanted.first_port)
    ]  # fmt: skip
    if not found:
        others = sorted({rule.name for rule in profile.names})
        hint = did_you_mean(wanted.name, others)
        return Explanation(when, action, False, "refused", "egress", f"no egress rule lists this name{hint}")
    rule, line = found[0]
    inside = f"within {' '.join(map(str, rule.within))}" if rule.within else "of the Internet"
    now = _addresses_now(profile, wanted.name)
    how = f"{rule}, at the addresses {inside} that tlsrt finds for it{now}"
    return Explanation(when, action, True, "allowed", "egress", line.why, line.part, how)


def _addresses_now(profile: Profile, name: str) -> str:
    """Return the addresses in the hosts file of a process that runs, in words; "" if there are none to be seen."""
    try:
        data = (profile.hosts / "hosts").read_bytes() if profile.hosts is not None else b""
    except OSError:
        return ""
    found = [str(ipaddress.ip_address(address)) for address in parse_hosts(data).get(name, ())]
    return f" (now {' '.join(found)})" if found else " (now none)"


def _merged(findings: Sequence[Explanation]) -> list[Explanation]:
    """Say once what is the same before and after the seal, and group by action."""
    stages: dict[Explanation, set[str]] = {}
    for finding in findings:
        stages.setdefault(replace(finding, stage="", layer=finding.layer.removesuffix("_sealed")), set()).add(
            finding.stage
        )
    said = [
        replace(finding, stage=ALWAYS if len(when) == len(STAGES) else next(iter(when)))
        for finding, when in stages.items()
    ]
    actions = list(dict.fromkeys(finding.action for finding in findings))
    return sorted(said, key=lambda finding: actions.index(finding.action))
