"""The process primary.facts: the kernel and the hardware of the host, read apart from what carries messages."""
