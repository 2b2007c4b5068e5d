"""The lock of the whole host."""
