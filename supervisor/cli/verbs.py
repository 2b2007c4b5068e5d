"""The verbs of `tlsrt-supervisor`, as data: see tlsrt/command_line/table.py."""

from __future__ import annotations

from pathlib import Path

from tlsrt.command_line.moments import FORMS, moment, sequence_or_moment
from tlsrt.command_line.table import (
    HELP,
    WIDE,
    Argument,
    Command,
    Request,
    Verb,
    completion_verb,
    flag,
    json_flag,
    seconds,
    whole_number,
)
from tlsrt.errors import exit_codes_text
from tlsrt.supervisor.cli.component_verbs import COMPONENTS, SECRETS
from tlsrt.supervisor.cli.config_verbs import APPLY, CONFIG
from tlsrt.supervisor.cli.flags import ANSWER, REPORT
from tlsrt.supervisor.cli.job_verbs import JOBS
from tlsrt.supervisor.cli.nested_verbs import (
    AUDIT,
    BACKUP,
    CERTIFICATE,
    CLIENTS,
    CONSOLE,
    HONEYPOT,
    NAMES,
    POLICY,
    QUARANTINE,
    SANDBOX,
)
from tlsrt.supervisor.cli.release_verbs import ACCEPT, DOWNGRADE, RELEASE, RELEASE_FILE, UPGRADE
from tlsrt.supervisor.cli.service_verbs import SERVICE

# The supervisor answers in time, by the limits of the configuration; these are for one that does not.
_CHANGE_S = 3600.0
_UNLOCK_S = 120.0  # what the authority may take, and the door to serve again, with room

_INTERVAL = Argument(
    ("--interval",), "seconds between two samples (1)", "S", kind=seconds(0.2, 3600), default=1.0
)  # fmt: skip
_FOLLOW_EVENTS = flag("--follow", "-f", text="go on with every new event, until Ctrl-C")
_SUBJECT = Argument(("subject",), "a loop, or LOOP.COMPONENT (the whole host)", "SUBJECT", nargs="?")
_LOG = Argument(
    ("--log",), "where events and logs go, in place of `log: {format: ...}`", "FORMAT",
    choices=("auto", "text", "journal", "json"),
)  # fmt: skip

