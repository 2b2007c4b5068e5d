"""What changes while the host runs: configuration, profiles, the door's files, keys."""
