"""Frames, sessions, calls, links, control channels, TLS, the client and its command."""

if __name__ != "tlsrt.channels":  # the folder is importable under two names from a checkout; only one is right
    raise ImportError("import tlsrt.channels, not channels: the second copy would have its own classes")
