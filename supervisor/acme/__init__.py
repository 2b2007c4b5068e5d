"""The ACME process: the one process that speaks with a CA. It holds the account's key, and makes no socket."""
