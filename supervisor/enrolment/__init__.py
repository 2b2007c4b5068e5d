"""Enrolment: which clients were let in while the host runs, and how they come to their certificates."""
