"""The lock of the whole host: what the authority, the supervisor and the operator's commands do for it."""
