"""Devices of a house: batteries over D-Bus, a meter on a serial line, and what is plugged in."""
