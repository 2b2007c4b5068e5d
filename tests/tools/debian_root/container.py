"""The Containerfile, built and run by podman: `make test-container`.

The base is a clean root of Debian 13 in place of an image that is fetched; the packages that the Containerfile asks for
come from the mirror of Debian. Each container has no capability, no new privileges, a read-only root and no network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hosts.debian_root import debian_archive
from hosts.installation import CHECKOUT, copy_tracked, scratch

OPTIONS = CHECKOUT / "distribution/container/options"
PROFILE = CHECKOUT / "distribution/container/seccomp.json"
COMPOSE = CHECKOUT / "distribution/container/compose.yaml"
# An engine lets root raise the limits that it sets: not here.
LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=1024:1024")
LIMIT_S = 60
# What the sandbox of tlsrt consists of; Docker's own profile refuses it to who has not CAP_SYS_ADMIN.
REFUSED = {"unshare", "mount", "umount2", "pivot_root", "open_tree", "move_mount", "fsopen", "fsmount", "mount_setattr"}


def podman(*words: str | Path, limit_s: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
    return run("podman", *words, limit_s=limit_s)


def run(program: str, *words: str | Path, limit_s: float) -> subprocess.CompletedProcess[str]:
    """Run a program where control groups are of version 2 alone, in a mount namespace of its own."""
    place = scratch() / "containers"
    place.mkdir(exist_ok=True)
    settings = place / "storage.conf"
    settings.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{place}/graph"\nrunroot = "{place}/run"\n')
    script = (
        "mount --make-rprivate /; if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then umount -R -l /sys/fs/cgroup; "
        'mount -t cgroup2 cgroup2 /sys/fs/cgroup; fi; exec "$@"'
    )
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", program, *map(str, words)], capture_output=True, text=True,
        timeout=limit_s, check=False, env={**os.environ, "CONTAINERS_STORAGE_CONF": str(settings)},
    )  # fmt: skip


def do(*words: str | Path, limit_s: float = LIMIT_S) -> str:
    done = podman(*words, limit_s=limit_s)
    assert done.returncode == 0, f"podman {words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def image() -> str:
    source = copy_tracked(scratch() / "sources")
    subprocess.run([sys.executable, "distribution/deb.py", "dist"], cwd=source, check=True, timeout=300)
    do("import", debian_archive(["python3", "ca-certificates"]), "localhost/debian", limit_s=300)
    file = source / "distribution/container/Containerfile"
    do(
        "build", "--quiet", "--format", "docker", "--isolation", "chroot", "--network", "host",
        "--layers=false", *LIMITS,
        "--build-arg", "BASE=localhost/debian", "--tag", "tlsrt", "--file", file, source, limit_s=400,
    )  # fmt: skip
    return "localhost/tlsrt"


class Container:
    """One container with volumes of its own, made by `init` and then started."""

    def __init__(self, image: str, name: str, profile: Path, *, proc: bool = True) -> None:
        self._image, self.name = image, name
        said = OPTIONS.read_text().replace("tlsrt-", f"{name}-").splitlines()
        said = [f"--security-opt=seccomp={profile}" if "seccomp=" in option else option for option in said]
        said = [option for option in said if proc or "unmask=" not in option]
        self._options = [*said, "--network=none", "--cgroups=disabled", *LIMITS]

    def __enter__(self) -> Container:
        do("run", "--rm", *self._options, self._image, "init", "--system")
        do("run", "--detach", "--name", self.name, *self._options, self._image)
        self.wait_until_it_serves()
        return self

    def __exit__(self, *ended: object) -> None:
        podman("rm", "--force", "--time", "0", self.name)

    def wait_until_it_serves(self) -> None:
        follow = "until tlsrt-supervisor is-active >/dev/null 2>&1; do sleep 0.1; done"
        done = podman("exec", self.name, "timeout", "30", "sh", "-c", follow)
        assert done.returncode == 0, do("logs", self.name)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return podman("exec", self.name, *words)

    def events(self) -> list[object]:
        return [line.get("event") for line in self.logs()]

    def logs(self) -> list[dict[str, object]]:
        done = podman("logs", self.name)
        return [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[Container]:
    with Container(image, "full", PROFILE) as made:
        yield made


def test_it_serves_with_every_layer_of_the_sandbox_and_no_capability(container: Container) -> None:
    done = container.run("tlsrt-supervisor", "status", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert container.run("tlsrt", "call", "primary/kernel", "uname").returncode == 0
    status = container.run("cat", "/proc/1/status").stdout
    assert "CapBnd:\t0000000000000000" in status and "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    assert not any("waived" in str(line["message"]) for line in container.logs())


def test_its_log_is_json_on_standard_output(container: Container) -> None:
    assert {"ready", "attested"} <= {*container.events()}


def test_its_root_cannot_be_written(container: Container) -> None:
    assert container.run("touch", "/usr/lib/python3/dist-packages/tlsrt/x").returncode != 0
    assert container.run("touch", "/etc/x").returncode != 0


def test_process_1_reaps_what_nobody_waits_for(container: Container) -> None:
    assert container.run("sh", "-c", "(sleep 0.05 &) ; (sleep 0.1 &)").returncode == 0
    look = "for i in $(seq 100); do grep -qs 'State:.Z' /proc/[0-9]*/status || exit 0; sleep 0.1; done; exit 1"
    assert container.run("sh", "-c", f"sleep 0.3; {look}").returncode == 0


def test_its_check_of_health_is_the_verb_and_passes(container: Container) -> None:
    done = podman("healthcheck", "run", container.name)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("signal", ["TERM", "INT"])
def test_a_signal_stops_it_in_order(container: Container, signal: str) -> None:
    before = container.events().count("stopping")
    do("kill", "--signal", signal, container.name)
    assert do("wait", container.name).strip() == "0"
    assert container.events().count("stopping") == before + 1
    do("start", container.name)
    container.wait_until_it_serves()


def test_the_state_survives_another_container(container: Container) -> None:
    assert container.run("tlsrt", "call", "secondary/store", "put", "greeting", "hello").returncode == 0
    do("rm", "--force", "--time", "20", container.name)
    do("run", "--detach", "--name", container.name, *container._options, container._image)
    container.wait_until_it_serves()
    assert container.run("tlsrt", "call", "secondary/store", "get", "greeting").stdout.strip() == "hello"


def test_under_the_usual_profile_of_an_engine_it_serves_and_says_what_is_waived(image: str) -> None:
    profile = json.loads(PROFILE.read_text())
    [allowed] = profile["syscalls"]
    allowed["names"] = [name for name in allowed["names"] if name not in REFUSED]
    path = scratch() / "usual.json"
    path.write_text(json.dumps(profile))
    with Container(image, "usual", path, proc=False) as container:
        assert container.run("tlsrt-supervisor", "status", "--check").returncode == 6
        assert podman("healthcheck", "run", container.name).returncode == 0
        assert any("mount_namespace is waived" in str(line["message"]) for line in container.logs())


def test_by_the_compose_file_it_serves_with_every_layer_too(image: str) -> None:
    """By podman-compose; only the network is left out."""
    folder = scratch() / "compose"
    folder.mkdir()
    shutil.copy(PROFILE, folder)
    described = yaml.safe_load(COMPOSE.read_text())
    service = described["services"]["tlsrt"]
    assert service.pop("ports") == ["7443:7443"] and service["image"] == image
    service["network_mode"] = "none"
    service["ulimits"] = {"nofile": 4096, "nproc": 1024}  # LIMITS
    file = folder / "compose.yaml"
    file.write_text(yaml.safe_dump(described))

    def compose(*words: str) -> None:
        own = ("--file", file, "--in-pod=false", "--podman-run-args=--cgroups=disabled")
        done = run("podman-compose", *own, *words, limit_s=LIMIT_S)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"

    for _ in range(2):
        compose("run", "--rm", "tlsrt", "init", "--system", "--if-missing")
    compose("up", "--detach")
    try:
        [name] = do("ps", "--filter=label=io.podman.compose.project=compose", "--format={{.Names}}").split()
        started = Container(image, name, PROFILE)
        started.wait_until_it_serves()
        done = started.run("tlsrt-supervisor", "status", "--check")
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        compose("down", "--volumes")