VERBS = (
    Verb(
        "start",
        "run in the foreground until SIGTERM, Ctrl-C or `stop`; or start a loop that was stopped",
        (_SUBJECT, _LOG),
        run="start.start",
        is_raw=True,
    ),
    Verb(
        "status",
        "show every loop of the running supervisor, or one loop or component in detail",
        (
            _SUBJECT,
            flag("--wide", "-w", text="more columns: frames, lateness, sandbox, profile, epoch"),
            json_flag("the same as one JSON document; with --follow, one a line"),
            flag("--follow", "-f", text="again and again, with what every process uses"),
            flag("--check", text="how the host stands in one line, and as an exit code"),
            _INTERVAL,
        ),
        run="status.status",
        lines="status.status_lines",
    ),
    Verb(
        "top",
        "show the processes of the host and its events as a screen, until `q`; without the extra `tui`, as a table",
        (
            flag("--plain", text="the plain table, also at a terminal"),
            json_flag("one JSON document a line"),
            _INTERVAL,
            Argument(("--bundle",), "as whom services are asked for their history (as `tlsrt` finds one)", "FILE"),
        ),
        run="top.top",
        is_raw=True,
    ),
    Verb(
        "events",
        "print the events of this host, and with --follow new ones",
        (
            _FOLLOW_EVENTS,
            Argument(("-n",), "only the last ones, so many", "N", kind=whole_number, name="count"),
            Argument(
                ("--since",), f"only events after the one of this number, or since then: {FORMS}", "SEQ|TIME",
                kind=sequence_or_moment, default=0,
            ),
            Argument(("--until",), "only events until then; not with --follow", "TIME", kind=moment),
            Argument(
                ("--severity",), "only events that are at least that severe", "SEVERITY",
                choices=("info", "warning", "alarm"), default="info",
            ),
            Argument(
                ("--kind",), "only events of this kind, may be repeated", "KIND", is_repeated=True,
                choices=("lifecycle", "session", "security", "health", "program"),
            ),
            flag("--timeline", text="as a time line: a lane for each subject, and the events below"),
            json_flag("one JSON object a line"),
            flag("--kinds", text="print every event that there is, with its meaning"),
            flag("--catalog", text="print them as the catalog of the journal, for `journalctl -x`"),
        ),
        run="events.events",
    ),
    Verb(
        "explain",
        "say what an event or an exit code means, what causes it, and what to do",
        (Argument(("what",), "an event, its MESSAGE_ID in the journal, or an exit code", "EVENT|CODE"),),
        run="explain.explain",
    ),
    Verb(
        "logs",
        "print what the processes have logged, in one stream ordered by time",
        (
            Argument(
                ("subject",), "a loop, LOOP.COMPONENT, or a program as LOOP.COMPONENT/PROGRAM (all)", "SUBJECT",
                nargs="?",
            ),
            flag("--follow", "-f", text="go on with what comes, until Ctrl-C"),
            Argument(("-n",), "how many entries (50, or all with --since)", "N", kind=whole_number, name="count"),
            Argument(("--since",), f"only what was written since then: {FORMS}", "TIME", kind=moment),
            json_flag("one JSON object an entry"),
        ),
        run="logs.logs",
        is_raw=True,
    ),
    Verb(
        "reload",
        "apply changed profiles and policy while tlsrt runs: all of them, or none",
        (flag("--dry-run", text="say what that would do to the running host, and do nothing"), REPORT),
        run="lifecycle.reload",
        lines="lifecycle.reload_lines",
        unmet="lifecycle.failed",
    ),
    Verb(
        "sessions",
        "show every session of the running host, and what is revoked",
        (WIDE, json_flag("everything about them, as one JSON document")),
        request=Request("sessions"),
        lines="sessions.session_lines",
    ),
    Verb(
        "egress",
        "show what components may reach: rules, use, what is left of their budgets, and the last denials",
        (json_flag("all of it as one JSON document"),),
        request=Request("egress"),
        lines="egress.egress_lines",
    ),
    Verb(
        "revoke",
        "end sessions, and block components and clients; every verifier refuses them within 100 ms",
        (
            Argument(
                ("kind",),
                "a session or token ends, and its holder may open another session; the others are blocked",
                "KIND", choices=("session", "token", "component", "client", "loop"), nargs="?",
            ),
            Argument(("what",), "the first digits of an id of `sessions`, LOOP/NAME, or a name", "WHAT", nargs="?"),
            flag("--all", text="end every session and begin a new epoch; no subject is blocked"),
            Argument(("--for",), "block for 90s, 15m, 2h or 7d, not until `restore`", "TIME", name="duration"),
            REPORT,
        ),
        request=Request("revoke", "sessions.revoke_fields"),
        lines="sessions.revoked_lines",
        unmet="sessions.not_persisted",
    ),
    Verb(
        "restore",
        "end the revocation of a component, client or loop",
        (
            Argument(("kind",), "what was revoked", "KIND", choices=("component", "client", "loop")),
            Argument(("what",), "LOOP/NAME, or a name", "NAME"),
            REPORT,
        ),
        request=Request("restore", ("kind", "what")),
        lines="sessions.restored_lines",
    ),
    Verb("component", "add, list, compare, update and remove components of packages", verbs=COMPONENTS),
    Verb("secret", "set, make, list and remove the secrets of components", verbs=SECRETS),
    Verb("certificate", "show, change and renew the certificates of the server", verbs=CERTIFICATE),
    Verb("client", "enrol clients while tlsrt runs, list, change, renew and revoke them", verbs=CLIENTS),
    Verb(
        "console",
        "print a link, as text and QR code, that makes one browser a client with the console",
        CONSOLE,
        run="console.console",
        lines="console.console_lines",
        is_raw=True,
    ),
    Verb("jobs", "list the calls that clients and components have put off; show, pause or remove one", verbs=JOBS),
    Verb(
        "lock",
        "lock the host: no session is possible until `unlock`; the lock survives a restart",
        (
            Argument(("--reason",), "why, for `status` and events; no client sees it", "TEXT", default=""),
            REPORT,
        ),
        request=Request("lock", ("reason",)),
        lines="lock.lock_lines",
        unmet="lock.lock_unmet",
    ),
    Verb(
        "unlock",
        "end the lock, with a new epoch and a fresh Primary; clients reconnect by themselves",
        (REPORT,),
        request=Request("unlock", timeout_s=_UNLOCK_S),
        lines="lock.unlock_lines",
        unmet="lock.unlock_unmet",
    ),
    Verb(
        "apt-order",
        "carry out, as root, what secondary/updates has asked for; the unit tlsrt-updates.service runs it",
        (
            Argument(("--orders",), "the folder in which the component puts its order", "DIR", kind=Path),
            Argument(("--results",), "a folder of root, for what came of it", "DIR", kind=Path),
        ),
        run="apt_orders.carry_out",
    ),
    Verb("backup", "write the whole host into a file, look whether one is whole, and restore a host", verbs=BACKUP),
    Verb("policy", "show who may call whom", verbs=POLICY),
    Verb("honeypot", "list the decoys of this host, plant canaries, and test their detection", verbs=HONEYPOT),
    Verb(
        "anomalies",
        "show anomaly scores, detectors, and the responses in force",
        (
            json_flag("the same as one JSON document; with --follow, one event a line"),
            flag("--follow", "-f", text="detections and responses as they come, until Ctrl-C"),
            WIDE,
        ),
        run="detection.anomalies",
        lines="detection.anomaly_lines",
    ),
    Verb("quarantine", "list the responses in force, or release a subject before their time", verbs=QUARANTINE),
    Verb(
        "rotate",
        "begin a new epoch now, with new keys for every loop; with --master also a new master_key",
        (
            flag("--master", text="make another master_key, also for a host that does not run"),
            REPORT,
        ),
        run="rotate.rotate",
    ),
    Verb(
        "restart",
        "restart one loop, drained, or start one again that was given up",
        (
            Argument(("loop",), "the loop; the strategy of its group decides which others restart with it", "LOOP"),
            ANSWER,
        ),
        request=Request("restart", ("loop",), timeout_s=_CHANGE_S),
        lines="lifecycle.restart_lines",
        unmet="lifecycle.failed",
    ),
    Verb(
        "stop",
        "stop the running supervisor in order, and wait until it has ended; or keep one loop stopped",
        (_SUBJECT,),
        run="lifecycle.stop",
    ),
    Verb(
        "is-active",
        "print the state of the host, a loop or a component; the exit code is 0 if it is active, else 3",
        (_SUBJECT, flag("--quiet", "-q", text="print nothing")),
        run="subject.is_active",
    ),
    Verb(
        "init",
        "write a configuration, keys, certificates and an admin bundle; never overwrites",
        (
            Argument(("directory",), "where to write", "DIR", kind=Path, nargs="?"),
            flag("--system", text="for a service: in /etc/tlsrt, with its state below /var/lib, and so on"),
            Argument(("--host",), "address of the door (127.0.0.1; 0.0.0.0 for all)", "HOST", default="127.0.0.1"),
            Argument(("--port",), "port of the door (7443)", "PORT", kind=whole_number, default=7443),
            NAMES,
            flag("--if-missing", text="do nothing, and be content, where a whole host is already"),
            flag("--strict", text="waive no layer of the sandbox, whatever this host cannot give"),
        ),
        run="setup.init",
    ),
    Verb(
        "doctor",
        "say what to look at before it is a trouble, each with a remedy; the exit code is 1 if there is anything",
        (WIDE, json_flag("the same as one JSON document")),
        run="doctor.doctor",
    ),
    Verb(
        "check",
        "try a configuration in full, as a start would take it, and accept or change nothing",
        (json_flag("every fault with file, line and column, as one JSON document"),),
        run="check.check",
    ),
    Verb(
        "seal",
        "renew the boot token after an intended change of code, configuration or certificate",
        (
            flag("--diff", text="only print what differs from the boot token, every file of it, and change nothing"),
            flag(
                "--accept-older-state",
                text="let the next start take a state of the authority that is older than the audit log, or a new one: "
                "revocations, locks and clients of the time between are forgotten",
            ),
            ACCEPT,
            RELEASE_FILE,
            DOWNGRADE,
        ),
        run="setup.seal",
    ),
    Verb("config", "print where each value of the configuration comes from, or migrate an older one", verbs=CONFIG),
    APPLY,
    UPGRADE,
    Verb("release", "sign and verify releases of packages", verbs=RELEASE),
    *SERVICE,
    Verb("sandbox", "show and explain how a process of this host is confined", verbs=SANDBOX),
    Verb("audit", "read, verify and export the audit log of this host", verbs=AUDIT),
    Verb(
        "schema",
        "print the JSON Schema of the configuration, for editors",
        (flag("--manifest", text="that of a manifest of a component"),),
        run="setup.schema",
        is_raw=True,
    ),
    Verb("version", "print the version", run="setup.version"),
    completion_verb("tlsrt-supervisor"),
    HELP,
)  # fmt: skip

_COMMON = (
    Argument(
        ("--config",),
        "the configuration (default: $TLSRT_CONFIG, ./var/tlsrt.yaml but for root, /etc/tlsrt/tlsrt.yaml)",
        "FILE",
    ),
)
COMMAND = Command(
    "tlsrt-supervisor",
    "tlsrt.supervisor.cli",
    "Runs the software of this host as sandboxed loops behind one TLS 1.3 door.",
    _COMMON,
    VERBS,
    exit_codes_text(),
)
