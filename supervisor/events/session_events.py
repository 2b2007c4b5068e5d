"""Events of sessions, of the door, and of jobs that run in the name of their owners."""

from __future__ import annotations

from tlsrt.supervisor.events.event_kinds import Row, Severity, example

_INFO, _WARNING = Severity.INFO, Severity.WARNING

SESSION: tuple[Row, ...] = (
    ("session_opened", _INFO, "session opened", "a client has proved its certificate and its key",
     "nothing; if its owner was not there, `revoke client NAME`",
     example("client/admin", session="015f9c2e", owner="client")),
    ("session_closed", _INFO, "session closed by client", "its connection has ended",
     "nothing",
     example("client/admin", session="015f9c2e", owner="client")),
    ("session_expired", _INFO, "session expired", "its time is over; the client opens another one by itself",
     "nothing",
     example("client/admin", session="015f9c2e", owner="client")),
    ("session_revoked", _INFO, "session revoked", "`revoke`, or a change of the rights of its client",
     "nothing; `audit tail` says who has revoked it",
     example("client/admin", session="015f9c2e", owner="client")),
    ("session_quarantined", _WARNING, "session quarantined", "the anomaly score of its subject is too high",
     "`anomalies` shows what was found; `quarantine release` ends it",
     example("client/admin", session="015f9c2e", owner="client")),
    ("client_refused", _WARNING, "session refused to client",
     "it is revoked, its certificate has ended, or its proof is wrong; the words say it",
     "`client list` shows its state; `client renew NAME` gives it another certificate",
     example("door", "revoked")),
    ("turned_away", _INFO, "connections refused at the door",
     "no TLS, no certificate of this host, or too many at once",
     "nothing, when the address is of a scanner; when it is a client of yours, its bundle is of another host or old: "
     "`client renew NAME`",
     example("door", "no_certificate, 3 times, last from 192.0.2.7", count=3)),
    ("job_run", _INFO, "job run in the name of its owner", "its time has come",
     "nothing; `jobs list` shows when it runs next, `jobs remove` ends it",
     example("client/admin", "third/kettle boil", job="6f3a9b1c", target="third/kettle", run=4)),
    ("job_failed", _WARNING, "job did not end well", "its target was away, or refused it; the words say it",
     "read the log of the target with `logs LOOP`; `jobs list` says when it is tried again",
     example("client/admin", "third/kettle boil: the component failed", job="6f3a9b1c", target="third/kettle")),
    ("job_refused", _WARNING, "job not run", "its owner is revoked, or policy does not allow the call any more",
     "give its owner the right with `client set`, or `jobs remove` it",
     example("client/admin", "third/kettle boil: denied", reason="denied")),
)  # fmt: skip
