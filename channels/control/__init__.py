"""Control channels: the life and trust protocols between supervisor, authority and loops."""
