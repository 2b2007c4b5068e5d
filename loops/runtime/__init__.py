"""The process of one loop: start in the sandbox, heartbeat, channel to the authority, its components."""
