"""Values that supervisor and authority share. No code of either."""
