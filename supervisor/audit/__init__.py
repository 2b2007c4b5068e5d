"""The audit log: what happened on this host, so that it can be believed (PROTOCOL.md, "The audit log")."""
