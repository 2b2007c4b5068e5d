"""The audit log: what happened on this host, so that it can be believed (docs/reference/audit-log-format.md)."""
