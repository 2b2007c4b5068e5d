"""The gate: the reference monitor in the Primary loop. Pure."""
