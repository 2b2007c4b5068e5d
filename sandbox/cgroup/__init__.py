"""Control groups of the runtime's processes."""
