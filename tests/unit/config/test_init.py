"""init makes a host or nothing; seal renews its boot token."""

from __future__ import annotations

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tlsrt.config import init, key_schedule, pki
from tlsrt.config.boot_token import check_boot_token, parse_boot_token_untrusted
from tlsrt.config.bundle import read_bundle
from tlsrt.config.init import FILES, FOLDERS, initialise, seal, trust_in_force
from tlsrt.config.issuer_chain import SealRecord
from tlsrt.config.load import load_config
from tlsrt.config.measure import measure
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def run(folder: Path, host: str = "127.0.0.1", port: int = 7443) -> list[str]:
    return initialise(folder, host=host, port=port, now=NOW)


def refused(folder: Path, host: str = "127.0.0.1", port: int = 7443) -> str:
    with pytest.raises(ConfigError) as caught:
        run(folder, host, port)
    [sentence] = caught.value.problems
    return sentence


def check(config: Config, minimum: int = 0) -> None:
    prk = key_schedule.extract(config.install_id, (config.path.parent / "master.key").read_bytes())
    token = parse_boot_token_untrusted(config.boot_token.read_bytes())
    check_boot_token(key_schedule.boot_mac_key(prk), token, measure(config), minimum)


def test_what_is_there_and_who_may_read_it(made: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o7777 for path in made.iterdir()}
    public = dict.fromkeys(("tlsrt.yaml", "tlsrt.schema.json", "ca.crt", "server.crt"), 0o644)
    secret = dict.fromkeys(("master.key", "boot.token", "ca.key", "server.key", "admin.tlsrt"), 0o600)
    assert modes == {**public, **secret, "state": 0o700, "run": 0o700, "log": 0o700}
    assert made.stat().st_mode & 0o7777 == 0o700
    assert [path.name for path in made.parent.iterdir()] == ["var"], "no temporary folder is left"
    assert len((made / "master.key").read_bytes()) == 32


def test_the_configuration_is_right_and_sealed(config: Config) -> None:
    assert config.measure == "warn", "this is a checkout"
    assert {(rule.source, rule.target, rule.methods) for rule in config.policy} == {
        ("client/admin", component.address, ("*",)) for component in config.components
    }
    assert len(config.policy) == 7
    check(config, minimum=1)


def test_elsewhere_it_measures_strictly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "is_checkout", lambda: False)
    lines = run(tmp_path / "var")
    assert load_config(tmp_path / "var/tlsrt.yaml").measure == "strict"
    assert not any("checkout" in line for line in lines)


def test_the_bundle_fits_the_host(made: Path, config: Config) -> None:
    bundle = read_bundle(made / "admin.tlsrt")
    assert (bundle.install_id, bundle.name) == (config.install_id, "admin")
    assert (bundle.host, bundle.port, bundle.server_name) == ("127.0.0.1", 7443, "127.0.0.1")
    assert bundle.ca_pem == config.door.client_ca.read_bytes()
    assert pki.fingerprint(bundle.certificate_pem) == config.clients[0].fingerprint
    prk = key_schedule.extract(config.install_id, (made / "master.key").read_bytes())
    issuer = Ed25519PrivateKey.from_private_bytes(key_schedule.issuer_seed(prk, 1)).public_key()
    assert bundle.issuer_public == issuer.public_bytes_raw()
    server = x509.load_pem_x509_certificate(config.door.certificate.read_bytes())
    server.verify_directly_issued_by(x509.load_pem_x509_certificate(bundle.ca_pem))


