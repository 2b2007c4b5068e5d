"""The helper: the one process that writes kernel settings and opens devices. It holds no key."""
