"""Values that supervisor and authority both know. No code of either."""
