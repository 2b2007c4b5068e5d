"""--needs of `component add`: what it puts in the place of a manifest's, and each refusal in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tlsrt.config.manifest import ParsedManifest, changed_tree, parse_manifest
from tlsrt.errors import InvalidArgument
from tlsrt.supervisor.cli.component.needs_option import parse_needs

MANIFEST = """
manifest: 1
component: third/scale
class: "scale:Scale"
title: weighs
needs:
  memory_mb: 16
  devices:
    - {name: line, path: /dev/ttyUSB0, why: the scale hangs there}
    - {name: other, path: /dev/ttyUSB1, why: a second one}
  write: [{path: /srv/weights, why: it keeps them there}]
"""


@pytest.fixture
def manifest() -> ParsedManifest:
    return parse_manifest(MANIFEST.encode(), Path("tlsrt.yaml"))


def test_a_key_within_a_list_is_replaced_and_the_rest_of_the_need_stays(manifest: ParsedManifest) -> None:
    found = parse_needs(["devices.line.path=/dev/ttyACM0", "devices.1.why=the other counter"], manifest)
    assert found == {
        "needs": {
            "devices": [
                {"name": "line", "path": "/dev/ttyACM0", "why": "the scale hangs there"},
                {"name": "other", "path": "/dev/ttyUSB1", "why": "the other counter"},
            ]
        }
    }
    assert manifest.tree["needs"]["devices"][0]["path"] == "/dev/ttyUSB0", "the manifest is as it was"


def test_a_value_is_yaml_and_the_last_of_two_counts(manifest: ParsedManifest) -> None:
    found = parse_needs(["memory_mb=32", "memory_mb=64", "write=[{path: /srv/a=b, why: here}]"], manifest)
    assert found == {"needs": {"memory_mb": 64, "write": [{"path": "/srv/a=b", "why": "here"}]}}
    assert parse_needs([], manifest) == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("memory_mb", '"memory_mb" says no need: write --needs KEY=VALUE'),
        ("=3", '"=3" says no need: write --needs KEY=VALUE'),
        ("devices..path=x", '"devices..path=x" says no need: write --needs KEY=VALUE'),
        ("memmory_mb=3", "--needs memmory_mb: there is no need memmory_mb, did you mean memory_mb?"),
        ("zzzzzz=3", "--needs zzzzzz: there is no need zzzzzz: it asks for memory_mb, devices, write"),
        ("memory_mb=many", "--needs: memory_mb must be a whole number, not 'many'"),
        ("memory_mb={", "--needs memory_mb: the value is not YAML: quote it"),
        ("memory_mb.low=3", "--needs memory_mb.low: memory_mb has no keys of its own: give it a value whole"),
        ("devices.2.path=x", "--needs devices.2.path: there is no entry 2: it has line, other"),
        ("devices.path=x", "--needs devices.path: there is no entry path: it has line, other"),
        ("write.1.path=x", "--needs write.1.path: there is no entry 1: it has 0"),
        ("buses.0.name=x", "--needs buses.0.name: it asks for no buses: give the value whole"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(text: str, sentence: str, manifest: ParsedManifest) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_needs([text], manifest)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("text", ["devices.0.pth=/dev/x", "devices.0.path=relative", "devices.0=3", "write=/srv"])
def test_what_the_schema_refuses_is_told_without_a_place_in_a_file(text: str, manifest: ParsedManifest) -> None:
    with pytest.raises(InvalidArgument, match=r"^--needs: [a-z]") as caught:
        parse_needs([text], manifest)
    assert "\n" not in str(caught.value)


def test_what_it_gives_is_what_a_drop_in_may_have(manifest: ParsedManifest) -> None:
    found = parse_needs(["devices.0.path=/dev/ttyACM0"], manifest)
    assert yaml.safe_load(yaml.safe_dump(found)) == found


PLAYER = """
manifest: 1
component: third/player
class: "player:Player"
title: plays
programs:
  play: {run: /usr/bin/true, args: ["{song}"], seconds: 5, why: it plays}
"""


def test_a_key_of_a_program_is_replaced_and_the_rest_of_it_stays() -> None:
    player = parse_manifest(PLAYER.encode(), Path("tlsrt.yaml"))
    said = parse_needs(["programs.play.read=[/srv/songs]", "programs.play.seconds=9"], player)
    play = {"run": "/usr/bin/true", "args": ["{song}"], "seconds": 9, "why": "it plays", "read": ["/srv/songs"]}
    assert said == {"programs": {"play": play}}
    assert changed_tree(player.tree, said)["programs"] == {"play": play}
    assert player.tree["programs"]["play"]["seconds"] == 5, "the manifest is as it was"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("programs={}", "--needs programs: say which key of which program: programs.NAME.KEY=VALUE"),
        ("programs.play={}", "--needs programs.play: say which key of which program: programs.NAME.KEY=VALUE"),
        ("programs.sh.run=/bin/sh", "--needs programs.sh.run: there is no program sh: it has play"),
    ],
)
def test_a_program_that_the_manifest_has_not_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_needs([text], parse_manifest(PLAYER.encode(), Path("tlsrt.yaml")))
    assert str(caught.value) == sentence
