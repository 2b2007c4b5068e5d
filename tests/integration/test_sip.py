"""Telephones that ring a host in the full sandbox and are rung: real baresip over TLS with mandatory SRTP."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.own_certificate import server_context
from hosts.baresip import Baresip
from hosts.joined_messages import set_secret, until
from hosts.running_host import RunningHost, free_port
from hosts.telephone_package.telephones import HERTZ

PACKAGE = Path(__file__).parents[1] / "hosts" / "telephone_package" / "telephones"
SIP, PROCESS, DOOR = "external/sip", "external.sip", "third/door"
PASSWORD = "Kd83-telephone-of-anna"
TONE = 440


class Exchange:
    """A host with the bridge and a component, and the telephones anna, who registers, and bob, who is at a place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        server_context(folder)
        self.pair = (folder / "ca.pem").read_bytes() + (folder / "key.pem").read_bytes()
        self.port, self.rtp = free_port(), free_port()
        self.at = f"127.0.0.1:{self.port}"
        login = f"auth_user=anna;auth_pass={PASSWORD};"
        common: dict[str, Any] = {"ca": folder / "ca.pem", "pair": self.pair}
        self.anna = Baresip(
            folder, "anna", self.at, hertz=TONE, **common,
            account=f"{login}regint=60;mediaenc=srtp-mand;answermode=auto;",
        )  # fmt: skip
        self.bob = Baresip(
            folder, "bob", "127.0.0.1", hertz=TONE, **common, account="regint=0;mediaenc=srtp-mand;answermode=auto;"
        )
        components = {DOOR: {"class": "telephones:Door"}}
        self.host = RunningHost(packages=[PACKAGE], components=components, policy={f"client/admin -> {DOOR}": "*"})

    def start(self, **options: Any) -> None:
        self.host.start()
        listen = [
            {"name": "sip", "port": self.port, "why": "a test"},
            {"name": "rtp", "port": self.rtp, "protocol": "udp", "replies": True, "why": "a test"},
        ]
        telephones = {
            "anna": {"rings": [DOOR], "rung_by": [DOOR], "md5": True},
            "bob": {"place": f"127.0.0.1:{self.bob.sip + 1}", "rung_by": [DOOR]},
        }
        values = {"telephones": telephones, "numbers": {"12": DOOR}, **options}
        egress = [{"to": [f"127.0.0.1:{self.bob.sip + 1}"], "why": "bob"}]
        words = [f"--option={key}={json.dumps(value)}" for key, value in values.items()]
        words += [f"--needs=listen={json.dumps(listen)}", f"--needs=egress={json.dumps(egress)}"]
        added = self.host.cli(
            "component", "add", SIP, "--yes", *words, "--allow=client/admin: *", f"--allow={DOOR}: [dial]"
        )
        assert added.returncode == 0 or "secret" in added.stdout + added.stderr, added
        set_secret(self.host, "passwords", f"anna {PASSWORD}\n".encode(), SIP)
        set_secret(self.host, "authorities", (self.folder / "ca.pem").read_bytes(), SIP)
        set_secret(self.host, "certificate", self.pair, SIP)
        document = yaml.safe_load(self.host.config_path.read_text())
        document["policy"][f"{SIP} -> {DOOR}"] = ["take_call"]
        self.host.config_path.write_text(yaml.safe_dump(document, sort_keys=False))
        for verb in ("seal", "reload"):
            done = self.host.cli(verb)
            assert done.returncode == 0, done
        self.host.until(lambda status: self.host.loop(PROCESS)["state"] == "active", "started the bridge")
        self.anna.start()
        self.bob.start()

    def close(self) -> None:
        for telephone in (self.anna, self.bob):
            telephone.close()
        self.host.close()


@pytest.fixture(scope="module")
def exchange(request: pytest.FixtureRequest) -> Iterator[Exchange]:
    failed = request.session.testsfailed
    with tempfile.TemporaryDirectory(prefix="tlsrt-sip.") as name:
        made = Exchange(Path(name))
        try:
            made.start()
            yield made
            if request.session.testsfailed > failed:
                made.host.print_logs()
        except BaseException:
            made.host.print_logs()
            raise
        finally:
            made.close()


def test_a_telephone_rings_a_component_and_both_hear_the_other(exchange: Exchange) -> None:
    exchange.anna.until_type("REGISTER_OK")
    exchange.anna.do("dial", f"sip:third.door@{exchange.at};transport=tls")
    exchange.anna.until_type("CALL_ESTABLISHED")
    with exchange.host.client() as client:
        until(lambda: any(one["s"] > 1.5 for one in client.call(DOOR, "heard")["calls"].values()), 20)
        exchange.anna.do("hangup")
        [ears] = client.call(DOOR, "heard")["calls"].values()
        until(lambda: client.call(DOOR, "heard")["over"])
        assert abs(ears["hertz"] - TONE) < 6 and ears["peak"] > 3000, ears
        [record] = until(lambda: client.call(SIP, "log_of_calls"))
    assert record["telephone"] == "anna" and record["other"] == DOOR and record["answered"], record
    time.sleep(0.2)
    assert abs(exchange.anna.heard_hertz() - HERTZ) < 9, exchange.anna.heard_hertz()


@pytest.mark.parametrize("telephone", ["anna", "bob"])
def test_a_component_rings_a_telephone(exchange: Exchange, telephone: str) -> None:
    with exchange.host.client() as client:
        heard = client.call(DOOR, "ring", SIP, telephone, 2.0, timeout_s=60)
        assert heard["answered"] and abs(heard["hertz"] - TONE) < 6, heard
