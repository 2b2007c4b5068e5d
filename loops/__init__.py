"""The loop processes: component SDK, runtime, gate, door, and a folder of components per loop."""

if __name__ != "tlsrt.loops":  # the folder is importable under two names from a checkout; only one is right
    raise ImportError("import tlsrt.loops, not loops: the second copy would have its own classes")
