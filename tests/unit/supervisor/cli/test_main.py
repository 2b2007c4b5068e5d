"""The command line: parsing, exit codes, and that no exception becomes a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tlsrt.channels.cli import main as client
from tlsrt.command_line.parse import parse
from tlsrt.command_line.run import folded
from tlsrt.errors import EX_SOFTWARE, EX_USAGE, ConfigError, SandboxError
from tlsrt.supervisor.cli import main
from tlsrt.supervisor.cli.exchange import PROGRAM
from tlsrt.supervisor.cli.verbs import COMMAND
from tlsrt.supervisor.process.instance_lock import AlreadyRunning

Entry = Callable[[Sequence[str]], int]


@pytest.mark.parametrize(
    "argv", [["--config", "a.yaml", "status"], ["status", "--config", "a.yaml"], ["status", "--config=a.yaml"]]
)
def test_the_configuration_may_be_named_before_or_after_the_verb(argv: list[str]) -> None:
    assert parse(COMMAND, argv)[1].config == "a.yaml"


def test_the_last_configuration_named_counts() -> None:
    assert parse(COMMAND, ["--config", "a", "status", "--config", "b"])[1].config == "b"


@pytest.mark.parametrize(
    "argv", [[], ["dance"], ["status", "--jsn"], ["init"], ["sandbox"], ["init", "d", "--port", "x"]]
)
def test_wrong_usage_is_64_and_one_sentence(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(argv) == EX_USAGE
    errors = capsys.readouterr().err
    assert errors.startswith("tlsrt-supervisor")
    assert errors.count("\n") == 1
    assert "--help" in errors


@pytest.mark.parametrize("verb", ["start", "status", "stop", "init", "seal", "sandbox", "schema", "version"])
def test_every_verb_has_help_that_says_more_than_its_name(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([verb, "--help"]) == 0
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


@pytest.mark.parametrize("entry", [main.main, client.main], ids=["tlsrt-supervisor", "tlsrt"])
def test_help_and_version_of_both_commands(entry: Entry, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tlsrt 0.")
    assert entry(["help"]) == 0
    whole = capsys.readouterr().out
    assert entry(["--help"]) == 0 and capsys.readouterr().out == whole
    assert entry(["help", "events"]) == 0
    shown = capsys.readouterr().out
    assert "--follow" in shown
    assert entry(["events", "-h"]) == 0 and capsys.readouterr().out == shown
    assert entry(["help", "evnets"]) == 64
    assert "did you mean events?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entry", "words", "sentence"),
    [
        (main.main, ("statsu",), 'there is no verb "statsu", did you mean status?'),
        (main.main, ("sandbox", "chek"), 'there is no verb "chek", did you mean check?'),
        (main.main, ("status", "--jsn"), "there is no option --jsn, did you mean --json?"),
        (main.main, ("client", "add", "phone", "--alow=x"), "there is no option --alow, did you mean --allow?"),
        (main.main, ("status", "--js"), "there is no option --js, did you mean --json?"),
        (main.main, ("seal", "now"), "too many arguments: now"),
        (main.main, ("quarantine",), "say what to do: list, release"),
        (main.main, ("restore", "planet", "x"), '"planet" is none of component, client, loop'),
        (client.main, ("cal", "primary/kernel", "uname"), 'there is no verb "cal", did you mean call?'),
        (client.main, ("--bundel", "x", "whoami"), "there is no option --bundel, did you mean --bundle?"),
        (client.main, ("whoami", "--jsn"), "there is no option --jsn, did you mean --json?"),
    ],
)
def test_a_mistake_is_answered_with_what_was_meant(
    entry: Entry, words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry(words) == EX_USAGE
    assert sentence in capsys.readouterr().err


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
    assert folded(PROGRAM, lambda: raising(error)) == code
    assert capsys.readouterr().err.splitlines() == [f"tlsrt-supervisor: {sentence}" for sentence in sentences]


def test_what_nobody_expected_is_an_internal_error_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TLSRT_DEBUG", raising=False)
    assert folded(PROGRAM, lambda: raising(ZeroDivisionError("oops"))) == EX_SOFTWARE
    errors = capsys.readouterr().err
    assert errors.startswith("tlsrt-supervisor: internal error: ZeroDivisionError: oops")
    assert errors.count("\n") == 1
    monkeypatch.setenv("TLSRT_DEBUG", "1")
    assert folded(PROGRAM, lambda: raising(ZeroDivisionError("oops"))) == EX_SOFTWARE
    assert "Traceback" in capsys.readouterr().err


def test_start_reaches_the_launcher_without_the_heavy_modules() -> None:
    """Start-up time: whoever imports one of these on the way to the launcher pays for it twice."""
    program = (
        "import sys, tlsrt.supervisor.cli.main as cli, tlsrt.supervisor.cli.start, tlsrt.supervisor.launch.launcher\n"
        "from tlsrt.command_line.parse import parse\n"
        "parse(cli.COMMAND, ['start'])\n"
        "heavy = {'asyncio', 'yaml', 'zmq', 'cryptography', 'msgpack', 'importlib.metadata', 'ssl', 'psutil'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-I", "-B", "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "[]", done.stderr
