"""The verbs below a noun, such as `client add`, as data; those of components are in `component_verbs.py`."""

from __future__ import annotations

from pathlib import Path

from tlsrt.command_line.table import WIDE, Argument, Request, Verb, flag, json_flag, whole_number
from tlsrt.supervisor.cli.flags import ANSWER, SAME

_TEST_S = 15.0  # the supervisor answers in six

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
CONSOLE = (
    Argument(("name",), "the name of the client that the browser becomes (one of its own)", "NAME", nargs="?"),
    _ALLOW._replace(text="a policy line, what it may call, beside its role; may be repeated"),
    Argument(("--role",), "what it may call: viewer looks (without --allow), operator also acts", "ROLE",
             choices=("viewer", "operator")),
    flag("--enable", text="switch the console on, and add the services of the role, without being asked"),
    flag("--wait", text="wait, and say who has used the link (at a terminal always)"),
    flag("--check", text="make no link: compare the page at the door with the one that is installed"),
    _TTL, _ADDRESS, ANSWER,
)  # fmt: skip
CLIENTS = (
    Verb(
        "add",
        "enrol a client: print a join code, or write a bundle",
        (
            _CLIENT, _ALLOW, _TTL,
            flag("--http", text="it may use HTTP; Primary then holds its keys"), _ADDRESS, _BUNDLE, ANSWER,
        ),
        run="clients.add",
        lines="clients.added_lines",
    ),
    Verb(
        "list",
        "list every client: its state, sessions, certificate and rights",
        (WIDE, ANSWER),
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
            ANSWER,
        ),
        run="clients.set_rights",
        lines="clients.set_lines",
        unmet="sessions.not_persisted",
    ),
    Verb(
        "renew",
        "give a client another certificate, by a join code or a bundle",
        (_CLIENT, _TTL, _ADDRESS, _BUNDLE, ANSWER),
        run="clients.renew",
        lines="clients.added_lines",
    ),
    Verb(
        "revoke",
        "revoke a client and its certificates for good",
        (_CLIENT, ANSWER),
        run="clients.revoke",
        lines="clients.revoke_lines",
        unmet="sessions.not_persisted",
    ),
)  # fmt: skip

NAMES = Argument(
    ("--name",),
    "a name or address by which clients reach this host, such as kettle.local; may be repeated", "NAME",
    is_repeated=True,
)  # fmt: skip

_HOST = Argument(("host",), "a name or an address of this host", "NAME")
_OWN = flag("--own", text="the certificate of the door's files, also where a CA is configured")

CERTIFICATE = (
    Verb(
        "show",
        "print the server's certificates: what they name, who issued them, how old they are, and when they end",
        (SAME,),
        run="certificate.show",
        lines="certificate.show_lines",
    ),
    Verb(
        "add",
        "have the certificate name one host more: order it of the CA of `acme`, or have the development CA issue it",
        (_HOST, _OWN, ANSWER),
        run="certificate.add",
        lines="certificate.renew_lines",
    ),
    Verb(
        "remove",
        "have the certificate name one host less, in the same way",
        (_HOST, _OWN, ANSWER),
        run="certificate.remove",
        lines="certificate.renew_lines",
    ),
    Verb(
        "renew",
        "order another certificate of the CA of `acme` now, or have the development CA issue one for the same key",
        (
            _OWN,
            NAMES,
            Argument(("--drop",), "a name that it shall not have any more; may be repeated", "NAME", is_repeated=True),
            ANSWER,
        ),
        run="certificate.renew",
        lines="certificate.renew_lines",
    ),
    Verb(
        "replace-ca",
        "make another CA in the place of one whose key is lost; clients that know the former one go on",
        (
            flag("--distrust", text="the key may be stolen: believe nothing of the former CA any more"),
            flag("--finish", text="once each client has a new bundle: drop the former CA"),
            flag("--yes", "-y", text="do it without being asked"),
            ANSWER,
        ),
        run="replace_ca.replace_ca",
        lines="replace_ca.lines",
    ),
)  # fmt: skip

