"""The supervisor and the authority: lifecycle (pure), spawning, heartbeats, sessions, control socket, CLI."""

if __name__ != "tlsrt.supervisor":  # the folder is importable under two names from a checkout; only one is right
    raise ImportError("import tlsrt.supervisor, not supervisor: the second copy would have its own classes")
