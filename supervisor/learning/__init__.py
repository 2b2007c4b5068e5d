"""The learned detector: what a session's traffic is like usually, and how far it is from that now."""
