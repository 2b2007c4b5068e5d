"""The resolver: the one process that hears what name servers say. It holds no key, and makes no socket."""
