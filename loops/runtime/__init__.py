"""The process of one loop: sandbox, heartbeat, channel to the authority, components."""
