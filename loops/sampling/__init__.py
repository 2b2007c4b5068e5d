"""What built-in components share: facts from /proc and /sys, samples of what changes, and samples of sound."""
