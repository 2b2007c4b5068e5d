"""The verbs of `tlsrt-supervisor`, as data: see tlsrt/command_line/table.py."""

from __future__ import annotations

from pathlib import Path

from tlsrt.command_line.table import (
    HELP,
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
from tlsrt.errors import EX_CONFIG, exit_codes_text

# The supervisor answers in time, by the limits of the configuration; these are for one that does not.
_CHANGE_S = 3600.0
_UNLOCK_S = 120.0  # what the authority may take, and the door to serve again, with room
_TEST_S = 15.0  # the supervisor answers in six

_INTERVAL = Argument(
    ("--interval",), "seconds between two samples (1)", "S", kind=seconds(0.2, 3600), default=1.0
)  # fmt: skip
_FOLLOW_EVENTS = flag("--follow", "-f", text="go on with every new event, until Ctrl-C")
_REPORT = json_flag("the report as one JSON document")
_ANSWER = json_flag("the answer as one JSON document")
_SAME = json_flag("the same as one JSON document")

_CLIENT = Argument(("name",), "the client", "NAME")
_ALLOW = Argument(
    ("--allow",), "a policy line, what it may call: 'secondary/store: [get, put]'; may be repeated", "RULE",
    is_repeated=True,
)  # fmt: skip
_TTL = Argument(("--ttl",), "life of its certificate: 12h, 90d (default), at most 397d", "TIME")
_BUNDLE = Argument(
    ("--bundle",), "write a bundle (new file, mode 0600) instead of a join code", "FILE", kind=Path
)  # fmt: skip
_ADDRESS = Argument(
    ("--address",), "how the client reaches this host, if not by the first name of its certificate", "HOST[:PORT]"
)  # fmt: skip
_CLIENTS = (
    Verb(
        "add",
        "enrol a client: print a join code, or write a bundle",
        (
            _CLIENT, _ALLOW, _TTL,
            flag("--http", text="it may use HTTP; Primary then holds its keys"), _ADDRESS, _BUNDLE, _ANSWER,
        ),
        run="clients.add",
        lines="clients.added_lines",
    ),
    Verb(
        "list",
        "list every client: its state, sessions, certificate and rights",
        (_ANSWER,),
        run="clients.list_clients",
        lines="clients.client_lines",
    ),
    Verb(
        "set",
        "replace the rights of an enrolled client, at once",
        (
            _CLIENT, _ALLOW,
            Argument(
                ("--may",), "what it may do to the whole host: lock, unlock, operate (with commas), or nothing", "WORDS"
            ),
            _ANSWER,
        ),
        run="clients.set_rights",
        lines="clients.set_lines",
        unmet="sessions.not_persisted",
    ),
    Verb(
        "renew",
        "give a client another certificate, by a join code or a bundle",
        (_CLIENT, _TTL, _ADDRESS, _BUNDLE, _ANSWER),
        run="clients.renew",
        lines="clients.added_lines",
    ),
    Verb(
        "revoke",
        "revoke a client and its certificates for good",
        (_CLIENT, _ANSWER),
        run="clients.revoke",
        lines="clients.revoke_lines",
        unmet="sessions.not_persisted",
    ),
)  # fmt: skip

_NAMES = Argument(
    ("--name",),
    "a name or address by which clients reach this host, such as kettle.local; may be repeated", "NAME",
    is_repeated=True,
)  # fmt: skip
_CERTIFICATE = (
    Verb(
        "show",
        "print what the server's certificate names, who issued it, and when it ends",
        (_SAME,),
        run="certificate.show",
        lines="certificate.show_lines",
    ),
    Verb(
        "renew",
        "replace the server's certificate by another one of the development CA, for the same key",
        (
            _NAMES,
            Argument(("--drop",), "a name that it shall not have any more; may be repeated", "NAME", is_repeated=True),
            _ANSWER,
        ),
        run="certificate.renew",
        lines="certificate.renew_lines",
    ),
)  # fmt: skip

_HONEYPOT = (
    Verb("list", "list the decoys of this host", (_ANSWER,), run="honeypot.decoys", lines="honeypot.decoy_lines"),
    Verb(
        "plant",
        "write a canary into a new file",
        (
            Argument(("kind",), "what to plant", "KIND", choices=("token", "client", "file")),
            Argument(("path",), "a new file, of mode 0600", "FILE", kind=Path),
            Argument(("--number",), "which one of 16 (0)", "N", kind=whole_number, default=0),
            Argument(("--name",), "the canary client's name (operator)", "NAME", default="operator"),
            _ANSWER,
        ),
        run="honeypot.plant",
        lines="honeypot.plant_lines",
    ),
    Verb(
        "test",
        "access a decoy and a canary file, and check that both are detected",
        (_ANSWER,),
        request=Request("honeypot_test", timeout_s=_TEST_S),
        lines="honeypot.test_lines",
        unmet="honeypot.test_unmet",
    ),
)

_QUARANTINE = (
    Verb("list", "list the responses in force", (_SAME,), run="detection.quarantine"),
    Verb(
        "release",
        "end the responses against a subject before their time",
        (Argument(("name",), "LOOP/NAME, a client, a loop or an address", "NAME"), _SAME),
        request=Request("release", ("name",)),
        lines="detection.released_lines",
    ),
)

_PROCESS = Argument(("process",), "a loop, or authority", "LOOP")
_SANDBOX = (
    Verb(
        "check",
        "try every layer of the sandbox on this host: which hold, which do not, why, and what to do",
        (_SAME,),
        run="sandbox.check",
    ),
    Verb(
        "show",
        "print what one process may see and use, with the reason for every line",
        (_PROCESS, _SAME),
        run="sandbox.show",
        lines="sandbox.profile_lines",
    ),
    Verb(
        "explain",
        "say whether a process may make a system call, open a path or reach a host, and why",
        (
            _PROCESS,
            Argument(
                ("what",),
                "a system call and perhaps its arguments (socket AF_INET SOCK_STREAM), /a/path, or HOST:PORT[/udp]",
                "WHAT", nargs="+",
            ),
            _SAME,
        ),
        run="sandbox.explain",
    ),
)  # fmt: skip

_FOLDER = Argument(
    ("--folder",), "a folder with the log's files, such as a copy of one (default: that of the configuration)", "DIR",
    kind=Path,
)  # fmt: skip
_AUDIT = (
    Verb(
        "tail",
        "print the newest records, and with --follow new ones",
        (
            _FOLDER,
            Argument(("-n",), "how many (20)", "N", kind=whole_number, default=20, name="count"),
            flag("--follow", text="go on until Ctrl-C"),
            json_flag("one JSON document a line"),
        ),
        run="audit.tail",
    ),
    Verb(
        "show",
        "print all that is known of one record",
        (_FOLDER, Argument(("sequence",), "its sequence number", "SEQ", kind=whole_number)),
        run="audit.show",
    ),
    Verb(
        "verify",
        "say whether the log is whole, and name the first entry that is not",
        (
            _FOLDER,
            Argument(
                ("--key",),
                "the public key, as `audit key` prints it (default: master_key, which also checks the MACs)", "FILE",
                kind=Path,
            ),
            Argument(("--anchors",), "heads that journald has kept, as it prints them", "FILE", kind=Path),
            flag("--closed", text="the last file must end with FINAL"),
            flag("--moved-away", text="older files are elsewhere: do not ask for a record of their removal"),
            Argument(("--proof",), "instead: check what `export --proof` has printed", "FILE", kind=Path),
            _SAME,
        ),
        run="audit.verify_log",
    ),
    Verb(
        "export",
        "print every entry as one line of JSON, or the proof that one is in the log",
        (
            _FOLDER,
            Argument(
                ("--proof",), "the proof of this record, to be checked with the public key", "SEQ", kind=whole_number
            ),
        ),
        run="audit.export",
    ),
    Verb("key", "print the public key that verifies the log elsewhere", (_FOLDER,), run="audit.key"),
)  # fmt: skip

_COMPONENT = Argument(("address",), "the component", "LOOP/NAME")
_SOURCE = Argument(
    ("source",), "a folder with a pyproject.toml, a wheel, the name of a package, or a manifest of a program", "PACKAGE"
)  # fmt: skip
_NEWER = Argument(
    ("source",), "the other version: a folder, a wheel or a name (default: what is installed now)", "PACKAGE", nargs="?"
)  # fmt: skip
_APPROVE = flag("--yes", "-y", text="approve what it asks for without being asked")
_COMPONENTS = (
    Verb(
        "new",
        "write a package with a component, its manifest and a test that passes",
        (Argument(("name",), "its name, also that of the folder", "NAME"),),
        run="component.scaffold.new",
    ),
    Verb(
        "add",
        "show what the components of a package ask for, and after a yes run them, also in the running host",
        (
            _SOURCE,
            Argument(("--only",), "only this one of the components that the package brings", "NAME"),
            Argument(("--as",), "its address, if not the one that it wishes", "LOOP/NAME", name="place"),
            Argument(("--option",), "an option of its class; may be repeated", "NAME=VALUE", is_repeated=True),
            Argument(
                ("--allow",),
                "who may call it, 'client/kiosk: [boil]'; may be repeated (default: client/admin all; none: no other)",
                "RULE", is_repeated=True,
            ),
            flag("--isolated", text="with packages of its own, beside those of the environment and of all others"),
            _APPROVE, _ANSWER,
        ),
        run="component.verbs.add",
        lines="component.verbs.added_lines",
        unmet="component.verbs.add_unmet",
    ),
    Verb(
        "list",
        "list every component: its state, process, uid, memory, health and package",
        (_SAME,),
        run="component.verbs.list_components",
        lines="component.verbs.component_lines",
    ),
    Verb(
        "show",
        "print what an added component asks for, and what you decided of it",
        (_COMPONENT, _SAME),
        run="component.verbs.show",
        lines="component.verbs.show_lines",
    ),
    Verb(
        "diff",
        "print what another version of its package asks for, compared with what was approved",
        (_COMPONENT, _NEWER, _SAME),
        run="component.verbs.diff",
        lines="component.verbs.diff_lines",
    ),
    Verb(
        "update",
        "show that difference, and after a yes run the other version, also in the running host",
        (_COMPONENT, _NEWER, _APPROVE, _ANSWER),
        run="component.verbs.update",
        lines="component.verbs.added_lines",
        unmet="component.verbs.add_unmet",
    ),
    Verb(
        "backup",
        "write the state of a component into a file, while it runs",
        (_COMPONENT, Argument(("file",), "the file to write", "FILE"), _ANSWER),
        run="component.backup.backup",
        lines="component.backup.backup_lines",
    ),
    Verb(
        "restore",
        "put the state of a backup in the place of a component's, and start its process anew",
        (_COMPONENT, Argument(("file",), "a file that `component backup` has written", "FILE"), _ANSWER),
        run="component.backup.restore",
        lines="component.backup.restore_lines",
    ),
    Verb(
        "remove",
        "run a component no more; its state is kept",
        (
            _COMPONENT,
            flag("--purge", text="remove its state and secrets, too"),
            flag("--uninstall", text="uninstall its package, too, unless another component needs it"),
            _ANSWER,
        ),
        run="component.removal.remove",
        lines="component.removal.remove_lines",
    ),
)  # fmt: skip

_SECRET = Argument(("name",), "the secret", "NAME")
_SECRETS = (
    Verb(
        "set",
        "seal a value, typed or from standard input, for one component, and start that anew",
        (_COMPONENT, _SECRET, _ANSWER),
        run="secrets.set_secret",
        lines="secrets.set_lines",
    ),
    Verb(
        "list",
        "list the secrets that components ask for, and which are set; no value is shown",
        (_SAME,),
        run="secrets.list_secrets",
        lines="secrets.list_lines",
    ),
    Verb(
        "remove",
        "remove a value",
        (_COMPONENT, _SECRET, _ANSWER),
        run="secrets.remove_secret",
        lines="secrets.remove_lines",
    ),
)

VERBS = (
    Verb("start", "run in the foreground until SIGTERM, Ctrl-C or `stop`", run="start.start"),
    Verb(
        "status",
        "show every loop of the running supervisor",
        (
            json_flag("the same as one JSON document; with --follow, one a line"),
            flag("--follow", "-f", text="again and again, with what every process uses"),
            _INTERVAL,
        ),
        run="status.status",
        lines="status.status_lines",
    ),
    Verb(
        "top",
        "the same as status --follow, until `q` or Ctrl-C",
        (json_flag("one JSON document a line"), _INTERVAL),
        run="status.follow",
    ),
    Verb(
        "events",
        "print the events of this host, and with --follow new ones",
        (
            _FOLLOW_EVENTS,
            Argument(("--since",), "only events after the one of this number", "SEQ", kind=whole_number, default=0),
            Argument(
                ("--kind",), "only events of this kind, may be repeated", "KIND", is_repeated=True,
                choices=("lifecycle", "session", "security", "health", "program"),
            ),
            json_flag("one JSON object a line"),
            flag("--kinds", text="print every event that there is, with its meaning"),
        ),
        run="events.events",
    ),
    Verb(
        "reload",
        "apply changed profiles and policy while tlsrt runs: all of them, or none",
        (_REPORT,),
        request=Request("reload", timeout_s=_CHANGE_S, refused=EX_CONFIG),
        lines="lifecycle.reload_lines",
        unmet="lifecycle.failed",
    ),
    Verb(
        "sessions",
        "show every session of the running host, and what is revoked",
        (json_flag("everything about them, as one JSON document"),),
        request=Request("sessions"),
        lines="sessions.session_lines",
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
            _REPORT,
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
            _REPORT,
        ),
        request=Request("restore", ("kind", "what")),
        lines="sessions.restored_lines",
    ),
    Verb("component", "add, list, compare, update and remove components of packages", verbs=_COMPONENTS),
    Verb("secret", "set, list and remove the secrets of components", verbs=_SECRETS),
    Verb("certificate", "show and renew the certificate of the server", verbs=_CERTIFICATE),
    Verb("client", "enrol clients while tlsrt runs, list, change, renew and revoke them", verbs=_CLIENTS),
    Verb(
        "lock",
        "lock the host: no session is possible until `unlock`; the lock survives a restart",
        (
            Argument(("--reason",), "why, for `status` and events; no client sees it", "TEXT", default=""),
            _REPORT,
        ),
        request=Request("lock", ("reason",)),
        lines="lock.lock_lines",
        unmet="lock.lock_unmet",
    ),
    Verb(
        "unlock",
        "end the lock, with a new epoch and a fresh Primary; clients reconnect by themselves",
        (_REPORT,),
        request=Request("unlock", timeout_s=_UNLOCK_S),
        lines="lock.unlock_lines",
        unmet="lock.unlock_unmet",
    ),
    Verb("honeypot", "list the decoys of this host, plant canaries, and test their detection", verbs=_HONEYPOT),
    Verb(
        "anomalies",
        "show anomaly scores, detectors, and the responses in force",
        (
            json_flag("the same as one JSON document; with --follow, one event a line"),
            flag("--follow", "-f", text="detections and responses as they come, until Ctrl-C"),
        ),
        run="detection.anomalies",
        lines="detection.anomaly_lines",
    ),
    Verb("quarantine", "list the responses in force, or release a subject before their time", verbs=_QUARANTINE),
    Verb(
        "rotate",
        "begin a new epoch now, with new keys for every loop; with --master also a new master_key",
        (
            flag("--master", text="make another master_key, also for a host that does not run"),
            _REPORT,
        ),
        run="rotate.rotate",
    ),
    Verb(
        "restart",
        "restart one loop, drained, or start one again that was given up",
        (
            Argument(("loop",), "the loop; the strategy of its group decides which others restart with it", "LOOP"),
            _ANSWER,
        ),
        request=Request("restart", ("loop",), timeout_s=_CHANGE_S),
        lines="lifecycle.restart_lines",
        unmet="lifecycle.failed",
    ),
    Verb("stop", "stop the running supervisor in order, and wait until it has ended", run="lifecycle.stop"),
    Verb(
        "init",
        "write a configuration, keys, certificates and an admin bundle; never overwrites",
        (
            Argument(("directory",), "where to write", "DIR", kind=Path),
            Argument(("--host",), "address of the door (127.0.0.1; 0.0.0.0 for all)", "HOST", default="127.0.0.1"),
            Argument(("--port",), "port of the door (7443)", "PORT", kind=whole_number, default=7443),
            _NAMES,
            flag("--strict", text="waive no layer of the sandbox, whatever this host cannot give"),
        ),
        run="setup.init",
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
        ),
        run="setup.seal",
    ),
    Verb("sandbox", "show and explain how a process of this host is confined", verbs=_SANDBOX),
    Verb("audit", "read, verify and export the audit log of this host", verbs=_AUDIT),
    Verb(
        "schema",
        "print the JSON Schema of the configuration, for editors",
        (flag("--manifest", text="that of a manifest of a component"),),
        run="setup.schema",
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
