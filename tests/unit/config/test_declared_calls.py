"""What a class calls must stand in its manifest: told before it runs, with the line to add."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

from tlsrt import loops
from tlsrt.config.declared_calls import check_calls, compared, source_finder
from tlsrt.config.defaults import BUILT_IN
from tlsrt.config.load import load_config, parse_config
from tlsrt.config.manifest import parse_manifest
from tlsrt.errors import ConfigError
from tlsrt.loops.indexing import feeder
from tlsrt.loops.indexing.feeder import SEARCH

SOURCE = dedent(
    """
    class Report(Component):
        kernel = peer("primary/kernel")
        camera = peer("third/camera")

        async def start(self):
            await self.kernel.uname()
            await self.kernel.sysctl("kernel.ostype")
            helper(self.camera)
            async for event in self.follow("primary/events", "lifecycle"):
                pass
    """
)
CALLS = "calls: {primary/kernel: {methods: [sysctl], why: it asks}}\n"
HEAD = "manifest: 1\ncomponent: third/report\nclass: 'report:Report'\ntitle: it reports\n"
WHOLE = {"primary/kernel": "[uname, sysctl]", "third/camera": "[frames]", "primary/events": "[lifecycle]"}


def told(calls: dict[str, str], source: str = SOURCE, address: str = "") -> tuple[list[str], list[str]]:
    lines = "".join(f"  {target}: {{methods: {methods}, why: it asks}}\n" for target, methods in calls.items())
    manifest = parse_manifest(f"{HEAD}{'calls:' if lines else ''}\n{lines}".encode(), Path("report/tlsrt.yaml"))
    return compared(manifest, lambda module: source.encode() if module == "report" else None, address)


def test_what_is_listed_is_good_and_a_star_lists_all() -> None:
    assert told(WHOLE) == ([], [])
    assert told(dict.fromkeys(WHOLE, '"*"')) == ([], [])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"primary/kernel": "[uname]"},
            "report/tlsrt.yaml:6:3: third/report calls sysctl of primary/kernel, which `calls` of its manifest does "
            "not list: write primary/kernel: {methods: [uname, sysctl], why: ...}",
        ),
        (
            {"primary/kernel": None},
            "report/tlsrt.yaml:5:1: third/report calls sysctl, uname of primary/kernel, which `calls` of its manifest "
            "does not list: write primary/kernel: {methods: [sysctl, uname], why: ...}",
        ),
        (
            {"third/camera": None},
            "report/tlsrt.yaml:5:1: third/report calls third/camera, which `calls` of its manifest does not list: "
            "write third/camera: {methods: [...], why: ...}",
        ),
        (
            {"primary/events": "[health, lifecycle]"},
            "",
        ),
    ],
)  # fmt: skip
def test_what_is_not_listed_is_refused_with_what_to_write(change: dict[str, str | None], sentence: str) -> None:
    calls = {target: methods for target, methods in {**WHOLE, **change}.items() if methods is not None}
    assert told(calls)[0] == ([sentence] if sentence else [])


def test_without_calls_every_peer_is_told() -> None:
    unlisted, unseen = told({})
    assert [one.partition(": ")[0] for one in unlisted] == ["report/tlsrt.yaml:3:1"] * 3 and unseen == []
    assert all("forth/mine calls" in one for one in told({}, address="forth/mine")[0])


def test_what_is_listed_and_not_seen_is_a_remark_only() -> None:
    unlisted, unseen = told({**WHOLE, "primary/events": "[lifecycle, health]", "secondary/store": "[get]"})
    assert unlisted == []
    assert unseen == [
        "report/tlsrt.yaml:8:3: its class does not call health of primary/events",
        "report/tlsrt.yaml:9:3: its class declares no peer secondary/store, which `calls` lists",
    ]


def test_a_source_that_cannot_be_read_is_not_judged() -> None:
    for source in ("class Report(", "\0", f"x = {'-' * 100_000}1", f"x = {'a.' * 100_000}b"):
        assert told({}, source) == ([], [])


def test_the_manifests_of_a_host_are_compared_when_it_is_sealed(
    minimal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that come with tlsrt too."""
    folder = tmp_path / "packages/tlsrt_report"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(folder.parent))
    (folder / "__init__.py").write_text(SOURCE)
    manifest = HEAD.replace("report:Report", "tlsrt_report:Report")
    for name in ("packages/tlsrt_report/tlsrt.yaml", "components.d/third.report.manifest"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(manifest)
    (tmp_path / "components.d/third.report.yaml").write_text("package: tlsrt_report\n")
    (tmp_path / "tlsrt.yaml").write_text(minimal)
    config = load_config(tmp_path / "tlsrt.yaml")
    assert config.failed == ()
    with pytest.raises(ConfigError, match="third/report calls") as caught:
        check_calls(config)
    assert len(caught.value.problems) == 3
    line = '"third/report -> primary/kernel": [uname, sysctl]'
    (tmp_path / "components.d/third.report.yaml").write_text(f"package: tlsrt_report\npolicy: {{{line}}}\n")
    with pytest.raises(ConfigError, match="third/report calls") as caught:
        check_calls(load_config(tmp_path / "tlsrt.yaml"))
    assert len(caught.value.problems) == 2, "what the operator allows need not be listed"
    (tmp_path / "components.d/third.report.manifest").write_text(f"{manifest}{CALLS}")
    (tmp_path / "packages/tlsrt_report/tlsrt.yaml").write_text(f"{manifest}{CALLS}")
    lines = 'policy: {"third/* -> primary/kernel": [uname], "third/report -> primary/*": [sysctl]}'
    (tmp_path / "tlsrt.yaml").write_text(f"{minimal}{lines}\n")
    (tmp_path / "components.d/third.report.yaml").write_text("package: tlsrt_report\n")
    with pytest.raises(ConfigError, match="third/report calls") as caught:
        check_calls(load_config(tmp_path / "tlsrt.yaml"))
    assert len(caught.value.problems) == 2, "all lines count that match, as at the authority"
    assert check_calls(parse_config(minimal.encode(), tmp_path / "tlsrt.yaml")) == []


@pytest.mark.parametrize("address", BUILT_IN.manifests)
def test_what_a_built_in_class_calls_stands_in_its_manifest(address: str) -> None:
    """No seal of a user's compares these."""
    manifest = BUILT_IN.manifests[address]
    assert source_finder()(str(manifest.tree["class"]).partition(":")[0]), "its source is read"
    assert compared(manifest, source_finder()) == ([], [])


def test_what_a_feeder_of_the_index_calls_is_allowed_to_who_has_one() -> None:
    """By the manifest, or by the policy line of the guide: what comes with tlsrt is given no right by itself."""
    source = Path(feeder.__file__).read_text()
    called = set(re.findall(r"(?:call|upload)\(SEARCH, \"([a-z_]+)\"", source))
    assert source.count("(SEARCH, ") == len(re.findall(r"(?:call|upload)\(SEARCH, \"", source)), "all are seen"
    for address in ("third/files", "external/messages"):
        loop, _, name = address.partition("/")
        path = Path(loops.__file__).parent / loop / f"{name}.tlsrt.yaml"
        assert set(parse_manifest(path.read_bytes(), path).calls[SEARCH]) == called
    guide = Path(__file__).parents[3] / "docs/guide/store.md"
    (line,) = re.findall(rf"secondary/store -> {SEARCH}: \[(.*)\]", guide.read_text())
    assert {*line.split(", ")} == called
