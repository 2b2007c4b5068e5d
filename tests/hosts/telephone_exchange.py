"""A host with the bridge to telephones, a component, and real telephones: anna, who registers, and bob, at a place."""

from __future__ import annotations

import hashlib
import json
import ssl
from pathlib import Path
from typing import Any

import yaml
from fakes.own_certificate import server_context

from hosts.baresip import Baresip
from hosts.joined_messages import set_secret
from hosts.running_host import RunningHost, free_port

PACKAGE = Path(__file__).parent / "telephone_package" / "telephones"
SIP, PROCESS, DOOR = "external/sip", "external.sip", "third/door"
PASSWORD = "Kd83-telephone-of-anna"
TONE = 440


class TelephoneExchange:
    """A host with the bridge and a component, and the telephones anna, who registers, and bob, who is at a place."""

    def __init__(self, folder: Path, *, records: bool = True) -> None:
        self.folder = folder
        server_context(folder)
        self.pair = (folder / "ca.pem").read_bytes() + (folder / "key.pem").read_bytes()
        self.load = folder / "load"  # the certificate and key of the telephone `load`
        self.load.mkdir()
        server_context(self.load, "load")
        certificate = ssl.PEM_cert_to_DER_cert((self.load / "ca.pem").read_text())
        self.fingerprint = hashlib.sha256(certificate).hexdigest()
        self.port, self.rtp = free_port(), free_port()
        self.at = f"127.0.0.1:{self.port}"
        login = f"auth_user=anna;auth_pass={PASSWORD};"
        common: dict[str, Any] = {"records": records, "ca": folder / "ca.pem", "pair": self.pair}
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
            "load": {"rings": [DOOR], "certificate": self.fingerprint, "calls": 200},
            "bob": {"place": f"127.0.0.1:{self.bob.sip + 1}", "rung_by": [DOOR]},
        }
        values = {"telephones": telephones, "numbers": {"12": DOOR}, "calls": 200, **options}
        egress = [{"to": [f"127.0.0.1:{self.bob.sip + 1}"], "why": "bob"}]
        words = [f"--option={key}={json.dumps(value)}" for key, value in values.items()]
        words += [f"--needs=listen={json.dumps(listen)}", f"--needs=egress={json.dumps(egress)}"]
        added = self.host.cli(
            "component", "add", SIP, "--yes", *words, "--allow=client/admin: *", f"--allow={DOOR}: [dial]"
        )
        assert added.returncode == 0 or "secret" in added.stdout + added.stderr, added
        set_secret(self.host, "passwords", f"anna {PASSWORD}\n".encode(), SIP)
        authorities = b"".join((folder / "ca.pem").read_bytes() for folder in (self.folder, self.load))
        set_secret(self.host, "authorities", authorities, SIP)
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
