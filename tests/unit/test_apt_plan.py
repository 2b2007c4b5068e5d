"""What apt's simulation says, and the id of a plan; an order that root takes from a folder of a component."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.apt_plan import PLAN_ID, SIMULATE, UPGRADE, Plan, PlanError, Step, plan_untrusted
from tlsrt.errors import ConfigError
from tlsrt.loops.secondary import updates
from tlsrt.supervisor.cli.apt_orders import carry_out

SAID = """\
Reading package lists...
Inst zstd [1.5.7+dfsg-1] (1.5.7+dfsg-1+deb13u1 Debian-Security:13/stable-security [amd64])
Inst xxd [2:9.1.1230-2] (2:9.1.1230-2+deb13u2 Debian:13.8/stable, Debian-Security:13/stable-security [amd64]) []
Inst patch [2.8-2] (2.8-2+deb13u1 Debian:13.8/stable [amd64])
Inst libnew (1.0 Debian:13.8/stable [all])
Conf zstd (1.5.7+dfsg-1+deb13u1 Debian-Security:13/stable-security [amd64])
"""


def test_a_plan_is_an_exact_list() -> None:
    plan = plan_untrusted(SAID)
    assert [(one.word, one.old, one.is_security) for one in plan.steps] == [
        ("libnew=1.0", None, False), ("patch:amd64=2.8-2+deb13u1", "2.8-2", False),
        ("xxd:amd64=2:9.1.1230-2+deb13u2", "2:9.1.1230-2", True),
        ("zstd:amd64=1.5.7+dfsg-1+deb13u1", "1.5.7+dfsg-1", True),
    ]  # fmt: skip
    assert PLAN_ID.fullmatch(plan.id)
    lines = SAID.splitlines()
    assert plan_untrusted("\n".join(reversed(lines))).id == plan.id, "the order of lines is no part of it"
    for number in range(1, 5):
        changed = [*lines[:number], *lines[number + 1 :]]
        assert plan_untrusted("\n".join(changed)).id != plan.id
    assert plan_untrusted(SAID.replace("2.8-2+deb13u1", "2.8-2+deb13u2")).id != plan.id


@pytest.mark.parametrize(
    "line",
    [
        "Inst -oDebug=1 (1.0 x [all])", "Inst a$(id) (1.0 x [all])", "Inst UPPER (1.0 x [all])",
        "Inst a (1.0;id x [all])", "Inst a", "Inst ../a (1 x [all])", "Remv libc6 [2.41]", "Purg libc6",
    ],
)  # fmt: skip
def test_what_is_no_upgrade_is_refused(line: str) -> None:
    with pytest.raises(PlanError):
        plan_untrusted(f"{SAID}{line}\n")


@given(st.text())
def test_any_text_is_a_plan_or_refused(text: str) -> None:
    for said in (text, f"Inst {text}"):
        try:
            plan = plan_untrusted(said)
        except PlanError:
            continue
        assert all(one.word[0].isalnum() and " " not in one.word for one in plan.steps)


def test_the_manifest_approves_the_simulation_and_nothing_else() -> None:
    manifest = yaml.safe_load((Path(updates.__file__).parent / "updates.tlsrt.yaml").read_text())
    assert manifest["programs"]["apt"]["args"] == [" ".join((*SIMULATE, *UPGRADE))]
    assert SIMULATE[0] == "-s"


def test_names_and_versions_cannot_run_into_each_other() -> None:
    one, other = Step("a", "all", "1", "2", ""), Step("a", "all", None, "2", "")
    assert Plan([one]).id != Plan([other]).id != Plan([]).id


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("orders", "results"):
        (tmp_path / name).mkdir(mode=0o755)
    return tmp_path / "orders", tmp_path / "results"


def run(folders: tuple[Path, Path]) -> dict[str, object] | None:
    carry_out(argparse.Namespace(orders=folders[0], results=folders[1]))
    state = folders[1] / "state.json"
    return json.loads(state.read_text()) if state.exists() else None


@pytest.mark.parametrize(
    "words",
    ["", "apply", "apply x", "install evil", "apply " + "0" * 63, "apply " + "0" * 64 + " -o x", "refresh now", "\xff"],
)
def test_an_order_that_is_none_is_told_and_runs_nothing(folders: tuple[Path, Path], words: str) -> None:
    (folders[0] / "order").write_text(words, "latin-1")
    state = run(folders)
    assert state is not None
    assert (state["state"], state["message"]) == ("failed", "the order cannot be read")
    assert not list(folders[0].iterdir()), "it is not begun for ever"


def test_no_order_leads_root_elsewhere(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert run(folders) is None
    (tmp_path / "secret").write_text("refresh")
    (folders[0] / "order").symlink_to(tmp_path / "secret")
    with pytest.raises(ConfigError, match="cannot read the order"):
        run(folders)
    assert (tmp_path / "secret").exists()
    os.mkfifo(folders[0] / "order")
    state = run(folders)
    assert state is not None
    assert state["message"] == "the order cannot be read"
    (folders[0] / "order").mkdir()
    state = run(folders)  # it is removed, or it would block all that follow
    assert state is not None and state["message"] == "the order cannot be read"
    assert not (folders[0] / "order").exists()


def test_results_are_in_a_folder_that_only_root_writes_to(folders: tuple[Path, Path]) -> None:
    folders[1].chmod(0o777)
    with pytest.raises(ConfigError, match="only root may write to"):
        run(folders)


def test_an_order_whose_process_was_killed_is_told(folders: tuple[Path, Path]) -> None:
    (folders[1] / "state.json").write_text('{"order": "refresh", "state": "running", "began_wall_ms": 1}')
    state = run(folders)
    assert state is not None
    assert state["state"] == "failed"
    assert "interrupted" in str(state["message"])
