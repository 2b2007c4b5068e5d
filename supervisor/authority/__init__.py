"""The authority: all code of the process that holds the keys. No privileges, no network."""
