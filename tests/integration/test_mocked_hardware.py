"""Readers of the hardware on devices that umockdev pretends to be there: the code reads /sys as on any host."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tools.programs import need

pytestmark = pytest.mark.once

DEVICES = """P: /devices/platform/coretemp.0/hwmon/hwmon0
E: SUBSYSTEM=hwmon
A: name=coretemp\\n
A: temp1_input=47000\\n
A: temp1_label=Package id 0\\n
A: temp1_crit=100000\\n
A: fan1_input=1800\\n

P: /devices/virtual/thermal/thermal_zone0
E: SUBSYSTEM=thermal
A: type=x86_pkg_temp\\n
A: temp=95000\\n
A: policy=step_wise\\n

P: /devices/pci0000:00/0000:00:14.0/usb1/1-1
N: bus/usb/001/002
E: SUBSYSTEM=usb
E: DEVTYPE=usb_device
A: idVendor=046d\\n
A: idProduct=c52b\\n
A: serial=A1\\n

P: /devices/pci0000:00/0000:00:1f.2/ata1/block/sdz
E: SUBSYSTEM=block
E: DEVTYPE=disk
A: size=2048\\n
A: ro=1\\n
A: stat=1 2 16 4 5 6 32 8 9 10 11\\n

P: /devices/platform/iTCO_wdt/watchdog/watchdog0
E: SUBSYSTEM=watchdog
A: identity=iTCO_wdt\\n
A: state=active\\n
A: timeout=30\\n

P: /devices/platform/MSFT0101:00/tpm/tpm0
E: SUBSYSTEM=tpm
A: tpm_version_major=2\\n
"""
ASK = """
import json
from pathlib import Path
from tlsrt.loops.facts import machine, sensors
from tlsrt.loops.facts.block_devices import block_devices
from tlsrt.loops.facts.known_devices import device_of_event, devices_there
sys = Path("/sys")
usb = device_of_event(sys, "usb", "usb_device", "/devices/pci0000:00/0000:00:14.0/usb1/1-1")
print(json.dumps({
    "temperatures": sensors.read_temperatures(sys), "fans": sensors.read_fans(sys),
    "zones": sensors.read_thermal_zones(sys), "errors": sensors.read_memory_controllers(sys),
    "watchdogs": machine.read_watchdogs(sys), "tpms": machine.read_tpms(sys),
    "blocks": block_devices(sys), "devices": [one.name for one in devices_there(sys)], "usb": usb and usb.name,
}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    program = need("umockdev-run")
    file: Path = tmp_path_factory.mktemp("mocked") / "devices.umockdev"
    file.write_text(DEVICES)
    command = [program, "--device", str(file), "--", sys.executable, "-c", ASK]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert said.returncode == 0, said.stderr
    document: dict[str, Any] = json.loads(said.stdout)
    return document


def test_sensors(found: dict[str, Any]) -> None:
    assert [(one["sensor"], one["label"], one["celsius"]) for one in found["temperatures"]] == [
        ("coretemp", "Package id 0", 47.0), ("x86_pkg_temp", "thermal_zone0", 95.0),
    ]  # fmt: skip
    assert found["temperatures"][0]["critical_celsius"] == 100.0
    assert [(one["label"], one["revolutions_per_minute"]) for one in found["fans"]] == [("fan1", 1800)]
    assert [(one["kind"], one["policy"]) for one in found["zones"]] == [("x86_pkg_temp", "step_wise")]
    assert found["errors"] == []


def test_watchdog_and_tpm(found: dict[str, Any]) -> None:
    assert [(one["kind"], one["is_active"], one["timeout_s"]) for one in found["watchdogs"]] == [("iTCO_wdt", True, 30)]
    assert found["tpms"] == [{"name": "tpm0", "version_major": 2}]


def test_a_usb_device_has_one_name(found: dict[str, Any]) -> None:
    assert found["usb"] == "usb 046d:c52b a1" and found["usb"] in found["devices"]


def test_a_disk(found: dict[str, Any]) -> None:
    (disk,) = [one for one in found["blocks"] if one["name"] == "sdz"]
    assert (disk["size_bytes"], disk["read_only"], disk["read_bytes"]) == (2048 * 512, True, 16 * 512)
    assert disk["rotational"] is None and disk["device_errors"] is None
