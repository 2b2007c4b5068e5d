"""The files that the TLS door serves with, and their change."""
