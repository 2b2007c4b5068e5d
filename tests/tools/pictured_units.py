"""A booted systemd with a tlsrt host in it, whose services and commands are pictured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hosts.booted_services import CONFIG, booted_machine
from hosts.booted_systemd import HOME
from hosts.console_browser import ConsoleBrowser, Tab
from hosts.joined_networks import inside

from tlsrt.config.bundle import read_bundle

SERVICES = "secondary/services"
DROP_IN = "/etc/tlsrt/components.d/secondary.services.yaml"
RULES = "/etc/polkit-1/rules.d/50-tlsrt-services.rules"
OPTIONS: dict[str, dict[str, Any]] = {
    "units": {
        "heating.service": {"actions": ["start", "stop", "restart"]},
        "printer.service": {"actions": ["start", "restart"]},
        "radio.service": {"actions": ["start", "stop"]},
    },
    "jobs": {
        "disk": {"argv": ["/usr/bin/df", "-h", "/"], "seconds": 20},
        "find": {"argv": ["/usr/bin/find", "/srv", "-name"], "words": ["[a-z.*]{1,40}"], "seconds": 20},
    },
}
UNITS = {
    "heating": ("Heating of the house", "ExecStart=/usr/bin/sleep infinity"),
    "printer": ("Printer in the study", "Type=oneshot\nExecStart=/bin/false"),
    "radio": ("Radio in the kitchen", "ExecStart=/usr/bin/sleep infinity"),
}


@contextmanager
def pictured_units() -> Iterator[Tab]:
    """Run it, with one unit that runs, one that failed and one that is stopped; give the page of a client there."""
    with booted_machine() as machine:
        for name, (says, runs) in UNITS.items():
            text = f"[Unit]\nDescription={says}\n[Service]\n{runs}\n"
            machine.write(f"/run/systemd/system/{name}.service", text)
        supervisor = ("tlsrt-supervisor", "--config", CONFIG)
        machine.do(
            *supervisor, "component", "add", SERVICES, "--yes",
            "--option", f"units={json.dumps(OPTIONS['units'])}", "--option", f"jobs={json.dumps(OPTIONS['jobs'])}",
        )  # fmt: skip
        setup = (f"{HOME}/env/bin/python", "-m", "tlsrt.loops.secondary.unit_setup", DROP_IN)
        machine.write(RULES, machine.do(*setup, "polkit"))
        for name in OPTIONS["jobs"]:
            machine.write(f"/etc/systemd/system/tlsrt-job-{name}@.service", machine.do(*setup, "job", name))
        machine.systemctl("daemon-reload")
        machine.systemctl("start", "heating.service")
        machine.run("systemctl", "start", "printer.service")  # it fails
        machine.systemctl("start", "tlsrt.service")
        machine.until(lambda: machine.run(*supervisor, "status").returncode == 0, "a host that is ready")
        made = machine.do(*supervisor, "console", "phone", "--allow", f"{SERVICES}: *", "--enable", "--json")
        link = urlsplit(json.loads(made)["link"])
        with inside(Path(f"/proc/{machine.pid}/ns/net")):
            browser = ConsoleBrowser(read_bundle(machine.path("/etc/tlsrt/admin.tlsrt")).ca_pem)
        with browser:
            tab = browser.tab(f"https://127.0.0.1:{link.port}/#{link.fragment}")
            tab.click("document.querySelector('#enrol button')")
            tab.until("document.querySelector('nav a')")
            yield tab
            assert browser.wrong == [], browser.wrong
