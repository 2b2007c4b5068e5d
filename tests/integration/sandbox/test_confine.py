"""What a confined process can and cannot do: asked from inside, read from outside, as root and rootless."""

from __future__ import annotations

from typing import Any

import pytest
from probes.sandbox_runner import SandboxRunner

Facts = dict[str, Any]
REFUSED = ("EPERM", "EACCES", "EINVAL")


@pytest.fixture(scope="module")
def facts(shared_stage: SandboxRunner) -> Facts:
    return shared_stage.run("full")


def test_it_ends_normally_and_attestation_finds_no_difference(facts: Facts) -> None:
    assert facts["differences"] == []
    assert facts["ends"] == ["exit 3", "exit 3"]
    assert facts["waived"] == [] and facts["digests"] == []


def test_every_layer_of_the_profile_was_applied_in_order(facts: Facts) -> None:
    expected = [
        "session", "descriptors", "pid_namespace", "net_namespace", "ipc_namespace", "uts_namespace",
        "mount_namespace", "limits", "bounding_set", "ambient_set", "securebits", "uid", "capabilities",
        "no_new_privs", "not_dumpable", "parent_death",
    ]  # fmt: skip
    assert facts["layers"] == [name for name in expected if not (facts["rootless"] and name == "uid")]


def test_the_root_holds_only_what_the_profile_names(facts: Facts) -> None:
    assert {"state", "channel", "dev"} <= set(facts["root"]) and not {"home", "boot", "var", "run"} & set(facts["root"])
    assert facts["shadow"] == "ENOENT" and facts["passwd"] == "ENOENT"
    assert facts["master_key"] == "ENOENT" and facts["sibling"] == "ENOENT"
    assert facts["base"] == ["home"]
    assert not facts["proc"] and not facts["sys"] and not facts["resolver"]


def test_only_its_own_folders_are_writable(facts: Facts) -> None:
    assert facts["write_root"] == "EROFS" and facts["write_code"] == "EROFS"
    assert facts["write_state"] == "allowed" and facts["write_channel"] == "allowed"
    assert facts["write_null"] == "allowed" and facts["touch_null"] == "EROFS"
    assert facts["remount"] == "EPERM" and facts["mount"] == "EPERM"


def test_code_below_a_closed_home_and_late_imports_work(facts: Facts) -> None:
    assert facts["imported"] == 42 and facts["late_import"] == "allowed"


def test_there_is_no_network(facts: Facts) -> None:
    assert facts["connect"] == "ENETUNREACH"
    assert facts["interfaces"] == ["lo"]


def test_it_is_process_one_of_its_own_session(facts: Facts) -> None:
    assert facts["pid"] == 1 and facts["is_session_leader"] and facts["kill_parent"] == "ESRCH"


def test_it_has_a_uid_of_its_own_and_no_groups(facts: Facts) -> None:
    assert set(facts["ids"]) == ({0} if facts["rootless"] else {771001})
    assert facts["groups"] == []


@pytest.mark.parametrize("probe", ["setuid", "chroot", "hostname", "unshare_net"])
def test_privileged_calls_are_refused(facts: Facts, probe: str) -> None:
    assert facts[probe] in REFUSED


def test_privileges_cannot_come_back(facts: Facts) -> None:
    assert facts["no_new_privs"] == 1 and facts["dumpable"] == 0 and facts["securebits"] == 0b11101111


def test_only_kept_descriptors_are_open(facts: Facts) -> None:
    assert facts["stdin_is_null"]
    assert facts["descriptors"][:3] == [0, 1, 2]
    assert len(facts["descriptors"]) == 6  # and answer, go, death pipe
    assert facts["supervisor_descriptors"] > 6


def test_limits_are_set_and_cannot_be_raised(facts: Facts) -> None:
    assert facts["limits"].items() <= facts["limits_wanted"].items()
    assert facts["raise_limit"] != "allowed"
    assert facts["umask"] == 0o077


def test_attestation_tells_siblings_apart_and_sees_the_dead(facts: Facts) -> None:
    assert len(facts["confused"]) >= 2 and "/state is not" in facts["confused"][-2]
    assert len(facts["gone"]) == 1 and facts["gone"][0].endswith("has ended")


def test_every_default_profile_holds(stage: SandboxRunner) -> None:
    found = stage.run("every_profile")
    for name in ("primary", "primary.facts", "secondary", "third", "forth", "external", "authority"):
        facts = found[name]
        assert facts["differences"] == [], name
        assert facts["proc"] == (name in ("primary", "primary.facts", "forth", "external")), name
        assert facts["sys"] == (name in ("primary.facts", "forth")), name
        assert facts["resolver"] == (name == "external"), name
        assert facts["connect"] == ("allowed" if name == "external" else "ENETUNREACH"), name
        assert ("channel" in facts["root"]) == (name not in ("primary", "authority")), name
        assert facts["write_root"] == "EROFS" and facts["shadow"] in ("ENOENT", "EACCES"), name


def test_a_missing_layer_is_found_from_outside(stage: SandboxRunner) -> None:
    found = stage.run("missing_layer")
    visible = {
        "pid_namespace": "pid namespace", "net_namespace": "net namespace", "ipc_namespace": "ipc namespace",
        "uts_namespace": "uts namespace", "mount_namespace": "mnt namespace", "bounding_set": "CapBnd",
        "uid": "uids are", "capabilities": "CapEff", "no_new_privs": "no_new_privs",
        "seccomp": "with 1 filters, not mode 2 with 2", "seccomp_sealed": "with 1 filters, not mode 2 with 2",
    }  # fmt: skip
    for name, word in visible.items():
        if name in found:
            assert any(word in difference for difference in found[name]), (name, found[name])
    assert ("uid" in found) == (stage.mode == "root")


def test_confinement_other_than_the_profile_is_found(stage: SandboxRunner) -> None:
    found = stage.run("tampered")
    words = {
        "writable folder": "/other is writable", "other folder": "/state is not", "more to read": "/etc is mounted",
        "network": "our net namespace", "user namespace": "user namespace of its own", "threads": "3 tasks, not 1",
    }  # fmt: skip
    for name, word in words.items():
        assert any(word in difference for difference in found[name]), (name, found[name])


def test_a_layer_that_fails_is_refused_or_reported_as_waived(stage: SandboxRunner) -> None:
    found = stage.run("waived")
    assert found["ends"] == ["exit 69", "exit 3"] and found["refused"] == {}
    assert [name for name, _ in found["accepted"]["waived"]] == ["pid_namespace"]
    assert "pid_namespace" not in found["accepted"]["layers"] and found["accepted"]["differences"] == []
    assert "sandbox layer pid_namespace: " in stage.stderr


def test_what_cannot_be_confined_does_not_start(stage: SandboxRunner) -> None:
    found = stage.run("refusals")
    assert [found[name] for name in ("thread", "folder", "unreadable", "absent", "orphaned")] == ["exit 69"] * 5
    lines = stage.stderr.splitlines()
    assert len(lines) == 5 and all(line.startswith("tlsrt: sandbox layer ") for line in lines)
    for word in ("thread", "is a folder of the host", "make it readable", "absent", "supervisor has ended"):
        assert any(word in line for line in lines), (word, lines)


def test_confinement_is_fast(stage: SandboxRunner) -> None:
    """Beside the start of a bare interpreter, measured in turn, so that a loaded machine slows both; an exec shows."""
    found = stage.run("timing")
    took, bare = (sorted(found[name]) for name in ("took_ms", "interpreter_ms"))
    assert took[len(took) // 2] < 2 * bare[len(bare) // 2]
