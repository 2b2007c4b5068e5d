"""A machine with a battery that is not there, and the real daemons of power on it. Run under umockdev-wrapper.

    DBUS_SYSTEM_BUS_ADDRESS=unix:path=... umockdev-wrapper python3 power_machine.py

It prints `ready`, and then takes lines: `battery PERCENT`, `mains 0|1`, `again`, `profile` (prints what the firmware
has), `stop NAME`, `freeze NAME`, `thaw NAME`, `start NAME`, with NAME upowerd or power-profiles-daemon; each is
answered.
"""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from pathlib import Path

DEVICES = r"""P: /devices/AC
E: SUBSYSTEM=power_supply
A: type=Mains\n
A: online=1\n

P: /devices/BAT0
E: SUBSYSTEM=power_supply
A: type=Battery\n
A: present=1\n
A: scope=System\n
A: status=Discharging\n
A: energy_full=60000000\n
A: energy_full_design=80000000\n
A: energy_now=48000000\n
A: power_now=12000000\n
A: voltage_now=12000000\n
A: capacity=80\n
"""
DAEMONS = {name: f"/usr/libexec/{name}" for name in ("upowerd", "power-profiles-daemon")}


class Testbed:
    """umockdev's, by its library."""

    def __init__(self) -> None:
        self._library = library = ctypes.CDLL("libumockdev.so.0")
        library.umockdev_testbed_new.restype = ctypes.c_void_p
        library.umockdev_testbed_get_root_dir.restype = ctypes.c_char_p
        self._bed = ctypes.c_void_p(library.umockdev_testbed_new())
        self.root = Path(library.umockdev_testbed_get_root_dir(self._bed).decode())
        assert library.umockdev_testbed_add_from_string(self._bed, DEVICES.encode(), None)

    def set(self, device: str, name: str, value: str) -> None:
        words = [f"/sys/devices/{device}".encode(), name.encode(), f"{value}\n".encode()]
        self._library.umockdev_testbed_set_attribute(self._bed, *words)

    def tell(self, device: str) -> None:
        self._library.umockdev_testbed_uevent(self._bed, f"/sys/devices/{device}".encode(), b"change")


def main() -> None:
    bed = Testbed()
    firmware = bed.root / "sys/firmware/acpi"
    firmware.mkdir(parents=True)
    (firmware / "platform_profile").write_text("balanced\n")
    (firmware / "platform_profile_choices").write_text("low-power balanced performance\n")
    running = {name: subprocess.Popen([path], stdout=sys.stderr) for name, path in DAEMONS.items()}
    print("ready", flush=True)
    for line in sys.stdin:
        answer = "ok"
        match line.split():
            case ["battery", percent]:
                bed.set("BAT0", "capacity", percent)
                bed.set("BAT0", "energy_now", str(int(percent) * 600000))
                bed.tell("BAT0")
            case ["mains", online]:
                bed.set("AC", "online", online)
                bed.set("BAT0", "status", "Charging" if online == "1" else "Discharging")
                bed.tell("AC")
                bed.tell("BAT0")
            case ["again"]:  # upowerd may have missed a change
                bed.tell("AC")
                bed.tell("BAT0")
            case ["profile"]:
                answer = (firmware / "platform_profile").read_text().strip()
            case ["stop", name]:
                running[name].terminate()
                running[name].wait()
            case ["freeze", name]:
                running[name].send_signal(signal.SIGSTOP)
            case ["thaw", name]:
                running[name].send_signal(signal.SIGCONT)
            case ["start", name]:
                running[name] = subprocess.Popen([DAEMONS[name]], stdout=sys.stderr)
        print(answer, flush=True)
    for one in running.values():
        one.kill()
        one.wait()


if __name__ == "__main__":
    main()
