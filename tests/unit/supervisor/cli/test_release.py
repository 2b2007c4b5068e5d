"""Signed wheels: what `release` writes and reads, without an installation."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

import pytest

from tlsrt.config.release import parse_release_untrusted
from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.main import main
from tlsrt.supervisor.cli.release_wheel import read_wheel

FILES = {
    "kettle/__init__.py": b"",
    "kettle/api.py": b"print(1)\n",
    "kettle-1.2.dist-info/METADATA": b"Metadata-Version: 2.1\nName: Kettle\nVersion: 1.2\n",
    "kettle-1.2.dist-info/RECORD": b"kettle/__init__.py,,\nkettle-1.2.dist-info/RECORD,,\n",
}


def wheel_of(files: dict[str, bytes], twice: str = "") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        if twice:
            with pytest.warns(UserWarning, match="Duplicate name"):
                archive.writestr(twice, b"evil")
    return made.getvalue()


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    code = main([*map(str, words)])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_a_wheel_is_signed_beside_and_within_and_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, wheel = tmp_path / "sign.pem", tmp_path / "kettle-1.2-py3-none-any.whl"
    wheel.write_bytes(wheel_of(FILES))
    code, said = run(capsys, "release", "key", key)
    public = said.splitlines()[0]
    assert code == 0 and len(bytes.fromhex(public)) == 32 and key.stat().st_mode & 0o777 == 0o600
    assert run(capsys, "release", "key", key)[0] != 0, "never overwritten"
    assert run(capsys, "release", "sign", key, wheel)[0] == 0
    code, said = run(capsys, "release", "verify", wheel, "--publisher", public)
    assert code == 0 and said.startswith(f"kettle 1.2: 3 files as signed by {public}")
    beside = wheel.with_name(f"{wheel.name}.release")
    release = parse_release_untrusted(beside.read_bytes())
    assert release.files["kettle/api.py"] == hashlib.sha256(FILES["kettle/api.py"]).digest()
    beside.unlink()
    assert "has no release manifest in it or beside it" in run(capsys, "release", "verify", wheel)[1]
    assert run(capsys, "release", "sign", key, wheel, "--embed")[0] == 0
    assert run(capsys, "release", "verify", wheel, "--publisher", public)[0] == 0
    with zipfile.ZipFile(wheel) as archive:
        record = archive.read("kettle-1.2.dist-info/RECORD").decode()
        assert record.splitlines()[-1] == "kettle-1.2.dist-info/RECORD,," and "dist-info/RELEASE,sha256=" in record
    assert "not pinned for kettle" in run(capsys, "release", "verify", wheel, "--publisher", "0" * 64)[1]
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("kettle/evil.py", b"")
    code, said = run(capsys, "release", "verify", wheel, "--publisher", public)
    assert code != 0 and "not what its publisher has signed: new kettle/evil.py" in said


@pytest.mark.parametrize("row", ["../../../bin/python,,", "kettle/other.py,sha256=x,1", '"../a, b",,'])
def test_a_record_that_lists_what_is_not_in_the_wheel_is_refused(row: str) -> None:
    """pip would remove that file with the package, and RECORD is not signed."""
    record = "kettle-1.2.dist-info/RECORD"
    with pytest.raises(ConfigError, match=r"the RECORD of kettle\.whl lists .*, which is not in it"):
        read_wheel(wheel_of({**FILES, record: FILES[record] + f"{row}\n".encode()}), "kettle.whl")


def test_what_is_no_wheel_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for data in (b"", b"PK", wheel_of({"a.py": b""}), wheel_of(FILES, twice="kettle/api.py"), wheel_of(FILES)[:-30]):
        with pytest.raises(ConfigError) as caught:
            read_wheel(data, "kettle.whl")
        assert len(caught.value.problems) == 1
    other = tmp_path / "key"
    other.write_bytes(os.urandom(32))
    wheel = tmp_path / "kettle.whl"
    wheel.write_bytes(wheel_of(FILES))
    assert "is no signing key" in run(capsys, "release", "sign", other, wheel)[1]
