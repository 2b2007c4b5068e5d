"""What is brought and off: entry points of tlsrt agree with its manifests, and words that bring nothing are refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tlsrt.config.defaults import BUILT_IN, LOOPS
from tlsrt.config.distributions import installed
from tlsrt.config.init import initialise
from tlsrt.config.load import load_config
from tlsrt.config.manifest import parse_manifest
from tlsrt.config.setting import ADDRESS
from tlsrt.errors import ConfigError, InvalidArgument
from tlsrt.supervisor.cli.component import available
from tlsrt.supervisor.cli.component.available import (
    available_lines,
    offering_at,
    own_offering,
    refuse_unknown,
)
from tlsrt.supervisor.cli.component.wheel import Offering, offers_at

MANIFEST = 'manifest: 1\ncomponent: {address}\nclass: "{name}:Bell"\ntitle: rings\nneeds: {{memory_mb: 8}}\n'


def bring(folder: Path, name: str, address: str, entry: str = "") -> None:
    """Put a distribution into a folder as pip installs it."""
    for path, text in {
        f"{name}/__init__.py": "raise SystemExit('it ran')",
        f"{name}/tlsrt.yaml": MANIFEST.format(address=address, name=name),
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/entry_points.txt": f"[tlsrt.components]\nx = {entry or name}\n",
    }.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, the only one that is searched, and tlsrt brings nothing."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(available, "known_distributions", lambda: installed([folder]))
    monkeypatch.setattr(available, "own_offering", lambda: Offering("tlsrt", "1", (), None))
    return folder


def test_every_manifest_of_tlsrt_is_built_in_or_has_an_entry_point() -> None:
    entries = {offer.path.resolve() for offer in own_offering().offers}
    built_in = {one.file.resolve() for one in BUILT_IN.manifests.values()}
    assert {path.resolve() for path in LOOPS.glob("*/*.tlsrt.yaml")} == entries | built_in
    assert not entries & built_in


def test_what_tlsrt_brings_lies_in_the_folder_of_its_loop_under_its_name() -> None:
    for offer in own_offering().offers:
        manifest = parse_manifest(offer.manifest, offer.path)
        loop, _, name = manifest.address.partition("/")
        assert re.fullmatch(ADDRESS, manifest.address)
        assert offer.path.name == f"{name}.tlsrt.yaml"
        assert offer.package.startswith("tlsrt.loops.") and offer.path.parent.name in (loop, "facts")


def test_a_brought_component_is_found_by_its_address_and_nothing_of_it_runs(site: Path) -> None:
    bring(site, "bell", "third/bell")
    found = offering_at("third/bell")
    assert found is not None
    assert (found.distribution, found.version, len(found.offers), found.wheel) == ("bell", "1.0", 1, None)
    assert offering_at("third/gong") is None


def test_two_that_bring_the_same_are_named(site: Path) -> None:
    bring(site, "bell", "third/bell")
    bring(site, "gong", "third/bell")
    with pytest.raises(ConfigError, match="third/bell is brought by bell and gong: name the package"):
        offering_at("third/bell")


def test_a_package_that_names_no_manifest_of_its_own_hides_no_other(site: Path) -> None:
    bring(site, "bell", "third/bell")
    bring(site, "broken", "third/broken", entry="broken:nothing")
    bring(site, "worse", "third/worse", entry="../../etc")
    assert offering_at("third/bell") is not None
    assert offering_at("third/broken") is None


def test_a_manifest_in_a_folder_of_a_package_is_found_there(tmp_path: Path) -> None:
    (tmp_path / "bell" / "parts").mkdir(parents=True)
    (tmp_path / "bell" / "parts" / "ring.tlsrt.yaml").write_bytes(b"x")
    [offer] = offers_at(tmp_path, [("bell.parts", "ring.tlsrt.yaml")], "bell 1.0")
    assert (offer.package, offer.name, offer.manifest) == ("bell.parts", "ring.tlsrt.yaml", b"x")
    with pytest.raises(ConfigError, match=r"bell 1.0 names the manifest bell/tlsrt.yaml, which is not there"):
        offers_at(tmp_path, [("bell", "tlsrt.yaml")], "bell 1.0")


def test_the_list_leaves_out_what_is_on_and_says_what_the_rest_asks_for(site: Path, tmp_path: Path) -> None:
    bring(site, "bell", "third/bell")
    bring(site, "gong", "third/gong")
    initialise(tmp_path / "host", host="127.0.0.1", port=7443, now=datetime.now(UTC))
    path = tmp_path / "host" / "tlsrt.yaml"
    document = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**document, "components": {"third/gong": {"class": "bell:Own"}}}))
    config = load_config(path)
    lines = available_lines(available.available(config))
    assert [line.split()[0] for line in lines[1:] if line and not line.startswith("add")] == ["third/bell"]
    assert "  memory_mb  " in lines[1] and "bell 1.0" in lines[1]
    assert available_lines({"available": []}) == ["everything that is brought is on"]


def test_a_word_that_brings_nothing_is_told_with_what_is_meant(site: Path, tmp_path: Path) -> None:
    bring(site, "bell", "third/bell")
    initialise(tmp_path / "host", host="127.0.0.1", port=7443, now=datetime.now(UTC))
    path = tmp_path / "host" / "tlsrt.yaml"
    with pytest.raises(InvalidArgument, match="there is no third/bel that could be added, did you mean third/bell"):
        refuse_unknown("third/bel", load_config(path))
    with pytest.raises(InvalidArgument, match="third/io comes with tlsrt and is on"):
        refuse_unknown("third/io", load_config(path))
