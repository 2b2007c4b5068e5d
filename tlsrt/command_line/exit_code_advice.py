"""What leads to each exit code of both commands, and what to do: for `explain` and the page of exit codes. Data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tlsrt.errors import (
    EX_CHANGED,
    EX_CONFIG,
    EX_DEGRADED,
    EX_FAILED,
    EX_INTERRUPTED,
    EX_LOCKED,
    EX_NOPERM,
    EX_NOT_RUNNING,
    EX_PIPE_CLOSED,
    EX_SOFTWARE,
    EX_TEMPFAIL,
    EX_UNAVAILABLE,
    EX_USAGE,
    EX_WAIVED,
)


class Advice(NamedTuple):
    """Why a command ends so, and what helps."""

    cause: str
    remedy: str


ADVICE: Mapping[int, Advice] = {
    0: Advice("what was asked for is done, or was so already", "nothing"),
    EX_FAILED: Advice(
        "`tlsrt call`: the method raised an error of its own; of the other three: what they look for was found",
        "read the sentence: for a call, `tlsrt-supervisor logs LOOP` has what the component wrote; `doctor` names a "
        "command for each thing; after `audit verify` keep a copy of the log before anything else",
    ),
    EX_CHANGED: Advice(
        "`--detailed-exitcode` was given, and the host is not, or was not, as the declaration says",
        "nothing after `apply`; after `apply --dry-run`, `apply` makes the change",
    ),
    EX_NOT_RUNNING: Advice(
        "nothing answers at the control socket of the configuration: the host was stopped, has not begun, or runs with "
        "another configuration",
        "`systemctl status tlsrt` says why it ended; `check` says whether it can start; `--config FILE` or "
        "`$TLSRT_CONFIG` names another host",
    ),
    EX_LOCKED: Advice(
        "an operator, a client that may, or a detector has locked the host",
        "`status` says by whom and why; `unlock` ends it, `tlsrt --wait-locked S` waits for that",
    ),
    EX_DEGRADED: Advice(
        "a process is down, a component is not ready, or the host is not up yet",
        "the line names the process: `status LOOP` shows its last death and its log; `restart LOOP` once it is mended",
    ),
    EX_WAIVED: Advice(
        "`sandbox.waive` in the configuration leaves layers out that this machine could not give",
        "`sandbox check` says which of them can be had now; take their entries out, `seal`, and restart",
    ),
    EX_USAGE: Advice(
        "a word of the command line is unknown or malformed, or a method was called with wrong parameters",
        "the sentence names the word; `help VERB` shows what a verb takes, `tlsrt methods` what components take",
    ),
    EX_UNAVAILABLE: Advice(
        "the door does not answer, a loop is down, a layer of the sandbox is missing, or the disk takes no more",
        "`status` and `doctor` say which; `sandbox check` for a layer; a call that was never delivered may be "
        "repeated, and the sentence says so",
    ),
    EX_SOFTWARE: Advice(
        "a part of tlsrt has met what it does not expect",
        "run the command again; if it stays, report the sentence with the output of `version` and the last lines of "
        "`logs`",
    ),
    EX_TEMPFAIL: Advice(
        "a queue was full, a limit of frames or sessions was reached, the answer did not come in time, or the client "
        "is in quarantine",
        "try again after a pause; if it stays, `status --wide` and `anomalies` say where calls wait and who is limited",
    ),
    EX_NOPERM: Advice(
        "the client has no right for this call, the host does not accept its certificate, or the user may not open a "
        "file or the control socket",
        "`client list` shows the rights and `client set` changes them; for a file or the control socket, run the "
        "command as root or as the user of the host",
    ),
    EX_CONFIG: Advice(
        "a file is not right, or is not as it was sealed",
        "`check` prints every fault as FILE:LINE:COL; after a change that you intended, `seal`; for a bundle, "
        "`client renew NAME` makes another one",
    ),
    EX_INTERRUPTED: Advice(
        "Ctrl-C, or SIGINT", "nothing; what was under way is not undone: `status` says how it stands"
    ),
    EX_PIPE_CLOSED: Advice("the program that read the output, such as `head`, has ended first", "nothing"),
}
