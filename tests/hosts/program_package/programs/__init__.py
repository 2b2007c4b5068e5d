"""A component that has programs run, for tests."""
