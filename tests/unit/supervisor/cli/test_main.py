"""The command line: parsing, exit codes, and that no exception becomes a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tlsrt.errors import EX_SOFTWARE, EX_USAGE, ConfigError, SandboxError
from tlsrt.supervisor.cli import main
from tlsrt.supervisor.launch.instance_lock import AlreadyRunning


@pytest.mark.parametrize(
    "argv", [["--config", "a.yaml", "status"], ["status", "--config", "a.yaml"], ["status", "--config=a.yaml"]]
)
def test_the_configuration_may_be_named_before_or_after_the_verb(argv: list[str]) -> None:
    assert main.parser().parse_args(argv).config == "a.yaml"


def test_the_last_configuration_named_counts() -> None:
    assert main.parser().parse_args(["--config", "a", "status", "--config", "b"]).config == "b"


@pytest.mark.parametrize(
    "argv", [[], ["dance"], ["status", "--jsn"], ["init"], ["sandbox"], ["init", "d", "--port", "x"]]
)
def test_wrong_usage_is_64_and_one_sentence(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(argv)
    assert caught.value.code == EX_USAGE
    errors = capsys.readouterr().err
    assert errors.startswith("tlsrt-supervisor")
    assert errors.count("\n") == 1
    assert "--help" in errors


@pytest.mark.parametrize("verb", ["start", "status", "stop", "init", "seal", "sandbox", "schema", "version"])
def test_every_verb_has_help_that_says_more_than_its_name(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main([verb, "--help"])
    assert caught.value.code == 0
    assert len(capsys.readouterr().out.split("\n\n")[1]) > 15


@pytest.mark.parametrize("verb", ["start", "status", "stop", "seal"])
def test_a_missing_configuration_is_78_and_one_sentence(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if verb == "start":  # in a process of its own: it makes namespaces
        command = [sys.executable, "-m", "tlsrt.supervisor.cli.main", verb, "--config", str(tmp_path / "none.yaml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        code, errors = done.returncode, done.stderr
    else:
        code = main.main([verb, "--config", str(tmp_path / "none.yaml")])
        errors = capsys.readouterr().err
    assert code == 78
    assert errors.startswith("tlsrt-supervisor: there is no configuration at ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("verb", ["status", "stop"])
def test_nothing_running_is_3_and_one_sentence(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["init", str(tmp_path / "var")]) == 0
    capsys.readouterr()
    assert main.main(["--config", str(tmp_path / "var" / "tlsrt.yaml"), verb]) == 3
    errors = capsys.readouterr().err
    assert "tlsrt is not running" in errors
    assert errors.count("\n") == 1


def test_init_says_what_to_do_next_and_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["init", str(tmp_path / "var"), "--port", "7000"]) == 0
    assert "tlsrt-supervisor" in capsys.readouterr().out
    before = (tmp_path / "var" / "tlsrt.yaml").read_text()
    assert "7000" in before
    assert main.main(["init", str(tmp_path / "var"), "--port", "7001"]) == 78
    assert (tmp_path / "var" / "tlsrt.yaml").read_text() == before


def test_seal_counts_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["init", str(tmp_path / "var")]) == 0
    capsys.readouterr()
    config = str(tmp_path / "var" / "tlsrt.yaml")
    assert main.main(["seal", "--config", config]) == 0
    assert "number 2" in capsys.readouterr().out
    assert main.main(["seal", "--config", config]) == 0
    assert "number 3" in capsys.readouterr().out


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "tlsrt.yaml"


def test_version_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["version"]) == 0
    assert capsys.readouterr().out.startswith("tlsrt 0.")


def raising(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "sentences"),
    [
        (ConfigError(["first", "second"]), 78, ["first", "second"]),
        (SandboxError("uid", "no"), 69, ["sandbox layer uid: no"]),
        (AlreadyRunning("it runs"), 69, ["it runs"]),
        (KeyboardInterrupt(), 130, []),
    ],
)
def test_an_error_becomes_sentences_and_its_code(
    error: BaseException, code: int, sentences: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.folded(lambda: raising(error)) == code
    assert capsys.readouterr().err.splitlines() == [f"tlsrt-supervisor: {sentence}" for sentence in sentences]


def test_what_nobody_expected_is_an_internal_error_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TLSRT_DEBUG", raising=False)
    assert main.folded(lambda: raising(ZeroDivisionError("oops"))) == EX_SOFTWARE
    errors = capsys.readouterr().err
    assert errors.startswith("tlsrt-supervisor: InternalError: ZeroDivisionError: oops")
    assert errors.count("\n") == 1
    monkeypatch.setenv("TLSRT_DEBUG", "1")
    assert main.folded(lambda: raising(ZeroDivisionError("oops"))) == EX_SOFTWARE
    assert "Traceback" in capsys.readouterr().err


def test_start_reaches_the_launcher_without_the_heavy_modules() -> None:
    """Start-up time: whoever imports one of these on the way to the launcher pays for it twice."""
    program = (
        "import sys, tlsrt.supervisor.cli.main as cli, tlsrt.supervisor.launch.launcher, tlsrt.config.search_path\n"
        "cli.parser()\n"
        "heavy = {'asyncio', 'yaml', 'zmq', 'cryptography', 'msgpack', 'importlib.metadata', 'ssl', 'psutil'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-I", "-B", "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "[]", done.stderr
