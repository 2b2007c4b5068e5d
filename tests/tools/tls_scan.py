"""`make tls-scan`: sslscan and testssl.sh against a running host, and what they find, judged. It takes some minutes.

The door has no handshake with whoever offers none of its protocols (ALPN), as these scanners do for most of what they
try. So they look twice: at the door of a running host, which must give them nothing at all, and browsers (which offer
http/1.1) TLS 1.3 only; and at the same engine, context and certificate of that host in a server that leaves ALPN
open, where they see everything. A finding fails, unless EXPECTED says why it is none. The scanners are Debian's;
as root they are installed if they are missing, and without them this fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree as ElementTree  # what it reads was written by a program on this machine
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fakes.tls_service import PlainService
from hosts.running_host import RunningHost

from tlsrt.loops.door.tls_contexts import server_context
from tlsrt.loops.door.tls_server import TlsServer

TOOLS = {"sslscan": "sslscan", "testssl": "testssl.sh"}  # program -> Debian's package
TOOL_S = 1200.0
EXPECTED: Mapping[str, str] = {
    "cert_revocation": "a test CA names no CRL or OCSP address: clients of this host pin the CA",
    "service": "no test: who has no client certificate hears nothing that a service could be known by",
    "NPN": "no test: TLS 1.3 has no NPN",
    "BREACH": "no test: it needs an HTTP answer, and who has no client certificate gets none",
    "engine_problem": "no test: the openssl of the scanner has no GOST",
}
SUITES = {"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"}
GROUPS = {"secp256r1 (NIST P-256)", "x25519"}  # sslscan 2.1 does not know X25519MLKEM768; testssl.sh does
KEMS = "X25519MLKEM768"
_FINE = {"OK", "INFO"}
_NO_SCAN = ("scanProblem", "optimal_proto", "fatal_error")


def findings_of_sslscan(text: str, *, is_open: bool) -> list[str]:
    """Return what is wrong in an XML report; a door that is not open must offer nothing at all."""
    root = ElementTree.fromstring(text).find("ssltest")
    if root is None:
        return ["sslscan: no result"]
    enabled = {
        f"{each.get('type')} {each.get('version')}" for each in root.iter("protocol") if each.get("enabled") == "1"
    }
    wanted = {"tls 1.3"} if is_open else set()
    found = [] if enabled == wanted else [f"sslscan: protocols {sorted(enabled)}"]
    suites = {each.get("cipher") for each in root.iter("cipher")}
    if suites != (SUITES if is_open else set()):
        found.append(f"sslscan: suites {sorted(map(str, suites))}")
    groups = {each.get("name") for each in root.iter("group")}
    if groups != (GROUPS if is_open else set()):
        found.append(f"sslscan: groups {sorted(map(str, groups))}")
    for name, bad in (("compression", "supported"), ("renegotiation", "supported"), ("heartbleed", "vulnerable")):
        found += [f"sslscan: {name} {each.attrib}" for each in root.iter(name) if each.get(bad) != "0"]
    found += [f"sslscan: {each.tag} {each.text}" for each in root.iter("expired") if each.text != "false"]
    found += [f"sslscan: weak key {each.attrib}" for each in root.iter("pk") if int(each.get("bits", 0)) < 128]
    return found


def findings_of_testssl(entries: Sequence[Mapping[str, Any]], *, is_open: bool) -> list[str]:
    """Return what is wrong in a JSON report; of a door that is not open only protocols and browsers were looked at."""
    found: list[str] = []
    known = {str(entry["id"]): str(entry["finding"]) for entry in entries}
    for old in ("SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2"):
        if known.get(old) != "not offered":
            found.append(f"testssl: {old}: {known.get(old, 'was not looked at')}")
    browsers = {name: text for name, text in known.items() if name.startswith("clientsimulation-")}
    found += [
        f"testssl: {name}: {text}"
        for name, text in browsers.items()
        if text != "No connection" and not text.startswith("TLSv1.3 ")
    ]
    if not any(text.startswith("TLSv1.3 ") for text in browsers.values()):
        found.append("testssl: no browser could connect, so nothing was seen")
    if not is_open:
        return found
    if not known.get("TLS1_3", "").startswith("offered"):
        found.append("testssl: TLS 1.3 is not offered")
    if KEMS not in known.get("FS_KEMs", ""):
        found.append(f"testssl: {KEMS} is not offered")
    found += [
        f"testssl: {entry['id']}: {entry['severity']}: {entry['finding']}"
        for entry in entries
        if entry["id"] in _NO_SCAN or (entry["severity"] not in _FINE and entry["id"] not in EXPECTED)
    ]
    return found


def need_tools() -> None:
    """Install what is missing; end with a sentence if that cannot be."""
    missing = [package for program, package in TOOLS.items() if shutil.which(program) is None]
    if missing and os.geteuid() == 0:
        wait = ("apt-get", "-o", "DPkg::Lock::Timeout=300")
        subprocess.run([*wait, "update", "-qq"], check=False)
        install = [*wait, "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(install, stdout=subprocess.DEVNULL, check=False)
        missing = [package for program, package in TOOLS.items() if shutil.which(program) is None]
    if missing:
        sys.exit(f"{' and '.join(missing)} cannot be had: install these Debian packages")


def scan(port: int, folder: Path, ca: Path, *, is_open: bool) -> list[str]:
    """Run both scanners on a port of 127.0.0.1; return the findings, and print what was seen."""
    address = f"127.0.0.1:{port}"
    report = folder / "sslscan.xml"
    subprocess.run(
        ["sslscan", "--no-colour", f"--xml={report}", address], stdout=subprocess.DEVNULL, timeout=TOOL_S, check=True
    )
    found = findings_of_sslscan(report.read_text(), is_open=is_open)
    report = folder / "testssl.json"
    report.unlink(missing_ok=True)
    parts = () if is_open else ("--protocols", "--client-simulation")
    subprocess.run(
        ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--add-ca", str(ca), *parts,
         "--jsonfile", str(report), address],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=TOOL_S, check=False,
    )  # fmt: skip
    entries = json.loads(report.read_text())
    found += findings_of_testssl(entries, is_open=is_open)
    for entry in entries:
        if entry["id"] == "overall_grade" or (is_open and entry["id"] in EXPECTED and entry["severity"] not in _FINE):
            print(f"  {entry['id']}: {entry['finding']}; {EXPECTED.get(entry['id'], 'for the record')}", flush=True)
    return found


class Quiet:
    """A handler that says nothing."""

    def received_untrusted(self, data: bytes) -> None:
        pass

    def lost(self, reason: str) -> None:
        pass


@contextmanager
def engine(folder: Path) -> Iterator[int]:
    """The engine with the context and the files of a host, which leaves ALPN open; yields its port."""
    loop = asyncio.new_event_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def make() -> TlsServer:
            names = ("server.crt", "server.key", "ca.crt")
            descriptors = [os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC) for name in names]
            certificate, key, ca = descriptors
            server = TlsServer(server_context(certificate, key, ca), PlainService({"": lambda client: Quiet()}))
            for descriptor in descriptors:
                os.close(descriptor)
            server.listen(listener.fileno())
            return server

        server = loop.run_until_complete(make())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            asyncio.run_coroutine_threadsafe(server.drain(5), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def main() -> int:
    """Scan, print the result, and return 1 if there is a finding."""
    need_tools()
    with RunningHost(clients=["browser"], http=["browser"]) as host, tempfile.TemporaryDirectory() as folder:
        ca = host.folder / "ca.crt"
        print("the door of a running host, without its protocols:", flush=True)
        found = scan(host.port, Path(folder), ca, is_open=False)
        print("its engine and certificate, with ALPN left open:", flush=True)
        with engine(host.folder) as port:
            found += scan(port, Path(folder), ca, is_open=True)
    print("\n".join(found) or "only TLS 1.3; no finding but the test CA")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
