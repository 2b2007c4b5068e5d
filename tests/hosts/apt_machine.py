"""A folder that stands for a machine with packages: real apt and dpkg on a root and an archive that a test makes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Machine:
    """A folder that stands for a machine: its packages, its archive, and the folders of orders and results."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.root, self.archive = base / "root", base / "archive"
        for name in (
            "root/var/lib/dpkg/info", "root/var/lib/dpkg/updates", "root/var/lib/apt/lists/partial", "root/etc/apt",
            "root/var/cache/apt/archives/partial", "root/var/log/apt", "archive", "orders", "results",
        ):  # fmt: skip
            (base / name).mkdir(parents=True)
        for name in ("status", "available"):
            (self.root / "var/lib/dpkg" / name).touch()
        (base / "orders").chmod(0o777)
        self.config = base / "apt.conf"
        self.config.write_text(
            f'Dir "{self.root}/";\nDir::State::status "{self.root}/var/lib/dpkg/status";\n'
            f'Dir::Bin::methods "/usr/lib/apt/methods";\nDPkg::Options {{ "--root={self.root}"; }};\n'
            'APT::Sandbox::User "root";\nAPT::Architecture "amd64";\nAcquire::Languages "none";\n'
        )
        (self.root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] copy:{self.archive} ./\n")
        self.environment = {**os.environ, "APT_CONFIG": str(self.config)}

    def publish(self, name: str, version: str, *, depends: str = "", conffile: str = "") -> Path:
        """Build a package and put it into the archive."""
        tree = self.base / f"build-{name}-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "usr/share" / name).mkdir(parents=True)
        (tree / "usr/share" / name / "version").write_text(version)
        fields = (
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: t\n"
        )
        (tree / "DEBIAN/control").write_text(fields + (f"Depends: {depends}\n" if depends else ""))
        if conffile:
            (tree / "etc").mkdir()
            (tree / "etc" / f"{name}.conf").write_text(conffile)
            (tree / "DEBIAN/conffiles").write_text(f"/etc/{name}.conf\n")
        deb = self.archive / f"{name}_{version}_all.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, deb], check=True, capture_output=True)
        done = subprocess.run(["dpkg-scanpackages", "-m", "."], cwd=self.archive, check=True, capture_output=True)
        (self.archive / "Packages").write_bytes(done.stdout)
        return deb

    def install(self, deb: Path) -> None:
        subprocess.run(["dpkg", f"--root={self.root}", "-i", deb], check=True, capture_output=True)

    def version(self, name: str) -> str | None:
        path = self.root / "usr/share" / name / "version"
        return path.read_text() if path.exists() else None

    def carry_out(self) -> None:
        """Do what tlsrt-updates.service does."""
        command = [sys.executable, "-m", "tlsrt.supervisor.cli.main", "apt-order"]
        words = ["--orders", str(self.base / "orders"), "--results", str(self.base / "results")]
        done = subprocess.run([*command, *words], env=self.environment, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr

    @contextmanager
    def unit(self) -> Iterator[None]:
        """Do what tlsrt-updates.path does, for as long as the block lasts."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.05):
                if (self.base / "orders" / "order").exists():
                    self.carry_out()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(60)
