"""Programs that tests call and that are no Python packages, with the Debian package of each.

`need` is for tests: where a program is missing it leaves the test out, and in CI (`CI=true`) it fails it. `fetch` is
for the runner: as root on Debian it installs what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

GST_RTSP_SERVER = "gst-rtsp-server"  # a library, which the Python of the system takes
JOURNAL_GATEWAY = "systemd-journal-gatewayd"  # in no PATH, with systemd-journal-remote beside it
PACKAGES = {
    "Xvfb": "xvfb",
    "baresip": "baresip",
    "bash": "bash",
    "chromium-headless-shell": "chromium-headless-shell",
    "busybox": "busybox",
    "cc": "gcc",
    "curl": "curl",
    "dbus-daemon": "dbus-daemon",
    "dovecot": "dovecot-imapd",
    "dunst": "dunst",
    "espeak-ng": "espeak-ng",
    "ffmpeg": "ffmpeg",
    "firefox-esr": "firefox-esr",
    "fish": "fish",
    "git": "git",
    GST_RTSP_SERVER: "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good python3-gi",
    "ip": "iproute2",
    "journalctl": "systemd",
    "jq": "jq",
    "mke2fs": "e2fsprogs",
    "mosquitto": "mosquitto",
    "mosquitto_passwd": "mosquitto",
    "nft": "nftables",
    "node": "nodejs",
    "pacat": "pulseaudio-utils",
    "pactl": "pulseaudio-utils",
    "parec": "pulseaudio-utils",
    "pebble": "pebble",
    "pebble-challtestsrv": "pebble",
    "pipewire": "pipewire pipewire-pulse",
    "pkcheck": "polkitd",
    "powerprofilesctl": "power-profiles-daemon",  # and the daemon, which is in no PATH
    "prometheus": "prometheus",
    "promtool": "promtool",
    "prosody": "prosody",
    "pw-cli": "pipewire-bin",
    "rsyslogd": "rsyslog-openssl",
    "sipp": "sip-tester",
    "strace": "strace",
    "swtpm": "swtpm",
    JOURNAL_GATEWAY: "systemd-journal-remote",
    "systemctl": "systemd",
    "tpm2_unseal": "tpm2-tools",
    "turnserver": "coturn",
    "umockdev-run": "umockdev",
    "umockdev-wrapper": "umockdev",
    "unshare": "util-linux",
    "upower": "upower",  # and upowerd, which is in no PATH
    "wireplumber": "wireplumber",
    "upsd": "nut-server",
    "xdg-dbus-proxy": "xdg-dbus-proxy",
    "zsh": "zsh",
}
_HEADERS = "linux-libc-dev"  # which gcc only recommends
UNPACKED = Path("/usr/local/lib/tlsrt-tests")
LEFT_OUT = "left out: needs "


def missing() -> list[str]:
    """Return the programs that are not on this machine."""
    absent = [program for program in PACKAGES if not _is_there(program)]
    return absent if Path("/usr/include/linux/unistd.h").exists() or "cc" in absent else [*absent, "cc"]


def _is_there(program: str) -> bool:
    if program == GST_RTSP_SERVER:
        return any(Path("/usr/lib").glob("*/girepository-1.0/GstRtspServer-1.0.typelib"))
    if program == JOURNAL_GATEWAY:
        return Path("/usr/lib/systemd", JOURNAL_GATEWAY).exists()
    return shutil.which(program) is not None


def need_unpacked(package: str, program: str) -> Path:
    """Return a program of a package that excludes another one that tests need: it is unpacked beside them."""
    path = UNPACKED / package / program
    if path.exists():
        return path
    words = f"apt-get download {package} && dpkg -x {package}_*.deb {UNPACKED / package}"
    if os.environ.get("CI"):
        pytest.fail(f"needs {path}: {words}")
    pytest.skip(f"{LEFT_OUT}{program}: {words}")


def packages(programs: list[str]) -> list[str]:
    """Return the Debian packages that hold these programs."""
    found = [*dict.fromkeys(name for program in programs for name in PACKAGES[program].split())]
    found += [_HEADERS] if "cc" in programs else []
    return [*found, "libtss2-tcti-swtpm0t64"] if "swtpm" in programs else found


def fetch() -> None:
    """Install the programs that are missing, as root where there is apt-get; say what cannot be had."""
    absent = missing()
    if not absent or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    names = packages(absent)
    print(f"installing what the tests need: {' '.join(names)}", flush=True)
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in ([*apt, "update"], [*apt, "install", "-y", "--no-install-recommends", *names]):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            print(f"cannot install {' '.join(names)}: {done.stderr.strip().splitlines()[-1:] or 'apt-get failed'}")
            return


def need(program: str) -> str:
    """Return the path of a program; leave the running test out where it is missing, and fail it in CI."""
    if _is_there(program) and program not in missing():
        return shutil.which(program) or ""
    names = " ".join(packages([program]))
    if os.environ.get("CI"):
        pytest.fail(f"needs {program}: apt-get install {names}")
    pytest.skip(f"{LEFT_OUT}{program}: apt-get install {names}")
