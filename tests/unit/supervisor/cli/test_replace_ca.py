"""`certificate replace-ca` of a host that does not run: its files, what is refused, and a kill at each step."""

from __future__ import annotations

import stat
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attackers.killed_runs import left_at_each
from cryptography.x509 import load_pem_x509_certificates

from tlsrt.config import pki
from tlsrt.config.init import changed_names, initialise, seal
from tlsrt.config.load import load_config
from tlsrt.config.schema import Config
from tlsrt.config.server_certificate import renew_server_certificate
from tlsrt.errors import ConfigError, InvalidArgument
from tlsrt.supervisor.cli import replace_ca
from tlsrt.supervisor.cli.component.journal import recover
from tlsrt.supervisor.cli.exchange import RequestRefused

FILES = ("ca.crt", "ca.key", "server.crt")


def measured(config: Config) -> dict[str, bytes]:
    """Measure what the CA decides alone: the installation takes long, and is not the matter here."""
    certificate = load_pem_x509_certificates(config.door.certificate.read_bytes())[0]
    issuer = certificate.issuer.rfc4514_string().encode()
    return {
        "client-ca": pki.fingerprint(config.door.client_ca.read_bytes()),
        "certificate-names": issuer[-32:].ljust(32),
    }


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "host"
    initialise(folder, host="127.0.0.1", port=7443, now=datetime.now(UTC))
    monkeypatch.setattr("tlsrt.config.init.measure", measured)
    seal(load_config(folder / "tlsrt.yaml"))
    return folder


def asked(host: Path, **flags: bool) -> Namespace:
    given = {"distrust": False, "finish": False, "yes": True, "json": False, **flags}
    return Namespace(config=str(host / "tlsrt.yaml"), **given)


def content(host: Path) -> dict[str, bytes | None]:
    return {name: (host / name).read_bytes() if (host / name).exists() else None for name in FILES}


def is_sealed(host: Path) -> bool:
    return changed_names(load_config(host / "tlsrt.yaml")) == []


def test_the_door_is_believed_by_who_knows_either_ca(host: Path, tmp_path: Path) -> None:
    former, server = (host / "ca.crt").read_bytes(), pki.split_pem((host / "server.crt").read_bytes())
    (host / "ca.key").unlink()
    said = replace_ca.replace_ca(asked(host))
    new, kept = pki.split_pem((host / "ca.crt").read_bytes())
    leaf, cross = pki.split_pem((host / "server.crt").read_bytes())
    assert kept == former and [leaf] == server
    assert pki.is_issued_by(leaf, former) and pki.is_issued_by(leaf, cross) and pki.is_issued_by(cross, new)
    assert pki.is_key_of((host / "ca.key").read_bytes(), new)
    assert stat.S_IMODE((host / "ca.key").stat().st_mode) == 0o600 and is_sealed(host)
    assert said["listed"] == ["admin"] and any("--finish" in line for line in replace_ca.lines(said))
    assert all(len(line) <= 80 or str(tmp_path) in line for line in replace_ca.lines(said))


def test_meanwhile_a_renewal_of_the_door_shuts_no_client_out(host: Path) -> None:
    (host / "ca.key").unlink()
    replace_ca.replace_ca(asked(host))
    before = content(host)
    with pytest.raises(ConfigError, match="replace-ca --finish"):
        renew_server_certificate(load_config(host / "tlsrt.yaml"), ["kettle.local"], datetime.now(UTC))
    assert content(host) == before


def test_finished_the_new_ca_alone_is_left(host: Path) -> None:
    (host / "ca.key").unlink()
    replace_ca.replace_ca(asked(host))
    new = pki.split_pem((host / "ca.crt").read_bytes())[0]
    replace_ca.replace_ca(asked(host, finish=True))
    assert pki.split_pem((host / "ca.crt").read_bytes()) == [new] and is_sealed(host)
    assert len(pki.split_pem((host / "server.crt").read_bytes())) == 1
    assert pki.is_issued_by((host / "server.crt").read_bytes(), new)
    with pytest.raises(ConfigError, match="nothing to finish"):
        replace_ca.replace_ca(asked(host, finish=True))


def test_a_stolen_key_is_believed_no_more(host: Path) -> None:
    former = (host / "ca.crt").read_bytes()
    replace_ca.replace_ca(asked(host, distrust=True))
    (new,) = pki.split_pem((host / "ca.crt").read_bytes())
    assert new != former and pki.is_issued_by((host / "server.crt").read_bytes(), new) and is_sealed(host)


def test_replaced_twice_three_are_let_in_and_the_first_is_believed(host: Path) -> None:
    former = (host / "ca.crt").read_bytes()
    for _ in range(2):
        (host / "ca.key").unlink()
        replace_ca.replace_ca(asked(host))
    new, _, kept = pki.split_pem((host / "ca.crt").read_bytes())
    leaf, cross = pki.split_pem((host / "server.crt").read_bytes())
    assert kept == former and pki.is_issued_by(leaf, cross) and pki.is_issued_by(cross, new)


def test_what_is_not_lost_is_not_replaced_without_a_word(host: Path) -> None:
    before = content(host)
    with pytest.raises(ConfigError, match="nothing is lost"):
        replace_ca.replace_ca(asked(host, yes=False))
    with pytest.raises(InvalidArgument, match="not both"):
        replace_ca.replace_ca(asked(host, distrust=True, finish=True))
    assert content(host) == before


def test_without_a_yes_nothing_changes(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (host / "ca.key").unlink()
    before = content(host)
    monkeypatch.setattr("tlsrt.supervisor.cli.replace_ca.is_approved", lambda *_: False)
    with pytest.raises(RequestRefused):
        replace_ca.replace_ca(asked(host, yes=False))
    assert content(host) == before and is_sealed(host)


def test_a_door_of_another_ca_is_left_alone(host: Path) -> None:
    other = pki.make_ca(bytes(16), datetime.now(UTC))
    made = pki.issue_server(other, bytes(16), "127.0.0.1", datetime.now(UTC))
    (host / "server.crt").write_bytes(made.certificate_pem)
    (host / "server.key").write_bytes(made.key_pem)
    with pytest.raises(ConfigError, match="the development CA only"):
        replace_ca.replace_ca(asked(host))


def test_a_host_that_names_no_key_is_told_where_to_write_it(host: Path) -> None:
    text = (host / "tlsrt.yaml").read_text()
    (host / "tlsrt.yaml").write_text(text.replace("  client_ca_key: ca.key\n", ""))
    with pytest.raises(ConfigError, match="client_ca_key: ca"):
        replace_ca.replace_ca(asked(host))


@pytest.mark.parametrize("flags", [{}, {"distrust": True}], ids=["both", "distrust"])
def test_killed_at_every_step_it_is_as_before_or_whole(host: Path, flags: dict[str, bool]) -> None:
    (host / "ca.key").unlink()
    before = content(host)
    path, ends = host / "tlsrt.yaml", list[bool]()

    def change() -> None:
        replace_ca.replace_ca(asked(host, **flags))

    for step in left_at_each(host, change, "rename", "unlink", "rmdir", "mkdir"):
        done = recover(path)
        now = content(host)
        ends.append(now == before)
        if not ends[-1]:
            assert pki.is_key_of(now["ca.key"] or b"", now["ca.crt"] or b""), step
            assert now["ca.crt"] != before["ca.crt"] and now["server.crt"] != before["server.crt"], step
        assert is_sealed(host), step
        assert not done or not [*host.rglob("*.new"), *host.glob("components.d/.change")], step
    assert len(ends) > 8 and ends[0] and not ends[-1] and ends == sorted(ends, reverse=True)
