"""`tlsrt-supervisor release key|sign|verify` for who publishes a package, and `upgrade` for who installs it.

`upgrade` is done by the code that runs here already: it verifies the wheel before pip writes a byte of it, and what pip
has written before a line of it runs. `seal --accept` alone is done by the new code, which speaks for itself.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from tlsrt.command_line.hint import command_line
from tlsrt.config.acceptance import Acceptance, check_acceptance, package_in, versions_in
from tlsrt.config.distributions import is_older, normalized
from tlsrt.config.files import read_bounded, replace, write_new
from tlsrt.config.init import trust_in_force
from tlsrt.config.measure import measure
from tlsrt.config.publishers import Trust
from tlsrt.config.release import (
    KEY,
    MAX_RELEASE_BYTES,
    Release,
    check_release,
    differences,
    parse_release_untrusted,
    sign_release,
)
from tlsrt.errors import EX_CONFIG, ConfigError
from tlsrt.supervisor.cli.component.wheel import known_distributions, pip
from tlsrt.supervisor.cli.exchange import config_of, say
from tlsrt.supervisor.cli.release_wheel import Wheel, embedded, read_wheel
from tlsrt.supervisor.cli.seal_record import seal_record_of

_KEY_BYTES = 4096
_WHEEL_BYTES = 1 << 30
_SEAL = "import sys; from tlsrt.entry import supervisor; sys.exit(supervisor())"


def key(arguments: argparse.Namespace) -> int:
    """Write a new signing key, and print its public key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    made = Ed25519PrivateKey.generate()
    write_new(arguments.file, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    print(made.public_key().public_bytes_raw().hex())
    say(f"wrote {arguments.file}, the key that signs: keep it and a copy where no host is")
    return 0


def sign(arguments: argparse.Namespace) -> int:
    """Write the signed manifest of a wheel, beside or into it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = read_bounded(arguments.wheel, _WHEEL_BYTES, "the wheel")
    wheel = read_wheel(data, arguments.wheel.name)
    try:
        private = load_pem_private_key(read_bounded(arguments.key, _KEY_BYTES, "the key"), None)
    except (ValueError, TypeError):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(f"{arguments.key} is no signing key without a password: make one by `release key FILE`")
    expires = (datetime.now(UTC) + timedelta(days=arguments.days)).date().isoformat()
    release = sign_release(private, wheel.name, wheel.version, expires, wheel.files)
    if arguments.embed:
        replace(arguments.wheel, embedded(data, wheel, release.encode()), 0o644)
        place = arguments.wheel
    else:
        place = arguments.wheel.with_name(f"{arguments.wheel.name}.release")
        replace(place, release.encode(), 0o644)
    print(f"signed {wheel.name} {wheel.version}, {len(wheel.files)} files, until {expires}: {place}")
    print(f"by {release.key.hex()}")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Say whether a wheel is what its publisher has signed: the given one, else one that is pinned here."""
    wheel, release = _read(arguments)
    if arguments.publisher:
        if not re.fullmatch(KEY, arguments.publisher):
            raise ConfigError("a public key has 64 lower-case hex digits, as `release key` prints it")
        publishers: Collection[bytes] = (bytes.fromhex(arguments.publisher),)
    else:
        config = config_of(arguments)
        publishers = [bytes.fromhex(one) for one in config.publishers.get(wheel.name, ())]
        if not publishers:
            raise ConfigError(f"no publisher of {wheel.name} is pinned in {config.path}: name a key with --publisher")
    _check(wheel, release, publishers)
    print(
        f"{wheel.name} {wheel.version}: {len(wheel.files)} files as signed by {release.key.hex()}, until "
        f"{release.expires}"
    )
    return 0


def upgrade(arguments: argparse.Namespace) -> int:
    """Verify a signed wheel, install it, verify what was installed, and seal."""
    config = config_of(arguments, writes=True)
    trust, before = trust_in_force(config, seal_record_of(config)), measure(config)
    wheel, release = _read(arguments)
    _check(wheel, release, _publishers(trust, wheel.name))
    _check_older(trust, wheel, arguments.allow_downgrade)
    if not package_in(before, wheel.name).versions:
        raise ConfigError(
            f"nothing on this host imports {wheel.name}, so it would not be sealed: add a component that does; nothing "
            "was installed"
        )
    with tempfile.TemporaryDirectory(prefix="tlsrt-upgrade.") as folder:
        copy = Path(folder, arguments.wheel.name)
        write_new(copy, wheel.data, 0o600)  # what was verified, whatever lies there by now
        manifest = Path(folder, "release")
        write_new(manifest, release.encode(), 0o600)
        _install(wheel, copy)
        found = measure(config)
        asked = Acceptance({wheel.name: wheel.version}, (), True, arguments.allow_downgrade, {wheel.name: release})
        check_acceptance(before, found, Trust({wheel.name: trust.publishers[wheel.name]}), asked, _today())
        words = ["seal", "--config", str(config.path), "--accept", f"{wheel.name}=={wheel.version}"]
        words += ["--release", str(manifest), *(["--allow-downgrade"] if arguments.allow_downgrade else [])]
        done = subprocess.run([sys.executable, "-I", "-c", _SEAL, *words], check=False)
    if done.returncode:
        say(f"{wheel.name} {wheel.version} is installed as it was signed, and not sealed: run `seal` as it says above")
        return EX_CONFIG
    was = versions_in(before).get(wheel.name, "none")
    print(f"{wheel.name} {was} -> {wheel.version}: a host that runs takes it with its next start")
    return 0


def named(arguments: argparse.Namespace) -> Acceptance:
    """Return what `seal` was told to accept, with the manifests of what it names. Raises ConfigError."""
    words = tuple(arguments.accept or ())
    asked = Acceptance.of(words, downgrade=arguments.allow_downgrade)
    if arguments.release and len(asked.versions) != 1:
        raise ConfigError("--release is the manifest of one package: name it by one --accept NAME==VERSION")
    releases: dict[str, Release] = {}
    known = known_distributions() if asked.versions else {}
    for name in asked.versions:
        path = arguments.release or (known[name].metadata / "RELEASE" if name in known else None)
        if path is not None and os.path.lexists(path):
            releases[name] = parse_release_untrusted(read_bounded(path, MAX_RELEASE_BYTES, "the release manifest"))
        elif arguments.release:
            raise ConfigError(f"there is no release manifest {path}")
    return Acceptance(asked.versions, asked.names, asked.is_all, asked.downgrade, releases)


def _read(arguments: argparse.Namespace) -> tuple[Wheel, Release]:
    wheel = read_wheel(read_bounded(arguments.wheel, _WHEEL_BYTES, "the wheel"), arguments.wheel.name)
    beside = arguments.wheel.with_name(f"{arguments.wheel.name}.release")
    path = arguments.release or (beside if os.path.lexists(beside) else None)
    text = read_bounded(path, MAX_RELEASE_BYTES, "the release manifest") if path is not None else wheel.release
    if not text:
        raise ConfigError(f"{arguments.wheel} has no release manifest in it or beside it: name one with --release FILE")
    return wheel, parse_release_untrusted(text)


def _check(wheel: Wheel, release: Release, publishers: Collection[bytes]) -> None:
    check_release(release, publishers, wheel.name, wheel.version, _today())
    tops = {path.partition("/")[0] for path in (*wheel.files, *release.files)}
    if wrong := differences(release, wheel.files, tops):
        raise ConfigError(f"the wheel is not what its publisher has signed: {', '.join(wrong[:10])}; nothing was done")


def _publishers(trust: Trust, name: str) -> Collection[bytes]:
    if found := trust.publishers.get(name):
        return found
    raise ConfigError(
        f"no publisher of {name} was pinned when this host was sealed: write `publishers: {{{name}: [KEY]}}` into the "
        f"configuration, run {command_line('tlsrt-supervisor', 'seal')}, then upgrade"
    )


def _check_older(trust: Trust, wheel: Wheel, downgrade: bool) -> None:
    highest = trust.highest.get(wheel.name, wheel.version)
    if is_older(wheel.version, highest) and not downgrade:
        raise ConfigError(
            f"{wheel.name} {wheel.version} is older than {highest}, which this host has run: nothing was installed; "
            "say --allow-downgrade if you want its old faults back"
        )


def _install(wheel: Wheel, path: Path) -> None:
    what, here = f"install {wheel.name} {wheel.version}", known_distributions().get(normalized(wheel.name))
    if here is None or here.version != wheel.version:
        pip("install", "--no-compile", "--no-index", "--upgrade", str(path), what=what)  # refuses what it lacks
    else:
        pip("install", "--no-compile", "--no-index", "--no-deps", "--force-reinstall", str(path), what=what)


def _today() -> date:
    return datetime.now(UTC).date()
