"""The verbs of `tlsrt`, as data: see tlsrt/command_line/table.py."""

from __future__ import annotations

from tlsrt.command_line.table import (
    HELP,
    WIDE,
    Argument,
    Command,
    Verb,
    completion_verb,
    flag,
    json_flag,
    seconds,
    whole_number,
)
from tlsrt.errors import exit_codes_text

_EPILOG = f"""\
examples:
  tlsrt describe
  tlsrt call primary/kernel uname
  tlsrt call secondary/store put greeting hello ttl_s=60
  tlsrt call secondary/store get greeting --json
  tlsrt call third/kettle boil 80 --at "30 6 * * *"
  tlsrt put photo.jpg third/io
  tlsrt get third/io/photo.jpg copy.jpg
  tlsrt send client/anna 'dinner is ready'
  tlsrt events --follow --kind security
  tlsrt export pem

The bundle is --bundle or that of --context, else $TLSRT_BUNDLE, that of $TLSRT_CONTEXT or of the context in use
(`tlsrt context use`), ./var/admin.tlsrt, or client.tlsrt or admin.tlsrt in the user's
configuration folder. `enroll` writes --bundle, or client.tlsrt there.
A method that takes data reads it from standard input; an ARG that is bytes may be @FILE. `tlsrt help VERB` tells more.

{exit_codes_text()}
"""

_COMMON = (
    Argument(("--bundle",), "the client bundle", "FILE"),
    Argument(("--context",), "the host, by its name of `tlsrt context`", "NAME"),
    Argument(("--address",), "the host, instead of the bundle's", "HOST:PORT"),
    Argument(
        ("--timeout",), "seconds to wait for an answer, or for the next byte of a transfer (30; at most 300)", "S",
        kind=seconds(0.001, 300), default=30.0,
    ),
    json_flag("print JSON; bytes as base64"),
    Argument(
        ("--wait-locked",), "if the host is locked, wait so many seconds for its unlock (inf: for ever)", "S",
        kind=seconds(0, float("inf")), default=0.0,
    ),
)  # fmt: skip

_CONTEXT = Argument(("name",), "the name of a host", "NAME")
_CONTEXTS = (
    Verb(
        "add",
        "name a host by its bundle, and with --address by another address; the first one is in use at once",
        (_CONTEXT, Argument(("file",), "the bundle of a client of that host", "BUNDLE")),
        run="contexts.add",
        lines="contexts.context_lines",
    ),
    Verb(
        "list",
        "list the hosts that have names; * marks the one in use",
        (WIDE,),
        run="contexts.list_contexts",
        lines="contexts.context_lines",
    ),
    Verb(
        "use",
        "have commands that name no host speak to this one",
        (_CONTEXT,),
        run="contexts.use",
        lines="contexts.context_lines",
    ),
    Verb(
        "remove",
        "forget a name; its bundle stays",
        (_CONTEXT,),
        run="contexts.remove",
        lines="contexts.context_lines",
    ),
)

_NAMESPACE = Argument(("--namespace",), "another one than your own", "NAMESPACE", default="")
_SEARCHES = (
    Verb(
        "add",
        "add text files to a namespace, in place of what was there under their names: FILE...; a folder adds all in it",
        (
            Argument(("files",), "a file or folder here, or with --host third/files/TREE/PATH", "FILE", nargs="*"),
            flag("--host", text="FILE is one of the host, as this client may read it"),
            flag("--messages", text="add the messages of this client"),
            _NAMESPACE,
        ),
        run="searches.add",
        lines="searches.search_lines",
    ),
    Verb(
        "find",
        "find the passages whose meaning is nearest to a text",
        (
            Argument(("text",), "what is looked for", "TEXT", nargs="+"),
            Argument(("--limit",), "how many passages (5)", "N", kind=whole_number, default=5),
            _NAMESPACE,
        ),
        run="searches.find",
        lines="searches.search_lines",
    ),
    Verb("list", "list what was added", (_NAMESPACE, WIDE), run="searches.list_sources", lines="searches.search_lines"),
    Verb(
        "remove",
        "remove what was added, by its names",
        (Argument(("names",), "a name, as `search list` has it", "NAME", nargs="+"), _NAMESPACE),
        run="searches.remove",
        lines="searches.search_lines",
    ),
)

