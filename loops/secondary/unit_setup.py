"""What the host needs for secondary/services, printed from its options: a rule of polkit, and units.

    python -m tlsrt.loops.secondary.unit_setup components.d/secondary.services.yaml polkit
    python -m tlsrt.loops.secondary.unit_setup components.d/secondary.services.yaml job NAME
    python -m tlsrt.loops.secondary.unit_setup components.d/secondary.services.yaml enable|disable|output

The operator runs it, and no component: what may be asked of process 1 is not said by who asks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tlsrt.loops.secondary.unit_rules import OUTPUT_MOST, WORD, JobOptions, UnitOptions, check_units

USER = "tlsrt-secondary-services"  # the name that the process has on the host, see the guide on grants
COMPONENT = "secondary/services"
_HELPERS = ("enable", "disable", "output")
_RULE = """// For /etc/polkit-1/rules.d/50-tlsrt-services.rules: what the user {user} may ask of systemd.
polkit.addRule(function (action, subject) {{
    if (subject.user !== {user_json}) return polkit.Result.NOT_HANDLED;
    if (action.id !== "org.freedesktop.systemd1.manage-units") return polkit.Result.NO;
    var unit = String(action.lookup("unit")), verb = String(action.lookup("verb"));
    var units = {units};
    var families = {families};
    var jobs = {jobs};
    var own = function (table, key) {{ return Object.prototype.hasOwnProperty.call(table, key); }};
    var fits = function (pattern, text) {{ return new RegExp("^(?:" + pattern + ")$").test(text); }};
    var split = function (name) {{ return /[\\r\\n]/.test(name) ? null : /^([^@]*)@(.*)[.]([a-z]+)$/.exec(name); }};
    var listed = function (name, act) {{
        if (own(units, name)) return units[name].indexOf(act) >= 0;
        var of = split(name), kin = of && of[1] + "@." + of[3];
        return !!of && own(families, kin) && families[kin][1].indexOf(act) >= 0 && fits(families[kin][0], of[2]);
    }};
    if (listed(unit, verb)) return polkit.Result.YES;
    var parts = split(unit);
    if (!parts || (verb !== "start" && verb !== "ref")) return polkit.Result.NO;
    var family = parts[1] + "@." + parts[3];
    if (family === "tlsrt-enable@.service" || family === "tlsrt-disable@.service")
        return listed(parts[2], parts[1].substring(6)) ? polkit.Result.YES : polkit.Result.NO;
    if (family === "tlsrt-output@.service")
        return fits("[0-9a-f]{{32}}", parts[2]) ? polkit.Result.YES : polkit.Result.NO;
    if (!own(jobs, family)) return polkit.Result.NO;
    if (jobs[family].length === 0) return parts[2] === "none" ? polkit.Result.YES : polkit.Result.NO;
    var words = parts[2].replace(/-/g, "/").replace(/\\\\x([0-9a-f]{{2}})/g, function (all, code) {{
        return String.fromCharCode(parseInt(code, 16));
    }}).split(" ");
    if (words.length !== jobs[family].length) return polkit.Result.NO;
    for (var i = 0; i < words.length; i++)
        if (!fits({word}, words[i]) || !fits(jobs[family][i], words[i])) return polkit.Result.NO;
    return polkit.Result.YES;
}});
"""
_UNIT = """# Of secondary/services, for /etc/systemd/system/tlsrt-job-{name}@.service, then systemctl daemon-reload
[Unit]
Description=job {name} of tlsrt: %I

[Service]
Type=oneshot
Environment="WORDS=%I"
ExecStart={command}
{user}
TimeoutStartSec={seconds}
MemoryMax={memory_mb}M
MemorySwapMax=0
TasksMax={tasks}
NoNewPrivileges=yes
CapabilityBoundingSet=
{confined}"""
_CONFINED = """ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077
"""
# Process 1 makes the links; it lets who asks have CAP_SYS_ADMIN, and polkit is not told which unit is meant.
_SWITCH = """# Of secondary/services, for /etc/systemd/system/tlsrt-{act}@.service, then systemctl daemon-reload
[Unit]
Description={act} %i for tlsrt

