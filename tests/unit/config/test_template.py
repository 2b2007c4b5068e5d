"""The text of a new configuration with waivers: it loads, says what is lost, and no reason breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsrt.config.load import load_config
from tlsrt.config.template import SYSTEM, MissingLayer, Places, Waiver, config_text, system_places


def written(folder: Path, *waivers: Waiver) -> Path:
    path = folder / "tlsrt.yaml"
    path.write_text(
        config_text(
            install="ab" * 16,
            host="::1",
            port=7443,
            fingerprint="cd" * 32,
            checkout=False,
            lacking=MissingLayer(waivers),
        )
    )
    return path


def test_without_waivers_nothing_is_waived(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert load_config(path).sandbox.waive == {}
    assert "# sandbox:" in path.read_text()


@pytest.mark.parametrize(
    "reason",
    ["unshare: Operation not permitted", 'a "quoted" one: yes', "{braces} # and a hash", "\\ backslash", "no", "é\t"],
)
def test_a_waiver_keeps_the_kernels_reason_whatever_it_is(tmp_path: Path, reason: str) -> None:
    reason = reason if len(reason) > 2 else f"{reason}, really"
    path = written(tmp_path, Waiver("landlock", reason, "much is lost"), Waiver("uid", "why not", "more"))
    assert load_config(path).sandbox.waive == {"landlock": reason, "uid": "why not"}
    assert "    # without it: much is lost\n" in path.read_text()


@pytest.mark.parametrize("waivers", [(), (Waiver("uid", "why not", "more"),)])
def test_other_uids_where_the_usual_ones_do_not_exist(tmp_path: Path, waivers: tuple[Waiver, ...]) -> None:
    path = tmp_path / "tlsrt.yaml"
    text = config_text(
        install="ab" * 16, host="::1", port=7443, fingerprint="cd" * 32, checkout=False,
        lacking=MissingLayer(waivers, 64512),
    )  # fmt: skip
    path.write_text(text)
    sandbox = load_config(path).sandbox
    assert sandbox.uid_base == 64512 and set(sandbox.waive) == {waiver.layer for waiver in waivers}
    assert "from 771000 on" in text


def test_a_reason_without_end_is_cut(tmp_path: Path) -> None:
    path = written(tmp_path, Waiver("landlock", "x" * 5000, "much"))
    assert len(load_config(path).sandbox.waive["landlock"]) == 500


def test_the_folders_of_a_service_are_those_that_systemd_names_and_the_usual_ones_else() -> None:
    named = {"STATE_DIRECTORY": "/var/lib/kitchen:/var/lib/more", "RUNTIME_DIRECTORY": "/run/kitchen"}
    assert system_places(named) == Places(Path("/var/lib/kitchen"), Path("/run/kitchen"), SYSTEM.log)
    assert system_places({"STATE_DIRECTORY": "not/absolute", "LOGS_DIRECTORY": ""}) == SYSTEM
