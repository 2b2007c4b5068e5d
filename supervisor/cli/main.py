"""The command line `tlsrt-supervisor`. Imports are late on purpose: `start` must reach the launcher at once.

Whatever goes wrong ends as `tlsrt-supervisor: SENTENCE` on standard error and an exit code; TLSRT_DEBUG=1 in the
environment shows the traceback as well.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tlsrt.errors import (
    EX_INTERRUPTED,
    EX_PIPE_CLOSED,
    EX_SOFTWARE,
    EX_USAGE,
    ConfigError,
    TlsrtError,
    exit_codes_text,
)
from tlsrt.supervisor.cli.audit_arguments import add_audit
from tlsrt.supervisor.cli.output import PROGRAM, say
from tlsrt.supervisor.cli.verbs import add_host_verbs, whole_number


class _Parser(argparse.ArgumentParser):
    """argparse, with our exit code and one sentence."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(EX_USAGE, f"{self.prog}: {message}; try `{self.prog} --help`\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parser().parse_args(sys.argv[1:] if argv is None else argv)
    return folded(lambda: int(arguments.run(arguments)))


def supervise(argv: list[str]) -> int:
    """Run the supervisor itself, inside its pid namespace; `argv` is what the launcher passes on."""
    inner = argparse.ArgumentParser(prog=PROGRAM, add_help=False)
    inner.add_argument("--death-pipe", type=int)
    inner.add_argument("--no-pid-namespace")
    inner.add_argument("--config", required=True)
    arguments = inner.parse_args(argv)

    def run() -> int:
        from tlsrt.supervisor.launch.start import start

        return start(Path(arguments.config), arguments.death_pipe, arguments.no_pid_namespace)

    return folded(run)


def folded(run: Callable[[], int]) -> int:
    """Run, and fold every exception into sentences and an exit code."""
    try:
        return run()
    except KeyboardInterrupt:
        return EX_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read our output has left; say no more at exit
        return EX_PIPE_CLOSED
    except ConfigError as error:
        _debug()
        say(*error.problems)
        return error.exit_code
    except TlsrtError as error:
        _debug()
        say(str(error))
        return error.exit_code
    except Exception as error:
        _debug()
        say(f"InternalError: {type(error).__name__}: {error} (a bug of tlsrt; TLSRT_DEBUG=1 shows where)")
        return EX_SOFTWARE


