"""Frames: what one message looks like on every channel. Pure."""
