"""What a newcomer types, on a Debian 13 with nothing but what is named: `make test-newcomer`. Needs PyPI and root.

The two commands of the README with the packages that it names, and the wheel by pipx and by uv.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hosts.debian_root import debian_root, packages_of_readme
from hosts.installation import CHECKOUT, copy_tracked, scratch

SCRIPT = Path(__file__).with_name("newcomer.sh")
PLACE = "root/tlsrt"
START = """
cd /root/tlsrt
make start >/tmp/console 2>&1 & job=$!
until grep -q '^ready ' /tmp/console; do kill -0 $job || { cat /tmp/console; exit 1; }; sleep 0.1; done
export PATH="$PWD/.venv/bin:$PATH" TLSRT_CONFIG="$PWD/var/tlsrt.yaml"
tlsrt-supervisor status
tlsrt call primary/kernel uname
tlsrt-supervisor stop
wait $job
"""
TESTS = "tests/unit/channels tests/integration/test_exchange.py tests/integration/test_enrolment.py"


def inside(root: Path, *words: str, limit_s: float = 400) -> str:
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", str(SCRIPT), str(root), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout[-4000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def root() -> Path:
    """A root with what the README names for Debian."""
    folder = debian_root(packages_of_readme())
    copy_tracked(folder / PLACE)
    return folder


@pytest.fixture(scope="module")
def wheel() -> Path:
    subprocess.run([sys.executable, "distribution/dist.py", scratch() / "dist"], cwd=CHECKOUT, check=True, timeout=300)
    [made] = (scratch() / "dist").glob("*.whl")
    return made


def test_make_start_starts_a_host_that_answers(root: Path) -> None:
    said = inside(root, "sh", "-ec", START)
    assert "release" in said


def test_make_test_runs_tests(root: Path) -> None:
    """Not all of them, which take ten minutes and are what CI runs anyway."""
    said = inside(root, "make", "-C", f"/{PLACE}", "test", f"TESTS={TESTS}", "WORKERS=1")
    assert re.search(r"^[1-9]\d* passed, 0 failed$", said, re.M), said[-2000:]


@pytest.mark.parametrize("tool", ["pipx", "uv"])
def test_a_tool_installs_the_wheel_and_both_commands_run(tool: str, wheel: Path, root: Path) -> None:
    place = root / "root" / wheel.name
    place.write_bytes(wheel.read_bytes())
    home = f"/root/{tool}"
    install = f"env/bin/{'uv tool' if tool == 'uv' else 'pipx'} install"
    said = inside(
        root, "sh", "-ec",
        f"mkdir {home}; cd {home}; export HOME={home}; python3 -m venv env; env/bin/pip install -q {tool}; "
        f"{install} '/root/{wheel.name}[http]' >&2; "
        "for name in tlsrt tlsrt-supervisor; do .local/bin/$name --version; done; "
        f"find {home} -name 'tlsrt*.[18]'",
    )  # fmt: skip
    lines = said.splitlines()
    assert lines[0] == lines[1] and lines[0].startswith("tlsrt ")
    pages = {Path(line).name for line in lines[2:]}
    assert pages == {"tlsrt.1", "tlsrt-supervisor.8"}, said
    if tool == "pipx":
        assert "/root/pipx/.local/share/man/man1/tlsrt.1" in lines
