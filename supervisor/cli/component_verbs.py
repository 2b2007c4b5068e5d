"""The verbs below `component` and `secret`, as data."""

from __future__ import annotations

from tlsrt.command_line.table import WIDE, Argument, Verb, flag
from tlsrt.supervisor.cli.flags import ANSWER, SAME

_COMPONENT = Argument(("address",), "the component", "LOOP/NAME")
_SOURCE = Argument(
    ("source",),
    "a folder with a pyproject.toml, a wheel, the name of a package, a manifest of a program, or LOOP/NAME of what "
    "`component list --available` lists",
    "PACKAGE",
)  # fmt: skip
_NEWER = Argument(
    ("source",), "the other version: a folder, a wheel or a name (default: what is installed now)", "PACKAGE", nargs="?"
)  # fmt: skip
_APPROVE = flag("--yes", "-y", text="approve what it asks for without being asked")
COMPONENTS = (
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
            Argument(
                ("--option",), "an option of its class, its value as YAML; may be repeated", "NAME=VALUE",
                is_repeated=True,
            ),
            Argument(
                ("--needs",),
                "what takes the place of a need of its manifest, here: devices.line.path=/dev/ttyUSB1; may be repeated",
                "KEY=VALUE", is_repeated=True,
            ),
            Argument(
                ("--allow",),
                "who may call it, 'client/kiosk: [boil]'; may be repeated (default: client/admin all; none: no other)",
                "RULE", is_repeated=True,
            ),
            flag("--isolated", text="with packages of its own, beside those of the environment and of all others"),
            _APPROVE, ANSWER,
        ),
        run="component.verbs.add",
        lines="component.verbs.added_lines",
        unmet="component.verbs.add_unmet",
    ),
    Verb(
        "list",
        "list every component: its state, process, uid, memory, health and package",
        (flag("--available", text="those that are off, what each asks for and which options it needs"), WIDE, SAME),
        run="component.listing.list_components",
        lines="component.listing.component_lines",
    ),
    Verb(
        "show",
        "print what an added component asks for, and what you decided of it",
        (_COMPONENT, SAME),
        run="component.listing.show",
        lines="component.listing.show_lines",
    ),
    Verb(
        "diff",
        "print what another version of its package asks for, compared with what was approved",
        (_COMPONENT, _NEWER, SAME),
        run="component.verbs.diff",
        lines="component.verbs.diff_lines",
    ),
    Verb(
        "update",
        "show that difference, and after a yes run the other version, also in the running host",
        (_COMPONENT, _NEWER, _APPROVE, ANSWER),
        run="component.verbs.update",
        lines="component.verbs.added_lines",
        unmet="component.verbs.add_unmet",
    ),
    Verb(
        "backup",
        "write the state of a component into a file, while it runs",
        (_COMPONENT, Argument(("file",), "the file to write", "FILE"), ANSWER),
        run="component.backup.backup",
        lines="component.backup.backup_lines",
    ),
    Verb(
        "restore",
        "put the state of a backup in the place of a component's, and start its process anew",
        (_COMPONENT, Argument(("file",), "a file that `component backup` has written", "FILE"), ANSWER),
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
            flag("--yes", "-y", text="taken as `component add` takes it; it asks nothing"),
            ANSWER,
        ),
        run="component.removal.remove",
        lines="component.removal.remove_lines",
    ),
)  # fmt: skip

_SECRET = Argument(("name",), "the secret", "NAME")
SECRETS = (
    Verb(
        "set",
        "seal a value, typed or from standard input, for one component, and start that anew",
        (_COMPONENT, _SECRET, ANSWER),
        run="secrets.set_secret",
        lines="secrets.set_lines",
    ),
    Verb(
        "make",
        "seal a new random value of 32 bytes, which is not shown, for one component, and start that anew",
        (
            _COMPONENT,
            _SECRET,
            flag("--replace", text="in the place of one that is set, which is lost, and all that was sealed under it"),
            ANSWER,
        ),
        run="secrets.make_secret",
        lines="secrets.set_lines",
    ),
    Verb(
        "list",
        "list the secrets that components ask for, and which are set; no value is shown",
        (WIDE, SAME),
        run="secrets.list_secrets",
        lines="secrets.list_lines",
    ),
    Verb(
        "remove",
        "remove a value",
        (_COMPONENT, _SECRET, ANSWER),
        run="secrets.remove_secret",
        lines="secrets.remove_lines",
    ),
)