BACKUP = (
    Verb(
        "create",
        "write configuration, components' files and all state into a new file, while the host runs",
        (
            Argument(("file",), "the file to write, or a folder for a file with the time in its name", "FILE"),
            Argument(("--with-keys",), "write the keys, too, into this other file, to be kept elsewhere", "KEYS"),
            ANSWER,
        ),
        run="backup.create.create",
        lines="backup.create.create_lines",
    ),
    Verb(
        "verify",
        "say whether a backup is whole, and whether it was written with the master_key of this host",
        (Argument(("file",), "a file that `backup create` has written", "FILE"), ANSWER),
        run="backup.create.verify",
        lines="backup.create.verify_lines",
    ),
    Verb(
        "restore",
        "make a host of a backup, whole or not at all, at the place that --config names",
        (
            Argument(("file",), "a file that `backup create` has written", "FILE"),
            Argument(("--keys",), "the keys of that host, as `--with-keys` has written them", "KEYS"),
            flag(
                "--force",
                text="in the place of a host that does not run, or of files, which are kept beside; and outside of it",
            ),
            ANSWER,
        ),
        run="backup.restore.restore",
        lines="backup.restore.restore_lines",
    ),
)

POLICY = (
    Verb(
        "graph",
        "print who may call whom by the configuration, all lines that hold",
        (
            flag("--dot", text="as a picture: policy graph --dot | dot -Tsvg > policy.svg"),
            Argument(
                ("--used",),
                "with what was called, as `tlsrt call primary/events called --json` says it; - is stdin",
                "FILE",
            ),
            WIDE,
        ),
        run="policy.graph",
    ),
)

HONEYPOT = (
    Verb("list", "list the decoys of this host", (ANSWER,), run="honeypot.decoys", lines="honeypot.decoy_lines"),
    Verb(
        "plant",
        "write a canary into a new file",
        (
            Argument(("kind",), "what to plant", "KIND", choices=("token", "client", "file")),
            Argument(("path",), "a new file, of mode 0600", "FILE", kind=Path),
            Argument(("--number",), "which one of 16 (0)", "N", kind=whole_number, default=0),
            Argument(("--name",), "the canary client's name (operator)", "NAME", default="operator"),
            ANSWER,
        ),
        run="honeypot.plant",
        lines="honeypot.plant_lines",
    ),
    Verb(
        "test",
        "access a decoy and a canary file, and check that both are detected",
        (ANSWER,),
        request=Request("honeypot_test", timeout_s=_TEST_S),
        lines="honeypot.test_lines",
        unmet="honeypot.test_unmet",
    ),
)

QUARANTINE = (
    Verb("list", "list the responses in force", (WIDE, SAME), run="detection.quarantine"),
    Verb(
        "release",
        "end the responses against a subject before their time",
        (Argument(("name",), "LOOP/NAME, a client, a loop or an address", "NAME"), SAME),
        request=Request("release", ("name",)),
        lines="detection.released_lines",
    ),
)

_PROCESS = Argument(("process",), "a loop, or authority", "LOOP")
SANDBOX = (
    Verb(
        "check",
        "try every layer of the sandbox on this host: which hold, which do not, why, and what to do",
        (SAME,),
        run="sandbox.check",
    ),
    Verb(
        "show",
        "print what one process may see and use, with the reason for every line",
        (_PROCESS, SAME),
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
            SAME,
        ),
        run="sandbox.explain",
    ),
)  # fmt: skip

_FOLDER = Argument(
    ("--folder",), "a folder with the log's files, such as a copy of one (default: that of the configuration)", "DIR",
    kind=Path,
)  # fmt: skip
AUDIT = (
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
        is_raw=True,
    ),
    Verb(
        "show",
        "print all that is known of one record",
        (_FOLDER, Argument(("sequence",), "its sequence number", "SEQ", kind=whole_number)),
        run="audit.show",
        is_raw=True,
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
            SAME,
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
        is_raw=True,
    ),
    Verb("key", "print the public key that verifies the log elsewhere", (_FOLDER,), run="audit.key"),
)  # fmt: skip