def _debug() -> None:
    if os.environ.get("TLSRT_DEBUG") == "1":
        import traceback

        traceback.print_exc()


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    common = _Parser(add_help=False)
    common.add_argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="the configuration (default: ./var/tlsrt.yaml, then /etc/tlsrt/tlsrt.yaml)",
    )
    top = _Parser(
        prog=PROGRAM,
        parents=[common],
        description="Runs the software of this host as sandboxed loops behind one TLS 1.3 door.",
        epilog=exit_codes_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(metavar="VERB", required=True, parser_class=_Parser)

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        verb: argparse.ArgumentParser = verbs.add_parser(name, parents=[common], help=text, description=text)
        verb.set_defaults(run=run)
        return verb

    add("start", _start, "run in the foreground until SIGTERM, Ctrl-C or `stop`")
    add_host_verbs(add, _config_path)
    init = add("init", _init, "write a configuration, keys, certificates and an admin bundle; never overwrites")
    init.add_argument("directory", metavar="DIR", type=Path, help="where to write")
    init.add_argument("--host", default="127.0.0.1", help="address of the door (default: %(default)s)")
    init.add_argument("--port", type=int, default=7443, help="port of the door (default: %(default)s)")
    init.add_argument(
        "--strict", action="store_true", help="waive no layer of the sandbox, whatever this host cannot give"
    )
    add("seal", _seal, "renew the boot token after an intended change of code, configuration or certificate")
    _add_sandbox(add("sandbox", _sandbox, "show and explain how a process of this host is confined"), common)
    add_audit(
        add("audit", _audit, "read, verify and hand on the log of what happened on this host"), common, whole_number
    )
    add("schema", _schema, "print the JSON Schema of the configuration, for editors")
    add("version", _version, "print the version")
    completion = add(
        "completion", _completion,
        "print what teaches a shell to complete this command: source <(tlsrt-supervisor completion bash)",
    )  # fmt: skip
    completion.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")
    return top


def _add_sandbox(verb: argparse.ArgumentParser, common: _Parser) -> None:
    """Add the verbs below `sandbox`; what they do is in `sandbox.py`."""
    verbs = verb.add_subparsers(metavar="VERB", required=True, parser_class=_Parser, dest="sandbox_verb")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        below: argparse.ArgumentParser = verbs.add_parser(name, parents=[common], help=text, description=text)
        below.add_argument("--json", action="store_true", help="the same as one JSON document")
        return below

    add("check", "try every layer of the sandbox on this host and say which hold, which not, why, and what to do")
    show = add("show", "print what one process may see and use, with the reason for every line")
    show.add_argument("process", metavar="LOOP", help="a loop, or authority")
    explain = add("explain", "say whether a process may make a system call, open a path or reach a host, and why")
    explain.add_argument("process", metavar="LOOP", help="a loop, or authority")
    explain.add_argument(
        "what",
        metavar="WHAT",
        nargs="+",
        help="a system call and perhaps its arguments (socket AF_INET SOCK_STREAM), /a/path, or ADDRESS:PORT[/udp]",
    )


def _audit(arguments: argparse.Namespace) -> int:
    from tlsrt.supervisor.cli import audit

    return audit.run(arguments, lambda: _config_path(arguments))


def _sandbox(arguments: argparse.Namespace) -> int:
    from tlsrt.supervisor.cli import sandbox

    if arguments.sandbox_verb == "check":  # the one verb that needs no configuration
        return sandbox.run_check(arguments, getattr(arguments, "config", None))
    run = getattr(sandbox, f"run_{arguments.sandbox_verb}")
    return int(run(arguments, _config_path(arguments)))


def _config_path(arguments: argparse.Namespace) -> Path:
    from tlsrt.config.search_path import find_config

    return Path(os.path.abspath(find_config(getattr(arguments, "config", None))))


def _start(arguments: argparse.Namespace) -> int:
    from tlsrt.supervisor.launch.cleanup import sweep
    from tlsrt.supervisor.launch.launcher import launch

    return launch(["--config", str(_config_path(arguments))], sweep=sweep)


def _init(arguments: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from tlsrt.config.init import initialise
    from tlsrt.config.template import MissingLayer
    from tlsrt.supervisor.cli.needed_waivers import needed_waivers
    from tlsrt.supervisor.process.uids import other_uid_base

    waivers, sentences = needed_waivers()
    lines = initialise(
        arguments.directory,
        host=arguments.host,
        port=arguments.port,
        now=datetime.now(UTC),
        lacking=MissingLayer(() if arguments.strict else tuple(waivers), other_uid_base()),
    )
    print("\n".join(lines))
    if arguments.strict:
        sentences = [*sentences, *(f"this host cannot give {waiver.layer} ({waiver.reason})" for waiver in waivers)]
    say(*sentences)
    return 0


def _seal(arguments: argparse.Namespace) -> int:
    from tlsrt.config.init import seal
    from tlsrt.config.load import load_config
    from tlsrt.supervisor.cli.sandbox import effective_of
    from tlsrt.supervisor.launch.start import known_of
    from tlsrt.supervisor.process.uids import AUTHORITY

    config = load_config(_config_path(arguments))
    for process in (AUTHORITY, *(loop.name for loop in config.loops)):
        effective_of(config, process)  # what cannot be confined would not start: say so now
    number = seal(config, known_of(config))
    print(f"sealed: the boot token has number {number}; the next start accepts the host as it is now")
    return 0


def _schema(arguments: argparse.Namespace) -> int:
    import json

    from tlsrt.config.json_schema import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0


def _version(arguments: argparse.Namespace) -> int:
    from importlib.metadata import version

    print(f"tlsrt {version('tlsrt')}")
    return 0


def _completion(arguments: argparse.Namespace) -> int:
    from tlsrt.channels.cli.completion import script_of
    from tlsrt.channels.cli.completion.tree import node_of

    print(script_of(arguments.shell, node_of(parser(), (PROGRAM,))), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
