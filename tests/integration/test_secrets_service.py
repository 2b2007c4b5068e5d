"""The secrets service on a real host: through TLS, from another component, killed while it writes, tampered with."""

from __future__ import annotations

import json
import random
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attackers.killed_writer import KilledWriter
from hosts.failed_process import words_of_failed
from hosts.running_host import RunningHost

from tlsrt import CallError, Client
from tlsrt.errors import Denied, Failed, NotFound

SECRETS, STORE, LOGIN, NOSY = "secondary/secrets", "secondary/store", "external/login", "third/nosy"
ROOM = Path(__file__).parents[2]
VALUE = "correct horse battery staple"
GUIDE = ROOM / "docs" / "guide" / "secrets-service.md"
CAPTURED = '''

class Nosy(Component):
    """A captured neighbour: calls what it is told to."""

    @handler
    async def ask(self, method: str, name: str, namespace: str) -> str:
        try:
            return str(await self.call("secondary/secrets", method, name, namespace=namespace))
        except CallError as error:
            return f"{error.code}: {error.message}"
'''
NAMESPACES = {
    "mqtt": {"read": [LOGIN, "client/admin"], "write": ["client/admin"]},
    "small": {"read": ["client/admin"], "write": ["client/admin"], "max_keys": 1},
}


POLICY = ["client/*: *", f"{LOGIN}: [get, held]", f"{NOSY}: *"]