VERBS = (
    Verb(
        "call",
        "call a method: TARGET METHOD [ARG...]; an ARG is JSON or a plain word, or NAME=VALUE",
        (
            Argument(("target",), "a component, such as secondary/store", "TARGET"),
            Argument(("method",), "one of its methods, as `describe` lists them", "METHOD"),
            Argument(("words",), "its arguments", "ARG", nargs="*"),
            Argument(
                ("--at",), "call it then, as a job: '30 6 * * *' (cron), or 2026-12-01T06:30:00+01:00; prints its id",
                "TIME", default="",
            ),
            Argument(("--in",), "call it after so long, as a job: 90s, 10m, 2h or 7d", "TIME", default=""),
            Argument(("--every",), "call it again and again, as a job: 10m, 2h or 7d apart", "TIME", default=""),
            Argument(
                ("--missed",),
                "of a job: a time that the host was off is made up for once, skipped, or made up for if it is no later "
                "than a duration (once)",
                "once|skip|TIME", default="once",
            ),
            Argument(("--jitter",), "of a job: delay it by chance, by up to so much", "TIME", default=""),
            flag("--keep-result", text="of a job: keep its last result for `jobs show`, sealed for this client"),
            Argument(
                ("--traceparent",), "the trace that it belongs to, as W3C Trace Context writes it", "TRACE", default=""
            ),
        ),
        run="calls.call",
        is_raw=True,
    ),
    Verb(
        "jobs",
        "list the calls that this client has put off; or one of them: jobs show|remove|pause|resume ID",
        (
            Argument(("what",), "list (default), show, remove, pause or resume", "WHAT", nargs="?"),
            Argument(("job",), "the id of a job, or the first digits of it", "ID", nargs="?"),
            WIDE,
        ),
        run="jobs.jobs",
        lines="jobs.job_lines",
    ),
    Verb(
        "describe",
        "list the components, methods, parameter types and docs that this client may use: [TARGET]",
        (Argument(("target",), "a component; without one, all", "TARGET", nargs="?"),),
        run="calls.describe",
        lines="calls.describe_lines",
    ),
    Verb(
        "ask",
        "ask the host's language model: QUESTION...; a tool that it wants is called with your rights, if you say yes",
        (
            Argument(("question",), "the question", "QUESTION", nargs="+"),
            Argument(
                ("--tool",), "a method that the model may want, may be repeated", "LOOP/NAME.METHOD", is_repeated=True
            ),
            Argument(
                ("--source",), "a text file that the answer may stand on (-: standard input), may be repeated", "FILE",
                is_repeated=True,
            ),
            Argument(
                ("--search",), "find passages in this namespace of secondary/search (.: your own), may be repeated",
                "NAMESPACE", is_repeated=True,
            ),
            Argument(
                ("--files",), "find passages in this tree of third/files that is indexed, may be repeated", "TREE",
                is_repeated=True,
            ),
            Argument(
                ("--store",), "find passages in this namespace of secondary/store that is indexed (.: without a name), "
                "may be repeated", "NAMESPACE", is_repeated=True,
            ),
            flag("--messages", text="find passages in your messages"),
            Argument(
                ("--logs",), "find lines of the host's logs of a time: today, yesterday, 2h, FROM..TO",
                "PERIOD", default="",
            ),
            Argument(("--audit",), "the same of the host's audit log", "PERIOD", default=""),
            Argument(
                ("--passages",), "how many passages of 400 characters of each place (5)", "N", kind=whole_number,
                default=5,
            ),
            flag("--yes", "-y", text="call the tools that --tool names without asking"),
            Argument(("--tokens",), "the most of one answer (256)", "N", kind=whole_number, default=256),
            Argument(("--target",), "the component that answers (secondary/ask)", "TARGET", default="secondary/ask"),
        ),
        run="ask.ask",
    ),
    Verb("search", "search texts by meaning, and add those that are to be found", verbs=_SEARCHES),
    Verb(
        "put",
        "send a file: FILE PLACE...; a PLACE is LOOP/COMPONENT[/NAME], such as third/io or third/io/photo.jpg",
        (
            Argument(("file",), "the file to send", "FILE"),
            Argument(("places",), "LOOP/COMPONENT, or LOOP/COMPONENT/NAME", "PLACE", nargs="+"),
        ),
        run="files.put",
    ),
    Verb(
        "get",
        "fetch a file: PLACE [FILE]; or several into a folder: PLACE... FOLDER",
        (
            Argument(("place",), "LOOP/COMPONENT/NAME", "PLACE"),
            Argument(("words",), "where to write it (its own name, here)", "FILE", nargs="*"),
        ),
        run="files.get",
    ),
    Verb(
        "send",
        "send a message: TO [TEXT]; TO is client/NAME, a component, group/NAME, or client/NAME@HOST of another host",
        (
            Argument(("to",), "who it is for", "TO"),
            Argument(("text",), "the text; `-` reads standard input", "TEXT", nargs="?"),
            Argument(("--attach",), "a file to send with it, may be repeated", "FILE", is_repeated=True),
            Argument(("--topic",), "what it is about, such as house.door", "TOPIC"),
            Argument(
                ("--expires",), "how long it is worth delivering: 90s, 10m, 2h or 7d (7d)", "TIME",
                kind=seconds(1, 366 * 86_400),
            ),
            Argument(("--priority",), "0 to 9, 9 goes first (4)", "N", kind=whole_number),
            Argument(("--reply-to",), "the id of the message that it answers", "ID"),
        ),
        run="messages.send",
        lines="messages.send_lines",
    ),
    Verb(
        "inbox",
        "list the messages of this client; or inbox read ID, or inbox acknowledge ID of one or more",
        (
            Argument(("what",), "list (default), read or acknowledge", "WHAT", nargs="?"),
            Argument(("ids",), "the id of a message, or its first digits", "ID", nargs="*"),
            flag("--follow", "-f", text="show every message, and go on with those that come, until Ctrl-C"),
            Argument(("--save",), "of read: write its files into this folder", "FOLDER"),
            WIDE,
        ),
        run="messages.inbox",
        lines="messages.inbox_lines",
    ),
    Verb(
        "outbox",
        "list messages that wait for other hosts or were given up; or outbox retry|drop ID of one or more",
        (
            Argument(("what",), "list (default), retry or drop", "WHAT", nargs="?"),
            Argument(("ids",), "the id of a message, or its first digits", "ID", nargs="*"),
            WIDE,
        ),
        run="messages.outbox",
        lines="messages.outbox_lines",
    ),
    Verb(
        "events",
        "print the events of the host, and with --follow new ones; policy says who may subscribe",
        (
            flag("--follow", "-f", text="go on with every new event, until Ctrl-C"),
            Argument(("--since",), "only events after the one of this number", "SEQ", kind=whole_number, default=0),
            Argument(
                ("--kind",), "only events of this kind, may be repeated", "KIND", is_repeated=True,
                choices=("lifecycle", "session", "security", "health", "program"),
            ),
        ),
        run="events.events",
    ),
    Verb(
        "lock",
        "lock the host: no client has a session until it is unlocked; needs the right `lock`",
        (Argument(("--reason",), "why, for the host's operators (200 characters)", "TEXT", default=""),),
        run="lock.lock",
        lines="lock.lock_lines",
    ),
    Verb(
        "unlock",
        "unlock the host, and wait until it serves again; needs the right `unlock`",
        run="lock.unlock",
        lines="lock.lock_lines",
    ),
    Verb(
        "whoami",
        "show this client's name at the host, its session and its rights",
        run="calls.whoami",
        lines="calls.whoami_lines",
    ),
    Verb(
        "enroll",
        "enroll as a client of a host: HOST:PORT CODE; the code comes from `tlsrt-supervisor client add`",
        (
            Argument(("where",), "the host's door", "HOST:PORT"),
            Argument(("code",), "the join code: good for 10 minutes, and once", "CODE"),
            Argument(
                ("--server-name",), "the name in the host's certificate, if it is not HOST", "NAME", default=""
            ),
        ),
        run="enrolment.enroll",
        lines="enrolment.enroll_lines",
    ),
    Verb(
        "export",
        "write this client's certificate, key and CA as files into a new FOLDER, for curl and browsers",
        (
            Argument(("folder",), "where to write them; it must not exist yet", "FOLDER"),
            flag("--p12", text="write client.p12 as well, which browsers import, and print its password"),
        ),
        run="enrolment.export",
        lines="enrolment.export_lines",
    ),
    Verb("context", "name several hosts, and choose the one that commands speak to", verbs=_CONTEXTS),
    Verb(
        "renew",
        "renew this client's certificate, over a session of its own; then the old one ends",
        run="enrolment.renew",
        lines="enrolment.renew_lines",
    ),
    completion_verb("tlsrt"),
    HELP,
)  # fmt: skip

COMMAND = Command("tlsrt", "tlsrt.channels.cli", "Talk to a running tlsrt host.", _COMMON, VERBS, _EPILOG)
