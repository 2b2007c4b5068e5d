"""Events of programs that components have run."""

from __future__ import annotations

from tlsrt.supervisor.events.event_kinds import Row, Severity, example

PROGRAM: tuple[Row, ...] = (
    ("program_ended", Severity.INFO, "program ended", "it is done",
     "nothing; `untold` is how many runs before it had no event of their own, as there were too many",
     example("third.media/ffmpeg", "with status 0", number=12, served_s=1.204, untold=0, status=0)),
    ("program_failed", Severity.WARNING, "program did not end well",
     "its exit code, a signal or a limit; the words say it",
     "read what it wrote: `logs LOOP.COMPONENT/PROGRAM`; a limit (`seconds`, `memory_mb`, `state_mb`) is raised in its "
     "entry under `programs`",
     example("third.media/ffmpeg", "it used more than its `memory_mb`", number=12, served_s=1.2, untold=0, status=9)),
    ("program_refused", Severity.WARNING, "program was refused a system call",
     "it is not among those that programs may make",
     "if the program fails for it, ask for it in its entry under `programs`; `sandbox explain` names the line",
     example("third.media/ffmpeg", "setpriority", number=12, served_s=0.051, untold=0, call="setpriority")),
    ("program_forbidden", Severity.ALARM, "program made a forbidden system call",
     "what it was given, or the program itself, is bad",
     "it was killed; look at the input that it had, and whether the program is the one that its package brought",
     example("third.media/ffmpeg", "ptrace", number=12, served_s=0.051, untold=0, call="ptrace")),
)  # fmt: skip
