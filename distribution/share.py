"""Files that every package installs below share/: man pages and completion, made of the tables of verbs.

    python3 distribution/share.py FOLDER

Runs in a bare interpreter, in any copy of the repository, also in one without links: `setup.py` calls it at each build.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"tlsrt": 1, "tlsrt-supervisor": 8}  # the section of each command's manual page


def use_rooms() -> None:
    """Make `tlsrt` importable from here: the rooms lie beside the package, whether the links are there or not."""
    sys.path.insert(0, str(ROOT))
    import tlsrt

    tlsrt.__path__.append(str(ROOT))


def share_files() -> dict[str, str]:
    """Return every file by its path below share/."""
    use_rooms()
    from tlsrt import __version__
    from tlsrt.channels.cli.verbs import COMMAND as CLIENT
    from tlsrt.command_line.completion import script_of
    from tlsrt.command_line.man import man_page
    from tlsrt.supervisor.cli.verbs import COMMAND as SUPERVISOR

    files: dict[str, str] = {}
    for command in (CLIENT, SUPERVISOR):
        name, section = command.program, PAGES[command.program]
        others = [f"{other}({number})" for other, number in PAGES.items() if other != name]
        files[f"man/man{section}/{name}.{section}"] = man_page(command, section, __version__, others)
        files[f"bash-completion/completions/{name}"] = script_of("bash", command)
        files[f"zsh/site-functions/_{name}"] = script_of("zsh", command)
        files[f"fish/vendor_completions.d/{name}.fish"] = script_of("fish", command)
    return files


def write(folder: Path) -> list[Path]:
    """Write them below a folder, each only if it differs; return their paths below it."""
    made: list[Path] = []
    for name, text in share_files().items():
        path = folder / name
        made.append(Path(name))
        if not path.is_file() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return made


if __name__ == "__main__":
    write(Path(sys.argv[1]))
