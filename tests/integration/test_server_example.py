"""examples/server by its README: a site, its backup, a firewall on packets of a peer, and people who are told."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.joined_networks import JoinedNetworks, inside
from hosts.readme_reader import ReadmeReader
from hosts.running_host import RunningHost, free_port
from tools.programs import need

from tlsrt import CallError

EXAMPLE = Path(__file__).parents[2] / "examples" / "server"
BACKUP, FIREWALL, NOTIFY = "secondary/backup", "external/firewall", "third/notify"
LIMIT_S = 30.0
SITE_PORT, OTHER_PORT = free_port(), free_port()
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(os.geteuid() != 0, reason="the network and the folders of a host are root's"),
]


@pytest.fixture(scope="module")
def networks() -> Iterator[JoinedNetworks]:
    need("busybox")
    need("jq")
    made = JoinedNetworks("sv")
    yield made
    made.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, networks: JoinedNetworks) -> Iterator[RunningHost]:
    with inside(networks.host):
        host = RunningHost(execute=True)
        try:
            yield host
            if request.session.testsfailed and host.console:
                host.print_logs()
        finally:
            host.close()


@pytest.fixture(scope="module")
def srv() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tlsrt-srv."))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def reader(host: RunningHost, srv: Path) -> ReadmeReader:
    """A reader who has done what comes before the second terminal, with a folder of their own for /srv."""
    reader = ReadmeReader(host, EXAMPLE, {"/srv/": f"{srv}/", "8080": str(SITE_PORT)})
    for beginning in ("mkdir -p /", "mkdir -p v", "cp", "tlsrt-supervisor seal", "tlsrt-supervisor secret", "chown"):
        reader.type(beginning)
    (srv / "site" / "index.html").write_text("<h1>hello</h1>")
    host.start()
    reader.type("tlsrt-supervisor component add")
    return reader


def until(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + LIMIT_S
    while not (found := what()):
        assert time.monotonic() < end, found
    return found


def test_the_site_is_served_and_kept(reader: ReadmeReader, host: RunningHost) -> None:
    assert reader.type("curl") == "<h1>hello</h1>"
    made = re.search(r"^id: +(site\.\S+)$", reader.type("tlsrt call secondary/backup run_now"), re.MULTILINE)
    assert made is not None
    with host.client() as client:
        kept = b"".join(client.stream(BACKUP, "fetch", made[1], "index.html"))
    assert kept == b"<h1>hello</h1>"
    assert made[1] in reader.type("tlsrt call secondary/backup list")


def test_the_firewall_lets_in_what_it_says(reader: ReadmeReader, networks: JoinedNetworks, host: RunningHost) -> None:
    other = networks.listening(OTHER_PORT)
    assert networks.reaches(SITE_PORT) and networks.reaches(OTHER_PORT)
    assert "input policy: drop" in reader.type("tlsrt call external/firewall plan")
    reader.type("tlsrt call external/firewall apply")
    assert networks.reaches(SITE_PORT) and not networks.reaches(OTHER_PORT)
    reader.type("tlsrt call external/firewall confirm")
    with host.client() as client:
        until(lambda: client.call(FIREWALL, "status")["trial"] is None)
        assert networks.reaches(SITE_PORT)
        assert client.call(FIREWALL, "counters")["input.site"]["packets"] > 0
    other.close()


def test_a_backup_that_fails_is_told_to_people(reader: ReadmeReader, host: RunningHost, srv: Path) -> None:
    with host.client() as client:
        (srv / "site" / "data.sqlite").write_bytes(b"SQLite format 3\0" + b"no database" * 1000)  # fails the backup
        with pytest.raises(CallError):
            client.call(BACKUP, "run_now", "site", timeout_s=60)
        found = until(lambda: client.call(NOTIFY, "list", sender="primary/events", severity="critical")["notices"])
        assert "a backup could not be made" in found[0]["title"]
        assert "primary/events" in reader.type("tlsrt call third/notify list")


def test_each_process_may_be_killed(reader: ReadmeReader, host: RunningHost, networks: JoinedNetworks) -> None:
    names = [loop["name"] for loop in host.status()["loops"] if loop["state"] == "active"]
    with host.client() as client:
        kept = client.call(BACKUP, "list", "site")
    for name in (*names, "authority"):
        host.respawn(name)
    until(lambda: networks.reaches(SITE_PORT))
    with host.client() as client:
        assert client.call(BACKUP, "list", "site") == kept
        assert client.call(FIREWALL, "status")["by"] == "client/admin"
    assert [loop["violations"] for loop in host.status()["loops"]] == [0] * len(host.status()["loops"])
