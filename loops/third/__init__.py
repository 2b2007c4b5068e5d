"""Input, output and user interface: the Third loop."""
