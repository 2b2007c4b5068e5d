"""Deception: what the authority does when a decoy is touched, and how it knows that it would be told."""
