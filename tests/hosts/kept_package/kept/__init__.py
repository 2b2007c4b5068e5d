"""A component that keeps programs running, for tests."""
