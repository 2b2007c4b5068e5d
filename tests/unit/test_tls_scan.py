"""What `make tls-scan` makes of the scanners' reports: pieces of real ones, and the same with one thing wrong."""

from __future__ import annotations

from typing import Any

import pytest
from tools.tls_scan import findings_of_sslscan, findings_of_testssl

OPEN = """<?xml version="1.0" encoding="UTF-8"?>
<document title="SSLScan Results" version="2.1.5" web="http://github.com/rbsec/sslscan">
 <ssltest host="127.0.0.1" sniname="127.0.0.1" port="35277">
  <protocol type="ssl" version="3" enabled="0" />
  <protocol type="tls" version="1.2" enabled="0" />
  <protocol type="tls" version="1.3" enabled="1" />
  <fallback supported="1" />
  <renegotiation supported="0" secure="0" />
  <compression supported="0" />
  <heartbleed sslversion="TLSv1.3" vulnerable="0" />
  <cipher status="preferred" sslversion="TLSv1.3" bits="256" cipher="TLS_AES_256_GCM_SHA384" id="0x1302" />
  <cipher status="accepted" sslversion="TLSv1.3" bits="256" cipher="TLS_CHACHA20_POLY1305_SHA256" id="0x1303" />
  <cipher status="accepted" sslversion="TLSv1.3" bits="128" cipher="TLS_AES_128_GCM_SHA256" id="0x1301" />
  <group sslversion="TLSv1.3" bits="128" name="secp256r1 (NIST P-256)" id="0x0017" />
  <group sslversion="TLSv1.3" bits="128" name="x25519" id="0x001d" />
 <certificates>
  <certificate type="short">
   <pk error="false" type="EC" curve_name="prime256v1" bits="128" />
   <expired>false</expired>
  </certificate>
 </certificates>
 </ssltest>
</document>
"""
CLOSED = """<document><ssltest host="127.0.0.1">
  <protocol type="tls" version="1.3" enabled="0" /><compression supported="0" /><renegotiation supported="0" />
</ssltest></document>"""


def test_good_reports_have_no_finding() -> None:
    assert findings_of_sslscan(OPEN, is_open=True) == []
    assert findings_of_sslscan(CLOSED, is_open=False) == []


@pytest.mark.parametrize(
    ("good", "bad", "finding"),
    [
        ('version="1.2" enabled="0"', 'version="1.2" enabled="1"', "protocols ['tls 1.2', 'tls 1.3']"),
        ('version="1.3" enabled="1"', 'version="1.3" enabled="0"', "protocols []"),
        ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_CCM_8_SHA256", "TLS_AES_128_CCM_8_SHA256"),
        ('name="x25519"', 'name="ffdhe2048"', "ffdhe2048"),
        ('compression supported="0"', 'compression supported="1"', "compression"),
        ('vulnerable="0"', 'vulnerable="1"', "heartbleed"),
        ("<expired>false", "<expired>true", "expired true"),
        ('curve_name="prime256v1" bits="128"', 'curve_name="secp192r1" bits="96"', "weak key"),
        ("<ssltest", "<other", "no result"),
    ],
)
def test_anything_else_of_sslscan_is_a_finding(good: str, bad: str, finding: str) -> None:
    assert good in OPEN
    text = OPEN.replace(good, bad).replace("</ssltest>", "</other>" if "other" in bad else "</ssltest>")
    found = findings_of_sslscan(text, is_open=True)
    assert any(finding in sentence for sentence in found), found


def test_a_door_without_its_protocols_may_offer_nothing() -> None:
    assert len(findings_of_sslscan(OPEN, is_open=False)) == 3


REPORT = [
    ("engine_problem", "WARN", "No engine or GOST support via engine with your /usr/bin/openssl"),
    ("SSLv2", "OK", "not offered"), ("SSLv3", "OK", "not offered"), ("TLS1", "INFO", "not offered"),
    ("TLS1_1", "INFO", "not offered"), ("TLS1_2", "INFO", "not offered"), ("TLS1_3", "OK", "offered with final"),
    ("NPN", "WARN", "not possible for TLS 1.3-only hosts"), ("FS_KEMs", "OK", "X25519MLKEM768"),
    ("cert_revocation", "HIGH", "Neither CRL nor OCSP URI provided"), ("BREACH", "WARN", "not having provided ..."),
    ("clientsimulation-ie_11_win10", "INFO", "No connection"),
    ("clientsimulation-firefox_137_win11", "INFO", "TLSv1.3 TLS_AES_256_GCM_SHA384"),
    ("overall_grade", "OK", "A+"),
]  # fmt: skip


def report(**changes: tuple[str, str]) -> list[dict[str, Any]]:
    entries = {name: (severity, finding) for name, severity, finding in REPORT} | changes
    return [{"id": name, "severity": severity, "finding": finding} for name, (severity, finding) in entries.items()]


def test_a_good_report_of_testssl_has_no_finding() -> None:
    assert findings_of_testssl(report(), is_open=True) == []
    assert findings_of_testssl(report(TLS1_3=("LOW", "not offered")), is_open=False) == []


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"TLS1_2": ("OK", "offered")}, "TLS1_2: offered"), ({"TLS1_3": ("LOW", "not offered")}, "TLS 1.3 is not"),
        ({"FS_KEMs": ("INFO", "none")}, "X25519MLKEM768 is not"), ({"ROBOT": ("CRITICAL", "VULNERABLE")}, "ROBOT"),
        ({"cert_extlifeSpan": ("MEDIUM", "398 > 398 days")}, "cert_extlifeSpan"),
        ({"scanProblem": ("INFO", "no certificate")}, "scanProblem"),
        ({"clientsimulation-java_80442": ("INFO", "TLSv1.2 ECDHE-RSA-AES256-SHA")}, "java_80442"),
        ({"clientsimulation-firefox_137_win11": ("INFO", "No connection")}, "no browser could connect"),
    ],
)  # fmt: skip
def test_anything_else_of_testssl_is_a_finding(changes: dict[str, tuple[str, str]], finding: str) -> None:
    found = findings_of_testssl(report(**changes), is_open=True)
    assert len(found) >= 1 and any(finding in sentence for sentence in found), found


def test_what_was_not_looked_at_is_a_finding() -> None:
    entries = [entry for entry in report() if entry["id"] != "SSLv3"]
    assert findings_of_testssl(entries, is_open=True) == ["testssl: SSLv3: was not looked at"]
