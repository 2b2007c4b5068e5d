"""Files that hold the state of a component, or a whole host, to be restored from."""
