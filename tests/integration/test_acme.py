"""Certificates of a CA for a real host: issued, renewed, changed and refused by pebble, Let's Encrypt's test CA."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hosts.late_prelude import LatePrelude
from hosts.pebble import Pebble
from hosts.running_host import RunningHost, free_port

from tlsrt.errors import EX_UNAVAILABLE, EX_USAGE

NAME, MORE, BLOCKED = "kettle.example.org", "tea.example.org", "blocked.example.org"
HTTP_PORT = free_port()
# A file beside the configuration has each certificate renewed soon after it was issued, without the pause.
PRELUDE = """
import os
from tlsrt.supervisor.supervision import renewal_times
_have = renewal_times.RenewalTimes.have

def have(self, begins, ends, chance, now):
    _have(self, begins, ends, chance, now)
    if os.path.exists("{flag}"):
        self.renew_at, self.ask_at = now + 0.2, now + 1000

_hold = renewal_times.RenewalTimes.hold

def hold(self, now):
    _hold(self, now)
    if os.path.exists("{flag}"):
        self.held_until = now

renewal_times.RenewalTimes.hold = hold
renewal_times.RenewalTimes.have = have
"""


class Site:
    """A host and its CA."""

    def __init__(self, host: RunningHost, ca: Pebble, flag: Path) -> None:
        self.host, self.ca, self.flag = host, ca, flag

    def shown(self, alpn: str = "http/1.1", name: str = NAME) -> dict[str, Any]:
        """Return the certificate that a client is shown, which has proved it by the CA's root."""
        context = ssl.create_default_context(cadata=self.ca.root().decode())
        context.set_alpn_protocols([alpn])
        bundle = self.host.bundle("web")
        pair = self.host.base / "web.pem"
        pair.write_bytes(bundle.certificate_pem + bundle.key_pem)
        context.load_cert_chain(pair)
        with (
            socket.create_connection(("127.0.0.1", self.host.port), timeout=30) as connected,
            context.wrap_socket(connected, server_hostname=name) as tls,
        ):
            return dict(tls.getpeercert() or {})

    def acme(self) -> dict[str, Any]:
        found = json.loads(self.host.cli("certificate", "show", "--json").stdout)["acme"]
        assert isinstance(found, dict)
        return found

    def events(self, name: str) -> int:
        return self.host.cli("events", "--json").stdout.count(f'"{name}"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    flag = tmp_path_factory.mktemp("acme") / "soon"
    ca = Pebble(rejected=20, domainBlocklist=[BLOCKED])
    host = RunningHost(
        clients=["web"], http=["web"], extra={"acme": ca.acme(names=[NAME, "127.0.0.1"])},
        prelude=LatePrelude(PRELUDE.format(flag=flag)),
    )  # fmt: skip
    with ca.looking_at(tls_port=host.port, http_port=HTTP_PORT), host:
        yield Site(host, ca, flag)


def test_it_is_issued_at_the_start_and_serves_beside_the_other_one(site: Site) -> None:
    site.host.told('"certificate_issued"')
    assert set(site.shown()["subjectAltName"]) == {("DNS", NAME), ("IP Address", "127.0.0.1")}
    assert site.host.client().describe()  # by the CA of its bundle
    with pytest.raises(ssl.SSLError):  # which is what clients of tlsrt are shown
        site.shown(alpn="tlsrt/1")
    assert site.acme()["state"] == "issued"
    assert f"acme: {NAME}, 127.0.0.1, ends " in site.host.cli("status").stdout
    assert f"it names {NAME}, 127.0.0.1; shown to" in site.host.cli("certificate", "show").stdout
    assert '"acme"' not in site.host.cli("doctor", "--json").stdout


def test_the_challenge_is_shown_while_an_order_runs_only(site: Site) -> None:
    site.host.until(lambda status: status["acme"]["state"] == "issued", "a certificate")
    with pytest.raises(ssl.SSLError, match=r"(?i)alert.no.application.protocol"):
        site.shown(alpn="acme-tls/1")


def test_names_are_added_and_removed(site: Site) -> None:
    added = site.host.cli("certificate", "add", MORE)
    assert (added.returncode, added.stderr) == (0, ""), site.ca.log()[-3000:]
    assert ("DNS", MORE) in site.shown(name=MORE)["subjectAltName"]
    again = site.host.cli("certificate", "add", MORE)
    assert again.returncode == EX_USAGE and "is named already" in again.stderr
    removed = site.host.cli("certificate", "remove", MORE)
    assert removed.returncode == 0
    assert ("DNS", MORE) not in site.shown()["subjectAltName"]
    fixed = site.host.cli("certificate", "remove", NAME)
    assert fixed.returncode == EX_USAGE and "stands under acme.names" in fixed.stderr


def test_a_name_that_the_ca_refuses_is_taken_back(site: Site) -> None:
    refused = site.host.cli("certificate", "add", BLOCKED)
    assert refused.returncode == EX_UNAVAILABLE and "does not issue for one of the names" in refused.stderr
    assert BLOCKED not in site.acme()["wanted"]
    assert (site.acme()["failure"], site.acme()["failures"]) == ("", 0)  # nothing is left to order
    assert set(site.shown()["subjectAltName"]) == {("DNS", NAME), ("IP Address", "127.0.0.1")}
    assert BLOCKED in site.host.log("acme") or "rejected_name" in site.host.log("acme")


def test_a_name_on_trial_is_not_in_the_state_when_the_host_stops(site: Site) -> None:
    with site.ca.silent(), ThreadPoolExecutor(1) as pool:
        added = pool.submit(site.host.cli, "certificate", "add", MORE)
        site.host.until(lambda status: status["acme"]["state"] == "ordering", "the order")
        assert site.acme()["wanted"][-1] == MORE and site.acme()["added"] == []
        site.host.stop()
        assert added.result(60).returncode != 0
    site.host.start()
    found = site.host.until(lambda status: status["acme"]["names"] != [], "the certificate of before")["acme"]
    assert found["wanted"] == found["names"] == [NAME, "127.0.0.1"] and found["added"] == []


def test_it_is_renewed_by_itself(site: Site) -> None:
    before = site.events("certificate_issued")
    serial = site.shown()["serialNumber"]
    site.flag.touch()
    try:
        assert site.host.cli("certificate", "renew").returncode == 0
        site.host.until(lambda status: site.events("certificate_issued") >= before + 2, "a renewal")
    finally:
        site.flag.unlink()
    site.host.until(lambda status: status["acme"]["renews"] > status["acme"]["begins"] + 86400, "the last one")
    assert site.shown()["serialNumber"] != serial
    window = site.acme()
    assert 0.5 < (window["renews"] - window["begins"]) / (window["ends"] - window["begins"]) < 0.8


def test_a_ca_that_dies_leaves_the_certificate_in_force(site: Site) -> None:
    ends, root = site.shown()["notAfter"], site.ca.root()
    site.ca.kill()
    failed = site.host.cli("certificate", "renew")
    assert failed.returncode == EX_UNAVAILABLE and "the CA is not reached" in failed.stderr
    told = site.host.told('"certificate_failed"', "the CA is not reached")
    assert "acme" in told and "the CA is not reached" in site.host.cli("doctor").stdout
    assert site.acme()["names"] == [NAME, "127.0.0.1"] and site.acme()["again"] > 0
    site.host.restart()  # and a start needs no CA
    assert site.acme()["state"] == "issued"
    site.ca.start()
    site.ca.root = lambda: root  # type: ignore[method-assign]
    try:
        assert site.shown()["notAfter"] == ends
    finally:
        del site.ca.root
    renewed = site.host.cli("certificate", "renew")
    assert (renewed.returncode, renewed.stderr) == (0, ""), site.ca.log()[-3000:]
    assert datetime.strptime(site.shown()["notAfter"], "%b %d %H:%M:%S %Y %Z")  # by the CA's new root


def test_names_are_proved_by_http_too(site: Site) -> None:
    document = yaml.safe_load(site.host.config_path.read_text())
    document["acme"] |= {"http_listen": f"127.0.0.1:{HTTP_PORT}", "names": [NAME]}
    site.host.config_path.write_text(yaml.safe_dump(document, sort_keys=False))
    assert site.host.cli("seal").returncode == 0
    reloaded = site.host.cli("reload")
    assert reloaded.returncode == 0, reloaded.stderr
    site.host.until(lambda status: status["acme"]["names"] == [NAME], "a certificate with one name", timeout_s=15)
    assert site.shown()["subjectAltName"] == (("DNS", NAME),)
    with pytest.raises(OSError):  # noqa: PT011 - nothing listens there any more
        socket.create_connection(("127.0.0.1", HTTP_PORT), timeout=5)


def test_a_ca_is_known_by_its_name(site: Site) -> None:
    """Its address comes from a name server, may be where `within` says, and its certificate has to have the name."""
    document = yaml.safe_load(site.host.config_path.read_text())
    document["acme"] |= {"directory": site.ca.directory_by_name, "within": ["127.0.0.0/8"]}
    document["resolver"] = {"servers": [f"127.0.0.1:{site.ca.dns_port}"]}
    site.host.config_path.write_text(yaml.safe_dump(document, sort_keys=False))
    assert site.host.cli("seal").returncode == 0
    site.host.restart()
    serial = site.shown()["serialNumber"]
    renewed = site.host.cli("certificate", "renew")
    assert (renewed.returncode, renewed.stderr) == (0, ""), site.ca.log()[-3000:]
    assert site.acme()["directory"] == site.ca.directory_by_name and site.shown()["serialNumber"] != serial


def test_the_key_of_a_certificate_does_not_outlive_its_master_key(site: Site) -> None:
    """It serves on until the next start, which cannot open it and orders another one by itself."""
    serial = site.shown()["serialNumber"]
    rotated = site.host.cli("rotate", "--master")
    assert rotated.returncode == 0, rotated.stderr
    assert site.shown()["serialNumber"] == serial
    site.host.restart()
    site.host.until(lambda status: status["acme"]["names"] == [NAME], "another certificate", timeout_s=20)
    assert site.shown()["serialNumber"] != serial
    assert "was sealed by another master_key" in site.host.log("authority")
