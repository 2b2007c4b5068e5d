"""Attestation: whether a living process is confined as its profile says."""
