"""Links: the ZeroMQ channels between the loops and the gate."""
