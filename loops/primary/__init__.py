"""The kernel and hardware components of the Primary loop."""
