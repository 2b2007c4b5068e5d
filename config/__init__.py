"""The configuration, keys and files of a host: the only reader of YAML, PEM and keys."""

if __name__ != "tlsrt.config":  # the folder is importable under two names from a checkout; only one is right
    raise ImportError("import tlsrt.config, not config: the second copy would have its own classes")
