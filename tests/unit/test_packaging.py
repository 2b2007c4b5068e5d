"""Links for the tools, a mapping for the build, and what comes out: the same files, whichever way."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hosts.installation import CHECKOUT, build_wheel, copy_tracked, installed, run, scratch, tracked, wheel

from tlsrt.channels.cli.verbs import COMMAND as CLIENT
from tlsrt.command_line.completion import script_of
from tlsrt.supervisor.cli.verbs import COMMAND as SUPERVISOR

pytestmark = pytest.mark.once

ROOMS = ("config", "sandbox", "channels", "loops", "supervisor")
# h11, which tlsrt[http] brings; aiortc, which tlsrt[calling] brings;
# zeroconf, which tlsrt[mdns] brings; models, which tlsrt[ai,ai-speech] brings;
# aiosmtplib and IMAPClient, which tlsrt[mail] brings;
# dbus-fast, which tlsrt[dbus] brings; pytest; Textual, which tlsrt[tui] brings; slixmpp, which
# tlsrt[xmpp] brings
NEEDS_MORE = (
    "tlsrt.loops.http.connection", "tlsrt.loops.external.http_exchange", "tlsrt.loops.external.fetch",
    "tlsrt.loops.external.hook_request", "tlsrt.loops.external.hook_server", "tlsrt.loops.external.webhooks_in",
    "tlsrt.loops.external.mail_folder", "tlsrt.loops.external.mail_submission", "tlsrt.loops.external.mail_intake",
    "tlsrt.loops.external.mdns", "tlsrt.loops.external.call_media", "tlsrt.loops.external.call_port",
    "tlsrt.loops.external.call_camera", "tlsrt.loops.external.call_pictures",
    "tlsrt.loops.third.desktop_carrier", "tlsrt.loops.forth.power_bus",
    "tlsrt.bus", "tlsrt.loops.forth.end_lock",
    "tlsrt.loops.external.xmpp_intake", "tlsrt.loops.external.xmpp_login", "tlsrt.loops.external.xmpp_session",
    "tlsrt.loops.external.xmpp_stanza", "tlsrt.loops.external.xmpp_stream",
    "tlsrt.loops.external.broker_link", "tlsrt.loops.external.home_assistant_bridge",
    "tlsrt.testing.plugin", "tlsrt.supervisor.cli.top_screen", "tlsrt.supervisor.cli.top_details",
    "tlsrt.supervisor.cli.top_canvas", "tlsrt.supervisor.cli.top_terminal",
    "tlsrt.loops.models.ask_model", "tlsrt.loops.models.embeddings", "tlsrt.loops.models.file_kinds",
    "tlsrt.loops.models.picture_text",
    "tlsrt.loops.models.minilm", "tlsrt.loops.models.resampling",
    "tlsrt.loops.models.transcription", "tlsrt.loops.models.voice",
)  # fmt: skip


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


def setuptools() -> dict[str, Any]:
    table: dict[str, Any] = project()["tool"]["setuptools"]
    return table


def code() -> set[str]:
    """What must be in the wheel: every tracked file of a room or of tlsrt itself, which are modules and their data."""
    files = {f"tlsrt/{name}" for name in tracked() if name.split("/")[0] in ROOMS}
    return files | {name for name in tracked() if name.startswith("tlsrt/") and not (CHECKOUT / name).is_symlink()}


def contents(path: Path) -> set[str]:
    """Return the code in a wheel."""
    with zipfile.ZipFile(path) as archive:
        return {name for name in archive.namelist() if not name.split("/")[0].endswith((".dist-info", ".data"))}


def test_each_mapped_folder_is_where_its_link_points() -> None:
    mapped = {name: folder for name, folder in setuptools()["package-dir"].items() if name != "tlsrt"}
    assert mapped == {f"tlsrt.{room}": room for room in ROOMS}
    for name, folder in mapped.items():
        link = CHECKOUT / name.replace(".", "/")
        assert link.is_symlink(), f"{link} is no link: was the repository unpacked without links?"
        assert link.resolve() == CHECKOUT / folder
    links = {path.name for path in (CHECKOUT / "tlsrt").iterdir() if path.is_symlink()}
    assert links == set(ROOMS)


def test_every_package_is_listed() -> None:
    packages = {str(Path(name).parent).replace("/", ".") for name in code() if name.endswith(".py")}
    assert packages == set(setuptools()["packages"])
    for package in packages:
        assert (CHECKOUT / package.replace(".", "/") / "__init__.py").is_file()


def test_the_wheel_holds_exactly_the_tracked_code() -> None:
    assert contents(wheel()) == code()
    with zipfile.ZipFile(wheel()) as archive:
        for name in code():
            assert archive.read(name) == (wheel().parents[1] / "clean" / name).read_bytes(), name


def test_the_wheel_says_what_it_needs() -> None:
    with zipfile.ZipFile(wheel()) as archive:
        names = {Path(name).name: name for name in archive.namelist() if ".dist-info/" in name}
        about = Parser().parsestr(archive.read(names["METADATA"]).decode())
        commands = archive.read(names["entry_points.txt"]).decode()
    assert (about["Name"], about["Version"]) == ("tlsrt", project()["project"]["version"])
    assert about["Requires-Python"] == ">=3.11"
    assert about["License-Expression"] == "Apache-2.0" and "LICENSE" in names
    needed = {word.split(">")[0] for word in about.get_all("Requires-Dist", []) if "extra ==" not in word}
    assert needed == {"cryptography", "PyYAML", "pyzmq", "msgpack", "psutil"}
    assert set(commands.split("\n")) >= {
        "tlsrt = tlsrt.entry:client",
        "tlsrt-supervisor = tlsrt.entry:supervisor",
    }


def test_the_version_is_said_once_and_the_same() -> None:
    import tlsrt

    assert tlsrt.__version__ == project()["project"]["version"]


def test_the_wheel_installs_man_pages_and_completion_of_both_commands() -> None:
    with zipfile.ZipFile(wheel()) as archive:
        places = {name.partition(".data/data/share/")[2]: name for name in archive.namelist() if ".data/" in name}
        found = {name: archive.read(place).decode() for name, place in places.items()}
    assert found.keys() == {
        "man/man1/tlsrt.1", "man/man8/tlsrt-supervisor.8",
        "bash-completion/completions/tlsrt", "bash-completion/completions/tlsrt-supervisor",
        "zsh/site-functions/_tlsrt", "zsh/site-functions/_tlsrt-supervisor",
        "fish/vendor_completions.d/tlsrt.fish", "fish/vendor_completions.d/tlsrt-supervisor.fish",
    }  # fmt: skip
    for name, command in (("tlsrt", CLIENT), ("tlsrt-supervisor", SUPERVISOR)):
        assert found[f"bash-completion/completions/{name}"] == script_of("bash", command)
        assert found[f"zsh/site-functions/_{name}"] == script_of("zsh", command)
        assert found[f"fish/vendor_completions.d/{name}.fish"] == script_of("fish", command)
    assert "SH EXIT STATUS" in found["man/man1/tlsrt.1"]


def test_both_commands_run_from_the_wheel() -> None:
    version = project()["project"]["version"]
    assert run(installed().program("tlsrt-supervisor"), "version") == f"tlsrt {version}\n"
    assert run(installed().program("tlsrt"), "--version") == f"tlsrt {version}\n"


def test_every_module_of_the_wheel_imports_there() -> None:
    files = sorted(name.removesuffix(".py") for name in contents(wheel()) if name.endswith(".py"))
    names = [name.removesuffix("/__init__").replace("/", ".") for name in files]
    names = [name for name in names if name not in NEEDS_MORE]
    program = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    assert run(installed().program("python"), "-I", "-W", "error", "-B", "-c", program, *names) == ""


def test_the_sdist_holds_what_the_wheel_needs_the_tests_and_the_documents() -> None:
    source = copy_tracked(scratch() / "sdist")
    program = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    made = scratch() / run(sys.executable, "-c", program, scratch(), cwd=source).splitlines()[-1]
    with tarfile.open(made) as archive:
        if hasattr(tarfile, "data_filter"):  # from 3.11.4 on
            archive.extraction_filter = staticmethod(tarfile.data_filter)
        archive.extractall(scratch() / "unpacked")
    [unpacked] = (scratch() / "unpacked").iterdir()
    inside = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    links = {f"tlsrt/{room}" for room in ROOMS}
    folders = (*ROOMS, "tlsrt", "tests", "docs", "examples", "distribution")
    wanted = {name for name in tracked() if name.split("/")[0] in folders or name.endswith(".md")} - links
    assert wanted | {"LICENSE", "Makefile", "mkdocs.yml", "setup.py"} <= inside
    assert {name for name in inside if name.endswith(".py")} <= wanted | {"setup.py"}
    assert not [name for name in inside if name.startswith("build/")]
    assert contents(build_wheel(unpacked, scratch() / "wheel-of-sdist")) == code()


def test_a_copy_without_links_makes_the_same_wheel() -> None:
    """As a zip of the repository is, unpacked by a program that writes links as text."""
    source = copy_tracked(scratch() / "no-links", links=False)
    assert (source / "tlsrt/config").read_text() == "../config"
    assert contents(build_wheel(source, scratch() / "wheel-of-no-links")) == code()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_importable_by_its_right_name_only(room: str) -> None:
    """From the root of a checkout `import channels` would work too, with a second copy of every class."""
    attempt = subprocess.run([sys.executable, "-c", f"import {room}"], cwd=CHECKOUT, capture_output=True, text=True)
    assert attempt.returncode == 1
    assert f"ImportError: import tlsrt.{room}, not {room}" in attempt.stderr
