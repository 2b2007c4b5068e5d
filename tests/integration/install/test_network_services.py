"""external/configuration and external/network in a booted systemd, beside a real systemd-networkd and -resolved."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.booted_services import CONFIG, booted_services, call
from hosts.booted_systemd import BootedSystemd

pytestmark = pytest.mark.once

CONFIGURATION, NETWORK, PROCESS = "external/configuration", "external/network", "external.configuration"
FOLDER = "/srv/network"
FILE = f"{FOLDER}/10-tlsrt-e0.network"
NETWORKD = """
[Service]
Type=notify
ExecStart=/usr/lib/systemd/systemd-networkd
User=systemd-network
AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_RAW
RuntimeDirectory=systemd/netif
RuntimeDirectoryPreserve=yes
"""
RESOLVED = """
[Service]
Type=notify
ExecStart=/usr/lib/systemd/systemd-resolved
User=systemd-resolve
AmbientCapabilities=CAP_NET_RAW CAP_NET_BIND_SERVICE
RuntimeDirectory=systemd/resolve
"""
RULE = """
polkit.addRule(function(action, subject) {
    if (action.id == "org.freedesktop.network1.reload" && subject.user == "tlsrt-external-configuration")
        return polkit.Result.YES;
});
"""
INTERFACES = (
    "interfaces={e0: {up: true, mtu: 1400, addresses: [10.8.0.1/24, 'fd00:8::1/64'], "
    "routes: [{to: 10.9.0.0/16, via: 10.8.0.2, metric: 50}]}}"
)
RELOAD = (
    "buses=[{bus: system, call: {org.freedesktop.network1: "
    "[org.freedesktop.network1.Manager.Reload@/org/freedesktop/network1]}, why: has the files read}]"
)
DNS = (
    "{external/network: {options: {resolved: true}, needs: {buses: [{bus: system, call: {org.freedesktop.resolve1: "
    "[org.freedesktop.DBus.Properties.GetAll@/org/freedesktop/resolve1]}, why: tells name servers}]}}}"
)


def unpacked(package: str, folder: Path) -> Path:
    """Return the files of a Debian package that is not installed: to install it would change this machine's names."""
    subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True)
    (file,) = folder.glob(f"{package}_*.deb")
    subprocess.run(["dpkg-deb", "-x", str(file), str(folder / package)], check=True)
    return folder / package


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[BootedSystemd]:
    for made in booted_services(request):
        made.do("ip", "link", "add", "e0", "type", "veth", "peer", "name", "e1")
        made.do("ip", "link", "set", "e1", "up")
        made.do("mkdir", "-p", FOLDER, "/usr/local/lib/systemd")
        made.do("ln", "-s", FOLDER, "/usr/local/lib/systemd/network")
        made.write("/run/systemd/system/networkd-test.service", NETWORKD)
        made.write("/etc/polkit-1/rules.d/50-tlsrt-network.rules", RULE)
        made.systemctl("daemon-reload")
        words = ["--option", f"networkd={FOLDER}", "--option", INTERFACES, "--option", "confirm_s=3600"]
        words += ["--needs", f"write=[{{path: {FOLDER}, why: keeps what was confirmed}}]", "--needs", RELOAD]
        add = ("component", "add", CONFIGURATION, "--yes", *words, "--allow", 'client/admin: "*"')
        added = made.run("tlsrt-supervisor", "--config", CONFIG, *add)
        assert added.returncode == 0, added.stdout + added.stderr
        made.write("/etc/tlsrt/tlsrt.yaml.d/dns.yaml", f"components: {DNS}\n")
        made.do("tlsrt-supervisor", "--config", CONFIG, "seal")
        made.systemctl("start", "tlsrt")
        answered(made, CONFIGURATION, "status")
        made.do("chown", str(uid(made)), FOLDER)
        yield made


def uid(machine: BootedSystemd) -> int:
    loops = json.loads(machine.do("tlsrt-supervisor", "--config", CONFIG, "status", "--json"))["loops"]
    pid = next(one["pid"] for one in loops if one["name"] == PROCESS)
    return int(machine.do("stat", "-c", "%u", f"/proc/{pid}"))


def answered(machine: BootedSystemd, component: str, method: str) -> Any:
    """Wait until it answers; return what."""
    said: list[Any] = []

    def does() -> bool:
        said.append(call(machine, component, method))
        return not isinstance(said[-1], str)

    machine.until(does, "an answer", said=lambda: str(said[-1]))
    return said[-1]


