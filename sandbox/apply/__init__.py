"""Entering the sandbox: layers, root file system, Landlock, rlimits."""