def make_host(base: Path) -> RunningHost:
    """Make a host with the reader of the guide and a captured neighbour, on which the service is off."""
    package = base / "guide_login"
    package.mkdir(exist_ok=True)
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    (package / "__init__.py").write_text(blocks[0] + CAPTURED)
    return RunningHost(
        components={
            LOGIN: {"class": "guide_login:Login"},
            NOSY: {"class": "guide_login:Nosy"},
            STORE: {"options": {"namespaces": {SECRETS: {"read": ["client/admin"]}}}},
        },
        policy={"client/admin -> external/login": "*", "client/admin -> third/nosy": "*"},
        packages=[package],
        extra={"supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}},
    )


def add_service(host: RunningHost) -> str:
    """Add the service, and make its root, as the guide says; return what was said about the first."""
    words = [word for rule in POLICY for word in ("--allow", rule)]
    option = f"namespaces={json.dumps(NAMESPACES)}"
    added = host.cli("component", "add", SECRETS, "--yes", "--option", option, *words)
    made = host.cli("secret", "make", SECRETS, "root")
    assert "secondary.secrets was started anew with it" in made.stdout, added.stderr + made.stderr
    return added.stdout + added.stderr


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    failed = request.session.testsfailed
    made = make_host(tmp_path_factory.mktemp("package"))
    try:
        made.start()
        listed = made.cli("component", "list", "--available").stdout
        assert re.search(r"secondary/secrets +passwords and keys for components and clients", listed), listed
        said = add_service(made)
        assert "there is no secret root: set it with `tlsrt-supervisor secret set secondary/secrets root`" in said
        assert "`tlsrt-supervisor secret make secondary/secrets root` draws one that is not shown" in said
        yield made
        if request.session.testsfailed > failed:
            made.print_logs()
    finally:
        made.close()


def put(client: Client, name: str, value: str, **more: Any) -> int:
    version: int = client.upload(SECRETS, "put", value.encode(), name, **more)["version"]
    return version


def database(host: RunningHost) -> Path:
    return next(host.config.state_dir.glob("secondary.secrets/**/data.sqlite"))


def test_a_root_is_made_once_and_seen_by_nobody(host: RunningHost) -> None:
    done = host.cli("secret", "make", SECRETS, "root")
    assert (done.returncode, "has a secret root already, and what is sealed under it would be lost" in done.stderr) == (
        78,
        True,
    )
    assert done.stdout == ""


def test_a_component_reads_its_password_with_a_lease_and_hears_of_its_rotation(host: RunningHost) -> None:
    with host.client() as client:
        first = put(client, "broker", VALUE, namespace="mqtt")
        host.until(
            lambda status: any(
                loop["name"] == "external.login" and loop["state"] == "active" for loop in status["loops"]
            ),
            "external.login is active",
        )
        assert client.call(LOGIN, "version_in_use", timeout_s=30) == first
        logins = client.stream(LOGIN, "subscribe", "logged_in")
        told = threading.Thread(target=lambda: heard.append(next(logins)))
        heard: list[int] = []
        told.start()
        second = client.call(SECRETS, "rotate", "broker", password="*{24}", grace_s=60, namespace="mqtt")["version"]
        told.join(30)
        while not heard:  # it subscribed too late: the component has the new one already
            assert client.call(LOGIN, "version_in_use") == second
            break
        assert [each["reader"] for each in client.call(SECRETS, "readers", "broker", namespace="mqtt")][:1] == [LOGIN]
        leases = client.call(SECRETS, "leases", namespace="mqtt")
        assert {(each["reader"], each["version"]) for each in leases} >= {(LOGIN, second)}
        assert client.call(SECRETS, "get", "broker", version=first, namespace="mqtt")["value"] == VALUE


def test_a_captured_neighbour_reads_no_other_namespace(host: RunningHost) -> None:
    with host.client() as client:
        put(client, "broker", VALUE, namespace="mqtt")
        for method in ("get", "history", "delete", "readers", "rotate"):
            for namespace in ("mqtt", LOGIN, "client/admin", "nowhere"):
                said = client.call(NOSY, "ask", method, "broker", namespace)
                assert said.startswith("denied: third/nosy may not "), said
        assert client.call(NOSY, "ask", "get", "broker", NOSY) == "not_found: there is no secret 'broker'"
        put(client, "a", VALUE, namespace="small")
        with pytest.raises(Failed, match="namespace 'small' holds 1 names and may hold 1"):
            put(client, "b", VALUE, namespace="small")


def test_no_file_of_the_host_and_no_answer_has_a_value(host: RunningHost) -> None:
    secret = f"{VALUE} {random.Random(5).random()}"
    with host.client() as client:
        version = put(client, "hidden", secret)
        assert client.call(SECRETS, "get", "hidden")["value"] == secret
        for call in (("put_off_nothing",), ("get", "hidden", 1), ("destroy", "hidden", 7)):
            with pytest.raises(CallError):
                client.call(SECRETS, *call)
        with pytest.raises(CallError):
            client.put_off("10m", SECRETS, "put", "hidden", secret)
        with pytest.raises(CallError):
            client.upload(SECRETS, "put", secret.encode(), "hidden", if_version=version + 1)
        shown = [client.call(SECRETS, each) for each in ("names", "leases", "namespaces", "metrics", "describe")]
        shown += [client.call(SECRETS, each, "hidden") for each in ("history", "readers")]
    host.respawn("secondary.secrets")
    said = host.told("secondary.secrets") + host.cli("audit", "show").stdout + host.cli("status", "--json").stdout
    assert secret not in said + str(shown)
    for path in (path for path in host.base.rglob("*") if path.is_file() and not path.is_symlink()):
        assert secret.encode() not in path.read_bytes(), path


def kill_while_writing(host: RunningHost, kills: int, seed: int) -> None:
    """Kill the service so often while a client puts values and replaces the key of their namespace."""

    def write(client: Client, name: str, number: int) -> int:
        if number % 7 == 0:
            client.call(SECRETS, "rotate_key")
        return put(client, name, f"{VALUE} {number}")

    def read(client: Client, name: str) -> tuple[int, object]:
        found = client.call(SECRETS, "get", name, timeout_s=60)
        return found["version"], int(found["value"].removeprefix(VALUE))

    writer = KilledWriter(host, "secondary.secrets", write, read)
    writer.run(kills, seed)
    print("acknowledged:", writer.acknowledged)
    with host.client() as client:
        while any(each["to_reseal"] for each in client.call(SECRETS, "namespaces")):
            continue
    look_whole(host)
    assert "not served" not in host.log("secondary.secrets")


def look_whole(host: RunningHost) -> None:
    host.stop()
    with closing(sqlite3.connect(database(host))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        keys = connection.execute("SELECT count(*) FROM data_keys GROUP BY namespace").fetchall()
    assert set(keys) == {(1,)}, "a key of which no value is left is removed"
    host.start()


def test_what_was_acknowledged_is_there_whenever_it_was_killed(host: RunningHost) -> None:
    kill_while_writing(host, 10, 7)


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_a_service_that_is_killed_100_times_keeps_what_it_acknowledged(host: RunningHost) -> None:
    kill_while_writing(host, 100, 8)


def witnessed(client: Client) -> int:
    """Return the count of changes that the store keeps."""
    try:
        return int(client.call(STORE, "get", "revision", namespace=SECRETS)["revision"])
    except NotFound:
        return 0


def test_damage_and_an_older_copy_are_told_and_all_else_is_served(host: RunningHost) -> None:
    with host.client() as client:
        for name in ("whole", "broken"):
            put(client, name, VALUE)
    host.stop()
    path = database(host)
    copy = {each: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE versions SET sealed = zeroblob(60) WHERE name = 'broken'")
    host.start()
    with host.client() as client:
        assert client.call(SECRETS, "get", "whole", timeout_s=30)["value"] == VALUE
        with pytest.raises(Failed, match="the secret 'broken' is not served, since the value of its version"):
            client.call(SECRETS, "get", "broken")
        kept = client.stream(STORE, "watch", namespace=SECRETS, since=client.call(STORE, "position")["since"])
        last = max(put(client, "broken", f"{VALUE} {number}") for number in range(3))
        while witnessed(client) < last:
            next(kept)  # the count of changes comes a moment later
    host.stop()
    for each, data in copy.items():
        each.write_bytes(data)
    host.start()
    sentence = "an older copy was put back"
    host.told("rolled_back")
    with host.client() as client:
        assert client.call(SECRETS, "get", "whole", timeout_s=30)["value"] == VALUE
        assert sentence in host.log("secondary.secrets")
        client.call(SECRETS, "accept")


def test_another_root_is_one_sentence_and_the_former_one_opens_everything(host: RunningHost) -> None:
    with host.client() as client:
        put(client, "whole", VALUE)
    sealed = host.config.state_dir / "secrets" / "secondary.secrets"
    before = sealed.read_bytes()
    done = host.cli("secret", "make", SECRETS, "root", "--replace")
    assert "secondary.secrets does not start with it" in done.stderr
    assert "these secrets were sealed under another root" in words_of_failed(host, "secondary.secrets")
    sealed.write_bytes(before)
    after = len(host.console)
    assert host.cli("restart", "secondary.secrets").returncode == 0
    host.wait_for(r"^secondary\.secrets +active", after=after)
    with host.client() as client:
        assert client.call(SECRETS, "get", "whole", timeout_s=30)["value"] == VALUE
        with pytest.raises(NotFound):
            client.call(SECRETS, "get", "nothing")
    with host.client() as client, pytest.raises(Denied):
        client.call(SECRETS, "get", "whole", namespace="client/other")