@pytest.mark.parametrize(("host", "reach"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.1", "192.0.2.1")])
def test_a_client_can_reach_what_the_host_listens_on(tmp_path: Path, host: str, reach: str) -> None:
    run(tmp_path / "var", host)
    assert load_config(tmp_path / "var/tlsrt.yaml").door.host == host
    assert read_bundle(tmp_path / "var/admin.tlsrt").server_name == reach


def test_two_installations_share_nothing_secret(made: Path, tmp_path: Path) -> None:
    run(tmp_path / "other")
    for name in FILES.keys() - {"tlsrt.schema.json"}:
        assert (made / name).read_bytes() != (tmp_path / "other" / name).read_bytes(), name


def test_the_lines_say_what_and_what_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    lines = run(Path("var"))
    assert [line.partition(":")[0] for line in lines[:9]] == [f"wrote var/{name}" for name in FILES]
    assert lines[10:] == [
        f"next: tlsrt-supervisor start{' --config var/tlsrt.yaml' if os.geteuid() == 0 else ''}",
        "this is a development checkout: measure is warn, so changed code starts and is reported",
    ]
    assert "next: tlsrt-supervisor start --config a/b/tlsrt.yaml" in run(Path("a/b"))
    assert "next: tlsrt-supervisor start --config 'my host/tlsrt.yaml'" in run(Path("my host"))


def test_an_existing_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var/other").touch()
    run(tmp_path / "var")
    check(load_config(tmp_path / "var/tlsrt.yaml"))


@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
def test_it_never_overwrites(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("nowhere")  # even a dangling link is something
    assert refused(tmp_path) == f"{tmp_path / name} exists, and init never overwrites: nothing was written"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "var").touch()
    assert refused(tmp_path / "var") == f"{tmp_path / 'var'} exists and is not a folder: choose another place"
    assert refused(tmp_path / "var/x") == f"cannot make the folder {tmp_path / 'var'}: File exists"


@pytest.mark.parametrize(
    "host", ["", "a b", 'x"y', "a\nb", "-x", "{a}", "localhost", "h.example", "256.0.0.1", "1.2.3"]
)
def test_a_host_that_is_none(tmp_path: Path, host: str) -> None:
    sentence = (
        f"the host must be an IP address, such as 127.0.0.1, or 0.0.0.0 for all, not {host!r}: "
        "for a name by which clients reach it, use --name"
    )
    assert refused(tmp_path / "var", host) == sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_port_that_is_none(tmp_path: Path, port: int) -> None:
    assert refused(tmp_path / "var", port=port) == f"the port must be from 1 to 65535, not {port}"


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("fails_at", range(10))
def test_a_disk_that_fills_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool, fails_at: int
) -> None:
    """The write after `fails_at` good ones fails: a ConfigError, and every trace gone."""
    target = tmp_path / "var"
    if exists:
        target.mkdir()
    written: list[int] = []
    real = os.write

    def write(descriptor: int, data: memoryview) -> int:
        if len(written) == fails_at:
            raise OSError(28, "No space left on device")
        written.append(len(data))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    if fails_at < len(FILES):
        sentence = refused(target)
        assert sentence.startswith("cannot write ") and sentence.endswith(": No space left on device")
        assert list(target.iterdir() if exists else tmp_path.iterdir()) == []
    else:
        run(target)
        assert len(written) == len(FILES)


def test_seal_after_a_change(config: Config) -> None:
    with config.path.open("a") as file:
        file.write("# intended\n")
    with pytest.raises(ConfigError, match="this host is not what was sealed: changed config; if you intended that"):
        check(config)
    assert seal(config) == 2
    assert config.boot_token.stat().st_mode & 0o7777 == 0o600
    check(config, minimum=2)
    assert seal(config) == 3


def test_seal_goes_on_from_the_number_in_the_state(config: Config) -> None:
    assert seal(config, SealRecord(7)) == 8
    config.boot_token.unlink()
    assert seal(config, SealRecord(8)) == 9
    config.boot_token.write_text("damaged")
    assert seal(config, SealRecord(9)) == 10
    check(config, minimum=10)


def test_seal_with_a_key_that_others_can_read(config: Config) -> None:
    before = config.boot_token.read_bytes()
    (config.path.parent / "master.key").chmod(0o644)
    with pytest.raises(ConfigError, match="has mode 0644, open to group or others: chmod 0600 it"):
        seal(config)
    assert config.boot_token.read_bytes() == before


def test_seal_with_a_weak_key(config: Config) -> None:
    (config.path.parent / "master.key").write_bytes(bytes(32))
    with pytest.raises(ConfigError, match="master_key is one byte repeated"):
        seal(config)


def test_the_comments_of_the_template_are_right(made: Path) -> None:
    """What the file shows in comments works when the comment signs go."""
    lines = (made / "tlsrt.yaml").read_text().splitlines()
    start = lines.index("# components:")
    shown = [line.removeprefix("# ") for line in lines[start:]]
    keep = [line for line in shown if re.match(" |[a-z_]+:", line)]  # and no sentence
    text = "\n".join([*lines[:start], *keep]).replace("external/network: null ", "external/spare: {class: 'x:Y'} ")
    for line in ("client/admin -> third/notes", "third/notes -> secondary/store", "third/notes -> primary/events"):
        text = text.replace(f"# {line}", line)
    (made / "tlsrt.yaml").write_text(text)
    config = load_config(made / "tlsrt.yaml")
    assert [component.address for component in config.components if not component.builtin] == [
        "third/notes",
        "external/spare",
    ]
    assert [str(rule) for one in config.loop("reports").egress for rule in one.to] == ["192.0.2.7:443"]
    assert config.components_of("third.notes")[0].needs.memory_mb == 64
    assert config.loop("third").memory_mb == 256
    assert "net_namespace" in config.sandbox.waive
    assert len(config.policy) == 10


def test_an_older_boot_token_takes_no_pin_away(tmp_path: Path) -> None:
    """It is put back with its pins, and a start refuses it: the seal that follows goes by the configuration."""
    folder = tmp_path / "var"
    run(folder)
    path, token = folder / "tlsrt.yaml", folder / "boot.token"
    without = token.read_bytes()
    path.write_text(f"{path.read_text()}\npublishers: {{tlsrt: ['{'ab' * 32}']}}\n")
    config = load_config(path)
    assert seal(config) == 2
    assert seal(config, SealRecord(2)) == 3, "the same again"
    token.write_bytes(without)
    with pytest.raises(ConfigError, match="is not what was sealed, and its publisher is pinned"):
        seal(config, SealRecord(2))
    assert token.read_bytes() == without
    trust = trust_in_force(config, SealRecord(2))
    assert (trust.publishers, [*trust.highest]) == ({"tlsrt": (b"\xab" * 32,)}, ["tlsrt"])
