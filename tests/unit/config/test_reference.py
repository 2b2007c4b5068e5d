"""The reference page says all there is to say of every setting."""

from __future__ import annotations

import re

from tlsrt.config.reference import reference_markdown
from tlsrt.config.schema import FILE
from tlsrt.config.setting import Setting, keys_of

PAGE = reference_markdown()


def tables(setting: Setting, found: set[type]) -> set[type]:
    if setting.item is not None:
        tables(setting.item, found)
    if setting.table is not None and setting.table not in found:
        found.add(setting.table)
        for key in keys_of(setting.table).values():
            tables(key.setting, found)
    return found


def test_every_key_stands_there_once_with_its_sentence() -> None:
    words = " ".join(PAGE.split())
    keys = [(name, key) for table in tables(FILE, set()) for name, key in keys_of(table).items()]
    assert len(re.findall("^- `", PAGE, re.MULTILINE)) == len(keys)
    for name, key in keys:
        assert f"- `{name}`: {key.setting.about}".replace("*", r"\*") in words


def test_one_entry_in_full() -> None:
    assert "\n- `port`: The TCP port; 0 picks a free one.\n    - whole number from 0 to 65535; default `7443`\n" in PAGE
    assert "\n- `keep_mb`: " in PAGE and "from 16 to 1048576 (MiB); default `2048`\n" in PAGE


def test_its_links_lead_to_its_headings() -> None:
    headings = {re.sub("[^a-z0-9_-]", "", line.lower()) for line in re.findall("^#+ (.*)$", PAGE, re.MULTILINE)}
    links = set(re.findall(r"\]\(#([^)]*)\)", PAGE))
    assert len(links) > 15 and links <= headings


def test_its_lines_are_short() -> None:
    assert max(map(len, PAGE.splitlines())) <= 120
