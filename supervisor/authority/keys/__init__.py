"""Epochs, key ring, issuer, and the memory that holds master_key."""
