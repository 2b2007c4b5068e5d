"""Parts: every line is parsed strictly, whoever wrote it, and says where it stands when it is wrong."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.egress import parse_egress
from tlsrt.errors import SandboxError
from tlsrt.sandbox.profile.fragment import (
    LIMITS,
    LISTS,
    SECTIONS,
    SETTINGS,
    EgressLine,
    LimitLine,
    Line,
    parse_fragment,
)
from tlsrt.sandbox.profile.profile_files import FOLDER, ProfileFiles, names_for

FILES = ProfileFiles()

WHY = {"why": "because  it\n must"}
RIGHT = {
    "code": {"paths": ["$code"], **WHY}, "data": {"paths": ["/etc/hosts"], **WHY}, "network": WHY,
    "write": {"paths": ["/state"], **WHY}, "mounts": {"paths": ["/proc"], **WHY},
    "egress": {"to": ["*:53/udp"], **WHY}, "limits": {"limit": "core", "value": 0, **WHY},
}  # fmt: skip


def test_a_whole_part() -> None:
    part = parse_fragment("mine", {
        "about": "all\n of it", "extends": ["base"],
        "code": [{"paths": ["$code", "/opt/x"], **WHY}], "data": [{"paths": ["/etc/hosts"], **WHY}],
        "write": [{"paths": ["/state"], **WHY}], "mounts": [{"paths": ["/proc", "/dev/null"], **WHY}],
        "network": [WHY], "egress": [{"to": ["*:53/udp", "192.0.2.7:443"], **WHY}],
        "limits": [{"limit": "stack", "value": "8 MiB", **WHY}, {"limit": "nproc", "value": "processes",
                   "rootless": 9, **WHY}],
        "allow": [{"calls": ["read"], **WHY}], "never": [{"calls": ["fork"], **WHY}],
    })  # fmt: skip
    assert (part.about, part.extends) == ("all of it", ("base",))
    assert part.lines["code"] == (Line(("$code", "/opt/x"), "because it must", "mine"),)
    assert part.lines["network"] == (Line((), "because it must", "mine"),)
    assert part.egress == (
        EgressLine((parse_egress("*:53/udp"), parse_egress("192.0.2.7:443")), "because it must", "mine"),
    )
    assert part.limits == (
        LimitLine("stack", 8 << 20, "because it must", "mine"),
        LimitLine("nproc", "processes", "because it must", "mine", 9),
    )


@pytest.mark.parametrize(
    ("section", "entry", "sentence"),
    [
        ("data", "/etc", "it must be a map"),
        ("data", {"paths": ["/etc"]}, "it has no reason: say why"),
        ("data", {"paths": ["/etc"], "why": " "}, "has no reason"),
        ("data", {"paths": ["/etc"], "why": 5}, "has no reason"),
        ("data", {"path": ["/etc"], **WHY}, "path has no meaning"),
        ("data", {"paths": [], **WHY}, "`paths` must be a list of texts"),
        ("data", {"paths": "/etc", **WHY}, "must be a list of texts"),
        ("data", {"paths": [5], **WHY}, "must be a list of texts"),
        ("data", {"paths": ["etc/hosts"], **WHY}, "etc/hosts must be an absolute path without detours"),
        ("data", {"paths": ["/etc/../root"], **WHY}, "without detours"),
        ("data", {"paths": ["/etc/"], **WHY}, "without detours"),
        ("data", {"paths": ["$code"], **WHY}, "absolute path"),
        ("code", {"paths": ["$home"], **WHY}, "absolute path"),
        ("write", {"paths": ["/etc"], **WHY}, "`write` knows /state, /channel, not /etc"),
        ("mounts", {"paths": ["/dev"], **WHY}, "`mounts` knows /proc, /sys, /dev/null, not /dev"),
        ("network", {"paths": ["/x"], **WHY}, "paths has no meaning"),
        ("egress", {"to": ["example.org:443"], **WHY}, "example.org is a name; only an address"),
        ("egress", {"to": ["192.0.2.7"], **WHY}, "is not an egress rule"),
        ("egress", {"to": "192.0.2.7:1", **WHY}, "must be a list of texts"),
        ("limits", {"limit": "files", "value": 1, **WHY}, "there is no limit files: the limits are as, core"),
        ("limits", {"limit": ["core"], "value": 1, **WHY}, "there is no limit"),
        ("limits", {"limit": "core", **WHY}, "core: None is no number"),
        ("limits", {"limit": "core", "value": -1, **WHY}, "core: -1 is no number"),
        ("limits", {"limit": "core", "value": True, **WHY}, "core: True is no number"),
        ("limits", {"limit": "core", "value": 1 << 63, **WHY}, "is no number"),
        ("limits", {"limit": "core", "value": "8 GiB", **WHY}, "8 GiB is no number, no number of KiB or MiB"),
        ("limits", {"limit": "core", "value": "memory", **WHY}, "no setting of a loop"),
        ("limits", {"limit": "core", "value": 1, "rootless": "memory_mb", **WHY}, "`rootless` must be a number"),
        ("limits", {"limit": "core", "value": 1, "hard": 2, **WHY}, "hard has no meaning"),
        ("never", {"calls": ["read"], "when": [], "unless": [], **WHY}, "`when` or `unless`, not both"),
        ("never", {"calls": ["read"], "if": [], **WHY}, "if has no meaning"),
        ("never", "read", "must be a map"),
        ("never", {"calls": ["raed"], **WHY}, "there is no system call raed, did you mean read"),
        ("allow", {"calls": [["read"]], **WHY}, "there is no system call"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_refused_with_its_part(section: str, entry: Any, sentence: str) -> None:
    right = {"calls": ["read"], **WHY} if section in ("never", *LISTS) else RIGHT[section]
    with pytest.raises(SandboxError) as caught:
        parse_fragment("mine", {"about": "x", section: [right, entry]})
    assert f"profile mine: entry 2 of `{section}`: " in str(caught.value) and sentence in str(caught.value)


@pytest.mark.parametrize("section", ["extends", "never", *SECTIONS, *LISTS])
@pytest.mark.parametrize("value", [5, "text", None, {"a": 1}])
def test_a_section_is_a_list(section: str, value: Any) -> None:
    with pytest.raises(SandboxError, match=f"profile mine: `{section}` must be a list"):
        parse_fragment("mine", {"about": "x", section: value})


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([*SECTIONS, *LISTS, "why", "to"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("paths", "to", "limit", "value", "rootless", "why", "calls", "when", "unless"), PLAIN),
)
DOCUMENT = st.fixed_dictionaries(
    {"about": st.text(max_size=4)},
    optional={
        section: st.lists(ENTRY | PLAIN, max_size=2) | PLAIN for section in ("extends", "never", *SECTIONS, *LISTS)
    },
)


@given(DOCUMENT | PLAIN)
def test_any_document_is_a_part_or_the_one_error(document: Any) -> None:
    with suppress(SandboxError):
        parse_fragment("mine", document)


def test_a_limit_takes_its_number_from_the_settings_of_the_loop() -> None:
    line = LimitLine("data", "memory_mb", "", "mine", 5 << 20)
    assert line.amount({"memory_mb": 3}, rootless=False) == 3 << 20
    assert line.amount({"memory_mb": 3}, rootless=True) == 5 << 20
    assert line.amount({"memory_mb": 9}, rootless=True) == 9 << 20
    with pytest.raises(SandboxError, match="profile mine: data: this process has no setting memory_mb"):
        line.amount({}, rootless=False)


def test_every_limit_is_one_of_this_system_and_every_setting_is_used() -> None:
    import resource

    assert all(hasattr(resource, f"RLIMIT_{name.upper()}") for name in LIMITS)
    parts = FILES.fragments(names_for("primary", network=True)) + FILES.fragments(("authority",))
    assert {line.value for part in parts for line in part.limits if isinstance(line.value, str)} == set(SETTINGS)


def test_a_process_has_the_parts_of_its_name_its_engine_and_its_network() -> None:
    assert names_for("primary", network=False) == ("primary", "offline")
    assert names_for("mine", network=True) == ("declared", "network", "outbound", "self_pair")
    assert names_for("mine", network=True, direct=True) == ("declared", "network", "direct", "self_pair")
    assert names_for("mine", network=False, outbound=True, accepts=False) == ("declared", "outbound")
    assert names_for("mine", network=False, engine="libzmq") == ("declared", "libzmq", "offline")
    assert names_for("primary", network=False, engine="libzmq") == ("primary", "offline")
    assert names_for("authority", network=False) == ("authority",)


def test_bases_come_first_and_once() -> None:
    names = [part.name for part in FILES.fragments(("third", "network", "disk"))]
    assert names[0] == "base" and len(set(names)) == len(names)
    assert names.index("loop") < names.index("third") < names.index("network") < names.index("disk")


def test_every_file_says_what_it_is_about() -> None:
    for file in FOLDER.rglob("*.yaml"):
        assert len(FILES.fragment(str(file.relative_to(FOLDER).with_suffix(""))).about) > 20, file
