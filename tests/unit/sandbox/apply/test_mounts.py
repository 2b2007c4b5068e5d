"""Mount tables against what they must be: a good one, and every way to tamper with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tlsrt.sandbox.apply.mounts import Expected, locate, mount_differences, parse_mountinfo

OURS = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw
40 27 8:1 /data/var /var rw,relatime shared:7 master:2 - ext4 /dev/sda rw
41 27 0:50 / /mnt rw - tmpfs tmpfs rw
42 41 0:51 / /mnt rw - tmpfs tmpfs rw
"""
INSIDE = """\
90 50 0:40 / / ro,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,size=256k
91 90 254:0 /usr/lib /usr/lib ro,nosuid,nodev,relatime - ext4 /dev/vda rw
92 90 0:6 /null /dev/null ro,nosuid,noexec,relatime - devtmpfs devtmpfs rw
93 90 8:1 /data/var/state/third /state rw,nosuid,nodev,noexec,relatime - ext4 /dev/sda rw
94 90 0:22 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs rw
95 94 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw
96 90 0:60 / /proc ro,nosuid,nodev,noexec,relatime - proc proc ro
"""
EXPECTED = Expected(("/usr/lib",), (("/var/state/third", "/state"),), proc=True, sys=True)


def test_a_good_table_has_no_difference() -> None:
    assert mount_differences(EXPECTED, INSIDE, OURS) == ()


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("/ / ro,nosuid", "/ / rw,nosuid", "the root is writable"),
        ("/ / ro,nosuid,nodev,noexec,relatime - tmpfs", "/ / ro,nosuid - ext4", "not the minimal one"),
        ("/usr/lib /usr/lib ro", "/usr/lib /usr/lib rw", "/usr/lib is writable"),
        ("/usr/lib /usr/lib ro", "/usr/local /usr/lib ro", "/usr/lib is not the host's"),
        ("91 90 254:0", "91 90 8:1", "/usr/lib is not the host's"),
        ("/usr/lib ro,nosuid,nodev", "/usr/lib ro,nodev", "/usr/lib lacks nosuid"),
        ("/data/var/state/third", "/data/var/state/secondary", "/state is not /var/state/third"),
        ("93 90 8:1", "93 90 8:2", "/state is not /var/state/third"),
        ("/state rw,nosuid,nodev,noexec", "/state rw,nosuid,nodev", "/state lacks"),
        ("/sys/fs/cgroup ro", "/sys/fs/cgroup rw", "/sys/fs/cgroup is writable"),
        ("/proc ro", "/proc rw", "/proc is writable"),
        (" - proc proc ro", " - tmpfs tmpfs ro", "/proc is mounted"),
        ("96 90", "97 90 254:0 /etc /etc ro,nosuid - ext4 /dev/vda rw\n96 90", "/etc is mounted"),
        ("96 90", "97 90 254:0 /x /usr/lib ro,nosuid - ext4 /dev/vda rw\n96 90", "/usr/lib is mounted 2 times"),
        ("96 90", "97 90 8:1 /y /state ro,nosuid - ext4 /dev/sda rw\n96 90", "/state is mounted 2 times"),
        ("96 90", "97 90 0:9 / / ro - tmpfs tmpfs ro\n96 90", "not the minimal one"),
        ("93 90", "93 what", "cannot read the mount table"),
        (" - sysfs", " sysfs", "cannot read the mount table"),
    ],
)
def test_every_tampering_is_found(old: str, new: str, word: str) -> None:
    assert old in INSIDE
    found = mount_differences(EXPECTED, INSIDE.replace(old, new, 1), OURS)
    assert any(word in difference for difference in found), found


@pytest.mark.parametrize("number", range(7))
def test_every_missing_line_but_optional_ones_is_found(number: int) -> None:
    lines = INSIDE.splitlines()
    harmless = ("/dev/null", "/sys ", "/sys/fs/cgroup", "/proc")  # fewer things to see
    text = "\n".join(lines[:number] + lines[number + 1 :])
    assert bool(mount_differences(EXPECTED, text, OURS)) != any(word in lines[number] for word in harmless)


def test_a_hidden_folder_is_one_empty_mount() -> None:
    expected = replace(EXPECTED, hidden=("/usr/lib/python3/dist-packages",))
    line = "97 91 0:70 / /usr/lib/python3/dist-packages ro,nosuid,nodev,noexec - tmpfs tmpfs ro"
    assert mount_differences(expected, f"{INSIDE}{line}\n", OURS) == ()
    said = ("/usr/lib/python3/dist-packages is not hidden",)
    assert mount_differences(expected, INSIDE, OURS) == said
    for old, new in (("tmpfs tmpfs", "ext4 /dev/vda"), ("0:70 / ", "0:70 /x ")):
        assert mount_differences(expected, f"{INSIDE}{line.replace(old, new)}\n", OURS) == said
    own = "98 91 8:3 /x /usr/lib/python3/dist-packages ro,nosuid,nodev,relatime - ext4 /dev/sdb rw"  # the host's
    for lines, expects in (
        (f"{own}\n{line.replace('97 91', '99 98')}", ()),
        (f"{line}\n{own.replace('98 91', '98 97')}", said),  # and on top of it: it shows
        (f"{line}\n{own}", said),
    ):
        assert mount_differences(expected, f"{INSIDE}{lines}\n", OURS) == expects


def test_what_the_profile_does_not_name_is_found() -> None:
    bare = Expected(("/usr/lib",), (("/var/state/third", "/state"),))
    found = mount_differences(bare, INSIDE, OURS)
    assert {"/sys is mounted", "/sys/fs/cgroup is mounted", "/proc is mounted"} == set(found)


def test_a_file_replaced_on_the_host_is_no_difference() -> None:
    text = INSIDE.replace("/usr/lib /usr/lib ro", "/usr/lib//deleted /usr/lib ro")
    assert mount_differences(EXPECTED, text, OURS) == ()


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/usr/lib", ("254:0", "/usr/lib")),
        ("/variable", ("254:0", "/variable")),
        ("/var", ("8:1", "/data/var")),
        ("/var/state", ("8:1", "/data/var/state")),
        ("/mnt/x", ("0:51", "/x")),
        ("/", ("254:0", "/")),
    ],
)
def test_locating_a_path_in_its_file_system(path: str, place: tuple[str, str]) -> None:
    assert locate(parse_mountinfo(OURS), path) == place


def test_blanks_in_paths_are_unescaped() -> None:
    line = "91 90 254:0 /a\\040b /c\\134d\\011 ro - ext4 /dev/vda rw"
    mount = parse_mountinfo(line)[0]
    assert (mount.root, mount.point) == ("/a b", "/c\\d\t")
