"""Power management: the Forth loop."""
