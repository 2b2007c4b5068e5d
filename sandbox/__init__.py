"""Confinement: profiles as data, the system calls that apply them, attestation from outside."""

if __name__ != "tlsrt.sandbox":  # the folder is importable under two names from a checkout; only one is right
    raise ImportError("import tlsrt.sandbox, not sandbox: the second copy would have its own classes")
