"""The audit log: tamper-evident records (docs/reference/audit-log-format.md)."""