[Service]
Type=oneshot
ExecStart=/usr/bin/systemctl {act} --no-ask-password -- "%i"
TimeoutStartSec=60
MemoryMax=64M
TasksMax=8
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_SYS_ADMIN
{confined}"""
# What a job wrote is in the journal, which the component does not see: this hands the end of it over as a status text.
_OUTPUT = """# Of secondary/services, for /etc/systemd/system/tlsrt-output@.service, then systemctl daemon-reload
[Unit]
Description=output of the job of tlsrt with the invocation %i

[Service]
Type=oneshot
NotifyAccess=all
ExecStart=/bin/sh -c 'journalctl --sync; text=$$(journalctl -q --no-pager -o cat -n {lines} -u "tlsrt-job-*" \\
    _TRANSPORT=stdout _SYSTEMD_INVOCATION_ID=%i | tail -c {most} | base64 -w 0) && systemd-notify --status="$$text"'
TimeoutStartSec=20
MemoryMax=64M
TasksMax=8
NoNewPrivileges=yes
CapabilityBoundingSet=
{confined}"""


def polkit_rule(units: Mapping[str, UnitOptions], jobs: Mapping[str, JobOptions], user: str = USER) -> str:
    """Return a rule of polkit that lets the user do what the options list, and nothing else. Pure."""
    exact = {name: list(one.actions) for name, one in units.items() if not one.instances}
    families = {name: [one.instances, list(one.actions)] for name, one in units.items() if one.instances}
    words = {f"tlsrt-job-{name}@.service": list(one.words) for name, one in jobs.items()}
    return _RULE.format(
        user=user, user_json=json.dumps(user), units=json.dumps(exact), families=json.dumps(families),
        jobs=json.dumps(words), word=json.dumps(WORD),
    )  # fmt: skip


def job_template(name: str, job: JobOptions) -> str:
    """Return the template unit of a job. Pure."""
    return _UNIT.format(
        name=name, command=" ".join(map(_quoted, job.argv)) + (" $WORDS" if job.words else ""),
        user=f"User={job.user}" if job.user else "DynamicUser=yes",
        seconds=job.seconds, memory_mb=job.memory_mb, tasks=job.tasks, confined=_CONFINED,
    )  # fmt: skip


def helper_template(name: str) -> str:
    """Return the template unit that enables or disables a unit, or hands the output of a job over. Pure."""
    if name == "output":
        return _OUTPUT.format(lines=OUTPUT_MOST, most=OUTPUT_MOST, confined=_CONFINED)
    return _SWITCH.format(act=name, confined=_CONFINED)


def _quoted(word: str) -> str:
    """Return one word of ExecStart= as systemd.service(5) has it: no specifier, no variable, no escape in it."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"'


def read_options(text: str) -> tuple[dict[str, UnitOptions], dict[str, JobOptions]]:
    """Return units and jobs of a drop-in or configuration. Raises ValueError with a sentence."""
    try:
        document: Any = yaml.safe_load(text)
        whole = document.get("components")  # a configuration; else it is the component's drop-in
        options = (whole[COMPONENT] if whole else document)["options"]
        units = {str(name): UnitOptions(**_tuples(one or {})) for name, one in (options.get("units") or {}).items()}
        jobs = {str(name): JobOptions(**_tuples(one or {})) for name, one in (options.get("jobs") or {}).items()}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"there are no options of {COMPONENT} in it: {error}") from None
    check_units(units, jobs)
    return units, jobs


def _tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}


def main(words: list[str]) -> int:
    """Print what is asked for; return the exit status."""
    if len(words) not in (2, 3) or words[1] not in (("polkit", *_HELPERS) if len(words) == 2 else ("job",)):
        sys.stderr.write("say: unit_setup FILE polkit|enable|disable|output, or unit_setup FILE job NAME\n")
        return 2
    try:
        units, jobs = read_options(Path(words[0]).read_text())
        if len(words) == 3 and words[2] not in jobs:
            raise ValueError(f"there is no job {words[2]} in it")
        if words[1] in _HELPERS:
            sys.stdout.write(helper_template(words[1]))
        else:
            sys.stdout.write(job_template(words[2], jobs[words[2]]) if len(words) == 3 else polkit_rule(units, jobs))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot read {words[0]}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