def seen(machine: BootedSystemd) -> tuple[int, list[str], str]:
    (link,) = json.loads(machine.do("ip", "-j", "address", "show", "dev", "e0"))
    addresses = [one["local"] for one in link["addr_info"] if one["scope"] == "global"]
    return link["mtu"], addresses, machine.do("ip", "route", "show", "proto", "117").strip()


AFTER = (1400, ["10.8.0.1", "fd00:8::1"], "10.9.0.0/16 via 10.8.0.2 dev e0 metric 50")


def settled(machine: BootedSystemd) -> bool:
    return (found := seen(machine))[0] == 1400 and sorted(found[1]) == AFTER[1] and found[2].startswith(AFTER[2])


def test_what_is_confirmed_is_kept_by_networkd_and_what_is_not_is_never_a_file(machine: BootedSystemd) -> None:
    revision = call(machine, CONFIGURATION, "apply")["revision"]
    assert settled(machine) and not machine.path(FILE).exists()
    call(machine, CONFIGURATION, "confirm", str(revision))
    text = machine.path(FILE).read_text()
    assert "Address=10.8.0.1/24\n" in text and "Protocol=117\n" in text
    told = call(machine, CONFIGURATION, "status")["networkd"]
    assert told["files"] == ["10-tlsrt-e0.network"] and "reads them at its next start" in told["why_not_read"]
    machine.do("ip", "address", "flush", "dev", "e0")  # as after a boot
    machine.do("ip", "link", "set", "e0", "down", "mtu", "1500")
    machine.systemctl("start", "networkd-test")
    machine.until(lambda: settled(machine), "the interface as it was confirmed", said=lambda: str(seen(machine)))
    assert call(machine, CONFIGURATION, "status")["differs"] == []


def test_a_running_networkd_reads_the_files_and_keeps_the_interface_so(machine: BootedSystemd) -> None:
    machine.path(FILE).unlink()
    machine.do("networkctl", "reload")
    revision = call(machine, CONFIGURATION, "apply")["revision"]
    assert call(machine, CONFIGURATION, "confirm", str(revision)) is None
    status = call(machine, CONFIGURATION, "status")
    assert status["networkd"]["why_not_read"] is None and status["differs"] == [] and settled(machine)
    shown = json.loads(machine.do("networkctl", "--json=short", "status", "e0"))
    assert Path(shown["NetworkFile"]).name == Path(FILE).name and shown["AdministrativeState"] in (
        "configured",
        "configuring",
    )


def test_a_trial_that_is_undone_leaves_the_files_as_they_were_confirmed(machine: BootedSystemd) -> None:
    before = machine.path(FILE).read_text()
    revision = call(machine, CONFIGURATION, "apply")["revision"]
    assert call(machine, CONFIGURATION, "undo", str(revision)) is None
    assert machine.path(FILE).read_text() == before and settled(machine)


def test_resolved_tells_name_servers_by_link_and_without_it_resolv_conf(machine: BootedSystemd, tmp_path: Path) -> None:
    found = answered(machine, NETWORK, "dns")
    assert found["by"] in ("resolv.conf", None) and "resolve1" in found["why_not"], found
    files = unpacked("systemd-resolved", tmp_path)
    for part in ("usr/lib/systemd/systemd-resolved", "usr/share/dbus-1/system.d/org.freedesktop.resolve1.conf"):
        shutil.copy(files / part, machine.path(f"/{part}"))
    shutil.copy(files / "usr/bin/resolvectl", machine.path("/usr/bin/resolvectl"))
    machine.do("useradd", "--system", "systemd-resolve")
    machine.write("/run/systemd/system/resolved-test.service", RESOLVED)
    machine.systemctl("daemon-reload")
    machine.systemctl("reload", "dbus")
    machine.systemctl("start", "resolved-test")
    machine.do("resolvectl", "dns", "e0", "192.0.2.53", "2001:db8::53")
    machine.do("resolvectl", "domain", "e0", "lan", "~corp.test")
    found = answered(machine, NETWORK, "dns")
    assert (found["by"], found["why_not"]) == ("systemd-resolved", None), found
    servers = [one for one in found["servers"] if one["interface"] == "e0"]  # others are those of this machine
    assert servers == [{"address": one, "interface": "e0"} for one in ("192.0.2.53", "2001:db8::53")]
    assert [one for one in found["domains"] if one["interface"] == "e0"] == [
        {"domain": "lan", "interface": "e0", "only_routes": False},
        {"domain": "corp.test", "interface": "e0", "only_routes": True},
    ]
