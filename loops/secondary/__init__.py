"""The OS services of the Secondary loop."""
