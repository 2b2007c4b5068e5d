"""A signed upgrade of a whole host under a real systemd while clients go on calling, and attacks on it."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pip
import pytest
from hosts.booted_systemd import BootedSystemd, booted
from hosts.calling_clients import calling
from hosts.installation import VERSION, wheel

pytestmark = pytest.mark.once

LIVE = Path("/opt/live")  # an environment that this machine may change
SITE = LIVE / f"lib/{VERSION}/site-packages"
SUPERVISOR = LIVE / "bin/tlsrt-supervisor"
CONFIG = "/etc/tlsrt/tlsrt.yaml"


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[BootedSystemd]:
    yield from booted(request, binds={Path(pip.__file__).parent: Path("/opt/pip")})


def released(version: str) -> bytes:
    """The wheel of this checkout, as if it were of another version."""
    made = io.BytesIO()
    with zipfile.ZipFile(wheel()) as archive, zipfile.ZipFile(made, "w") as target:
        for member in archive.infolist():
            data = archive.read(member)
            if member.filename == "tlsrt/__init__.py":
                data = data.replace(b'__version__ = "0.1.0"', f'__version__ = "{version}"'.encode())
            elif member.filename.endswith(".dist-info/METADATA"):
                data = data.replace(b"\nVersion: 0.1.0\n", f"\nVersion: {version}\n".encode())
            elif member.filename.endswith(".dist-info/RECORD"):
                data = re.sub(rb"(?m)^(tlsrt/__init__\.py|[^,]*METADATA),.*$", rb"\1,,", data).replace(
                    b"tlsrt-0.1.0.dist-info", f"tlsrt-{version}.dist-info".encode()
                )
            target.writestr(member.filename.replace("tlsrt-0.1.0.dist-info", f"tlsrt-{version}.dist-info"), data)
    return made.getvalue()


def place(version: str) -> str:
    return f"/root/tlsrt-{version}-py3-none-any.whl"


def call(machine: BootedSystemd) -> str:
    return machine.do("tlsrt", "--bundle", "/etc/tlsrt/admin.tlsrt", "call", "primary/kernel", "uname")


def refused(machine: BootedSystemd, *words: str) -> str:
    done = machine.run(SUPERVISOR, *words)
    assert done.returncode != 0, done.stdout
    return done.stderr


def test_a_host_whose_publisher_is_pinned_starts(machine: BootedSystemd) -> None:
    machine.do("cp", "-a", "/opt/tlsrt/env", LIVE)
    machine.do(
        "sed", "-i", f"s#/opt/tlsrt/env/bin/python#{LIVE}/bin/python#; s#'tlsrt-supervisor'#'{SUPERVISOR}'#", SUPERVISOR
    )
    machine.do("ln", "-s", "/opt/pip", SITE / "pip")
    public = machine.do(SUPERVISOR, "release", "key", "/root/sign.pem").strip()
    machine.do(SUPERVISOR, "release", "key", "/root/stranger.pem")
    for version in ("0.2.0", "0.1.9"):
        machine.write(place(version), released(version))
        machine.do(SUPERVISOR, "release", "sign", "/root/sign.pem", place(version), "--embed")
    machine.do(SUPERVISOR, "init", "--system")
    machine.write(CONFIG, machine.path(CONFIG).read_text() + f'publishers: {{tlsrt: ["{public}"]}}\n')
    assert "sealed" in machine.do(SUPERVISOR, "seal")
    machine.do(SUPERVISOR, "install", "--now")
    assert call(machine)


def test_a_restart_and_an_upgrade_lose_no_call_that_can_be_repeated(machine: BootedSystemd) -> None:
    with calling(machine, "/opt/tlsrt/env/bin/python") as clients:
        machine.systemctl("restart", "tlsrt")
        said = machine.do(SUPERVISOR, "upgrade", place("0.2.0"))
        assert "tlsrt 0.1.0 -> 0.2.0" in said and "files as signed by" in said
        machine.systemctl("restart", "tlsrt")
        assert call(machine)
        clients.end_all_answered(least=20)
    assert machine.do(SUPERVISOR, "version") == "tlsrt 0.2.0\n"


def test_a_downgrade_takes_a_word_and_nothing_is_installed_without_it(machine: BootedSystemd) -> None:
    assert "tlsrt 0.1.9 is older than 0.2.0, which this host has run" in refused(machine, "upgrade", place("0.1.9"))
    assert machine.do(SUPERVISOR, "version") == "tlsrt 0.2.0\n"


def test_a_wheel_that_a_stranger_has_signed_or_changed_is_not_installed(machine: BootedSystemd) -> None:
    machine.write(place("0.3.0"), released("0.3.0"))
    machine.do(SUPERVISOR, "release", "sign", "/root/stranger.pem", place("0.3.0"), "--embed")
    assert "which is not pinned for tlsrt" in refused(machine, "upgrade", place("0.3.0"))
    machine.do(SUPERVISOR, "release", "sign", "/root/sign.pem", place("0.3.0"), "--embed")
    with zipfile.ZipFile(machine.path(place("0.3.0")), "a") as archive:
        archive.writestr("tlsrt/evil.py", b"")
    assert "new tlsrt/evil.py; nothing was done" in refused(machine, "upgrade", place("0.3.0"))
    assert machine.do(SUPERVISOR, "version") == "tlsrt 0.2.0\n"


def test_a_swapped_file_neither_starts_nor_is_sealed(machine: BootedSystemd) -> None:
    path = machine.path(SITE / "tlsrt/errors.py")
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    assert "changed tlsrt/errors.py" in refused(machine, "seal", "--accept", "tlsrt==0.2.0")
    assert "run `tlsrt-supervisor seal --accept tlsrt==0.2.0`" in refused(machine, "seal")
    path.write_bytes(before)
    assert "tlsrt 0.2.0, " in machine.do(SUPERVISOR, "seal", "--accept", "tlsrt==0.2.0")


def test_an_upgrade_that_is_killed_half_way_starts_nothing_and_is_done_again(machine: BootedSystemd) -> None:
    machine.write(place("0.3.0"), released("0.3.0"))
    machine.do(SUPERVISOR, "release", "sign", "/root/sign.pem", place("0.3.0"), "--embed")
    init = SITE / "tlsrt/__init__.py"
    begun = f"while grep -qs 0.2.0 {init}; do :; done"
    killer = f"{begun}; pkill -KILL -f '[u]pgrade /root/'; pkill -KILL -f '[p]ip --disable'"
    with machine.popen("sh", "-c", killer) as kill:
        assert machine.run(SUPERVISOR, "upgrade", place("0.3.0")).returncode != 0
        assert kill.wait(20) == 0, "pip was not there to be killed"
    assert call(machine), "the host that runs goes on"
    assert machine.run(SUPERVISOR, "start").returncode != 0
    pip_words = ("install", "--quiet", "--no-index", "--no-deps", "--force-reinstall", "--no-compile")
    machine.do(LIVE / "bin/python", "-m", "pip", *pip_words, place("0.3.0"))
    assert "0.3.0, " in machine.do(SUPERVISOR, "seal", "--accept", "tlsrt==0.3.0")
    machine.systemctl("restart", "tlsrt")
    assert call(machine)
